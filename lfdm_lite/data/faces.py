"""`Faces`: portraits that act out six expressions, with the true flow and visibility of every frame."""

import operator
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from .expressions import LABELS, act
from .portraits import portrait
from .scenes import render
from .subjects import subject_look

_SPLITS = {
    "train": (0, 2000, 6000),
    "val": (2000, 200, 300),
    "test": (2200, 200, 300),
}  # first subject, how many, clips
_KEY = 0xFACE5  # keeps the random numbers of this set apart from those of others


class Faces(Dataset):
    """Clips of drawn people who start neutral and show one of six expressions.

    An item is a dictionary: `video` (3, T, H, W) float32 RGB in [0, 1]; `label` int and `label_name`; `subject` int;
    `flow` (2, T, H, W) float32, backward from every frame to frame 0, normalized; `visible` (1, T, H, W) float32,
    1 where the pixel's source can be seen in frame 0. Frame 0 is at rest and says nothing about the label.

    Args:
        split: "train", "val" or "test"; no subject is in two splits.
        size: height and width, 32 to 256 pixels. The same index shows the same clip at every size.
        num_frames: at least 1. The same index shows the same clip, sampled more or less finely.
        length: number of clips; by default 6000, 300, 300.
        seed: another seed is another set of clips, of the same people.

    Raises:
        ValueError: if an argument is not one of these.
        IndexError: from `faces[i]`, if there is no clip `i`. Negative indices count from the end.
    """

    labels = LABELS

    def __init__(
        self, split: str = "train", size: int = 64, num_frames: int = 16, length: int | None = None, seed: int = 0
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split {split!r} is not one of: {', '.join(_SPLITS)}")
        if not _is_int(size) or not 32 <= size <= 256:
            raise ValueError(f"size is {size!r}; give a whole number of pixels from 32 to 256")
        if not _is_int(num_frames) or num_frames < 1:
            raise ValueError(f"num_frames is {num_frames!r}; give a whole number, 1 or more")
        if length is not None and (not _is_int(length) or length < 1):
            raise ValueError(f"length is {length!r}; give a whole number of clips, 1 or more, or None")
        if not _is_int(seed) or seed < 0:
            raise ValueError(f"seed is {seed!r}; give a whole number, 0 or more")
        self.split, self.size, self.num_frames, self.seed = split, size, num_frames, seed
        self.first_subject, self.num_subjects, default_length = _SPLITS[split]
        self.length = default_length if length is None else length

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int) -> tuple[list, int, int]:
        """The layers of clip `index`, its label and its subject: what `faces[index]` draws."""
        try:
            given, index = index, operator.index(index)
        except TypeError:
            raise TypeError(f"a clip's index is a whole number, got {index!r}") from None
        index = index + self.length if index < 0 else index
        if not 0 <= index < self.length:
            raise IndexError(f"there is no clip {given}: {self.split!r} has {self.length} (0 to {self.length - 1})")
        label = index % len(LABELS)
        # Who acts, and how, are drawn apart from the label; Philox gives the same numbers on every platform.
        entropy = (_KEY, list(_SPLITS).index(self.split), self.seed, index)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        subject = self.first_subject + int(rng.integers(self.num_subjects))
        pose = act(LABELS[label], self.num_frames, rng)
        return portrait(subject_look(subject), pose), label, subject

    def __getitem__(self, index: int) -> dict[str, Any]:
        layers, label, subject = self.scene(index)
        video, flow, visible, _ = render(layers, self.size, self.num_frames)
        return {
            "video": video,
            "label": label,
            "label_name": LABELS[label],
            "subject": subject,
            "flow": flow,
            "visible": visible.float(),
        }


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

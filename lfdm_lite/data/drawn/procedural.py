"""What all procedural sets share: arguments, splits by subject, and random numbers that depend on the index alone.

A set of its own is a class with three attributes and one method::

    class Balls(ProceduralSet):
        labels = ("bounce", "roll")
        key = 0xBA11

        def draw(self, label, subject, rng):
            return [background(subject), ball(subject, bounce(label, self.num_frames, rng))]

`draw` answers with the layers that `scenes.render` turns into a clip with its true flow and visibility.
"""

import hashlib
import operator
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from .engine.scenes import Layer, render

AT_REST = 0.01  # pixels: what moves less is still, up to rounding


class Split(NamedTuple):
    """Whom a split shows, and how many clips it has unless `length` says otherwise."""

    first_subject: int
    num_subjects: int
    clips: int


class ProceduralSet(Dataset[dict[str, Any]], ABC):
    """Clips drawn when they are asked for, of subjects who start at rest and act out a label.

    An item is a dictionary: `video` (3, T, H, W) float32 RGB in [0, 1]; `label` int and `label_name`; `subject` int;
    `flow` (2, T, H, W) float32, backward from every frame to frame 0, normalized; `visible` (1, T, H, W) float32,
    1 where the pixel's source can be seen in frame 0. Frame 0 is at rest and says nothing about the label. A set that
    names `numbers` adds one float for each: what it knows of the performance beside the label.

    Item i depends on split, seed and i alone: not on `length`, on what was drawn before it, or on the workers.

    Args:
        split: "train", "val" or "test"; no subject is in two splits.
        size: height and width, 32 to 256 pixels. The same index shows the same clip at every size.
        num_frames: at least 1. The same index shows the same clip, sampled more or less finely.
        length: number of clips; by default what `splits` says.
        seed: another seed is another set of clips, of the same people.

    Raises:
        ValueError: if an argument is not one of these.
        IndexError: from `clips[i]`, if there is no clip `i`. Negative indices count from the end.
    """

    labels: tuple[str, ...]  # of the class, but where an object finds its own
    numbers: ClassVar[tuple[str, ...]] = ()  # that `tell` gives
    parts: ClassVar[tuple[str, ...]] = ()  # what the layers that `draw` gives are of, in a set that names its parts
    key: ClassVar[int]  # keeps the random numbers of this set apart from those of others
    splits: ClassVar[dict[str, Split]] = {
        "train": Split(0, 2000, 6000),
        "val": Split(2000, 200, 300),
        "test": Split(2200, 200, 300),
    }

    def __init__(
        self, split: str = "train", size: int = 64, num_frames: int = 16, length: int | None = None, seed: int = 0
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"split {split!r} is not one of: {', '.join(self.splits)}")
        if not _is_int(size) or not 32 <= size <= 256:
            raise ValueError(f"size is {size!r}; give a whole number of pixels from 32 to 256")
        if not _is_int(num_frames) or num_frames < 1:
            raise ValueError(f"num_frames is {num_frames!r}; give a whole number, 1 or more")
        if length is not None and (not _is_int(length) or length < 1):
            raise ValueError(f"length is {length!r}; give a whole number of clips, 1 or more, or None")
        if not _is_int(seed) or seed < 0:
            raise ValueError(f"seed is {seed!r}; give a whole number, 0 or more")
        self.split, self.size, self.num_frames, self.seed = split, size, num_frames, seed
        self.length = self.splits[split].clips if length is None else length

    @abstractmethod
    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        """The layers of one clip of `self.num_frames` frames, back to front.

        Args:
            label: one of `labels`; frame 0 must not show which.
            subject: who acts; the look depends on this number alone.
            rng: what varies between clips. Draw the same numbers in the same order whatever the label, and none that
                depends on `size` or `num_frames`.
        """

    def tell(self, label: str, subject: int, rng: np.random.Generator) -> dict[str, float]:
        """Each of `numbers` of the clip that `draw` draws with the same arguments."""
        return {}

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int, take: int = 0) -> tuple[list[Layer], int, int]:
        """The layers of clip `index`, its label and its subject: what `self[index]` draws.

        Args:
            take: 0, or a number of another performance of the same label by the same subject, which no item shows.
        """
        label, subject, rng = self._cast(index, take)
        return self.draw(self.labels[label], subject, rng), label, subject

    def told(self, index: int) -> dict[str, float]:
        """The `numbers` of clip `index`, as its item has them; nothing is drawn."""
        label, subject, rng = self._cast(index)
        return self.tell(self.labels[label], subject, rng)

    def _cast(self, index: int, take: int = 0) -> tuple[int, int, np.random.Generator]:
        """What clip `index` shows, who acts, and the random numbers for how."""
        try:
            given, index = index, operator.index(index)
        except TypeError:
            raise TypeError(f"a clip's index is a whole number, got {index!r}") from None
        index = index + self.length if index < 0 else index
        if not 0 <= index < self.length:
            raise IndexError(f"there is no clip {given}: {self.split!r} has {self.length} (0 to {self.length - 1})")
        label = index % len(self.labels)
        # Who acts, and how, are drawn apart from the label; Philox gives the same numbers on every platform.
        entropy = (self.key, list(self.splits).index(self.split), self.seed, index)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        first, number, _ = self.splits[self.split]
        subject = first + int(rng.integers(number))
        if take:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((*entropy, take))))
        return label, subject, rng

    def part_map(self, index: int) -> UInt8[Tensor, "1 t h w"]:
        """Which of `parts` every pixel of clip `index` shows, by number. It draws the clip anew; no item holds it.

        Raises:
            ValueError: if this set does not name its parts.
        """
        if not self.parts:
            raise ValueError(f"{type(self).__name__} does not name its parts; Faces and Sketches do")
        layers, _, _ = self.scene(index)
        number = torch.tensor([self.parts.index(layer.part) for layer in layers], dtype=torch.uint8)
        return number[render(layers, self.size, self.num_frames).owner.long()][None]

    def never_moves(self, index: int, takes: int = 16) -> Bool[Tensor, "1 h w"]:
        """Where the subject of clip `index`, acting its label again and again, neither moves nor hides anything.

        True at the pixels that are at rest and visible in all frames of `takes` other performances. Only of sets
        whose subjects always start from the same image, as those of `Faces` do.
        """
        still = torch.ones(1, self.size, self.size, dtype=torch.bool)
        for take in range(1, takes + 1):
            layers, _, _ = self.scene(index, take)
            unpainted = [replace(layer, paint=lambda x, y: torch.zeros(3, 1, 1, 1)) for layer in layers]
            _, flow, visible, _ = render(unpainted, self.size, self.num_frames)
            still &= (visible & (flow.norm(dim=0, keepdim=True) * self.size / 2 < AT_REST)).all(dim=1)
        return still

    def __getitem__(self, index: int) -> dict[str, Any]:
        layers, label, subject = self.scene(index)
        video, flow, visible, _ = render(layers, self.size, self.num_frames)
        return {
            "video": video,
            "label": label,
            "label_name": self.labels[label],
            "subject": subject,
            "flow": flow,
            "visible": visible.float(),
            **self.told(index),
        }


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@cache
def drawing_version() -> str:
    """A short hash of all that draws: of another version of it, the same clip may look otherwise."""
    digest, folder = hashlib.sha256(), Path(__file__).parent
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]

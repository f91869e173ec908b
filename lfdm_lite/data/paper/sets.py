"""The paper's three data sets, MUG, UTD-MHAD and NATOPS, for who has obtained them.

Where each comes from and under which terms: `PAPER_DATA.md` beside this file. `lfdm data prepare` turns a set as it is
distributed into a folder that these classes read.
"""

from pathlib import Path
from typing import Any, ClassVar

from torch.utils.data import Dataset

from ...files.reading import read_json
from ..folders.video_folder import Sampling, VideoFolder
from .facts import MHAD_FACTS, MUG_FACTS, NATOPS_FACTS, Facts

MANIFEST = "prepared.json"  # says what `lfdm data prepare` made in a folder, and whether it came to its end
PARTS: dict[str, tuple[str, ...]] = {"train": ("train",), "val": ("val",), "test": ("test",)}  # that a split is made of
PARTS |= {"trainval": ("train", "val"), "all": ("train", "val", "test")}


class PaperSet(Dataset[dict[str, Any]]):
    """One of the paper's data sets, prepared by `lfdm data prepare NAME SRC ROOT`.

    An item is `dict(video, label, label_name, subject)`: video (3, num_frames, size, size) in [0, 1]; label the
    class's place in `.labels`, the same in every split and whatever part of the set is there; subject the number
    that the data set itself gives the person.

    The paper has training and test subjects only. Here "train" lacks a few of the former, "val", so that what is
    chosen is chosen on people that are in neither "train" nor "test"; "trainval" is the paper's whole training set.

    Args:
        root: the prepared folder.
        split: "train", "val", "trainval", "test" or "all".
        size: height and width in pixels, at most those of the prepared frames; the paper: 128.
        num_frames: frames of an item; the paper: 40.
        sampling: "uniform", "random" or "very_random", see `video_folder.frame_indices`.
        seed: of the sampling.
        published: label names are the texts that the paper's text encoder reads, as in converted checkpoints, instead
            of the short ones.
        cache, cache_gb: as of `VideoFolder`.

    Raises:
        ValueError: no such folder, not prepared or not to the end, another data set, frames smaller than `size`, an
            unknown option, or a split of which nothing is there.
        MediaError: clips that broke since they were prepared, by name.
    """

    facts: ClassVar[Facts]

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        size: int = 128,
        num_frames: int = 40,
        sampling: Sampling = "uniform",
        seed: int = 0,
        published: bool = False,
        cache: str | Path | bool | None = True,
        cache_gb: float | int = 4,
    ):
        if split not in PARTS:
            raise ValueError(f"split {split!r} is not one of: {', '.join(PARTS)}")
        self.root, self.split = Path(root), split
        self._check(size)
        whole = "all" if split == "trainval" else split
        self.folder = VideoFolder(
            self.root, size, num_frames, sampling, whole, seed=seed, cache=cache, cache_gb=cache_gb
        )
        self._indices = [i for i, clip in enumerate(self.folder.clips) if clip.split in PARTS[split]]
        self._label = {name: number for number, name in enumerate(self.facts.labels)}
        self.labels = tuple(self.facts.texts.values()) if published else self.facts.labels
        self.clips = [self.folder.clips[i] for i in self._indices]
        self.subjects = tuple(sorted({int(clip.subject) for clip in self.clips}))

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One clip.

        Raises:
            IndexError: outside the split.
            MediaError: if the clip broke since the data set was made.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        item = self.folder[self._indices[index]]
        label = self._label[item["label_name"]]
        subject = int(self.folder.subjects[item["subject"]])
        return item | {"label": label, "label_name": self.labels[label], "subject": subject}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root}, {len(self)} clips of split {self.split!r})"

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames from now on, in running workers too; the same epoch draws the same."""
        self.folder.set_epoch(epoch)

    def _check(self, size: int) -> None:
        """Whether the folder is what it must be."""
        prepare = f"lfdm data prepare {self.facts.name} SRC DST"
        made = read_manifest(self.root)
        if made is None:
            what = "is not there" if not self.root.is_dir() else f"has no {MANIFEST}"
            raise ValueError(
                f"{self.root} {what}; expected a folder that `{prepare}` has made from {self.facts.layout}"
            )
        if made["set"] != self.facts.name:
            raise ValueError(
                f"{self.root} holds {made['set']}, not {self.facts.name}; name its class, or another folder"
            )
        if not made["complete"]:
            raise ValueError(f"the preparation of {self.root} did not come to its end; run `{prepare}` again")
        if size > made["size"]:
            raise ValueError(
                f"size is {size}, but {self.root} holds frames of {made['size']}x{made['size']} pixels; "
                f"use at most that, or prepare the set anew with --size {size}"
            )
        clips = made["clips"]
        if not sum(clips[part] for part in PARTS[self.split]):
            held = ", ".join(f"{part} {number}" for part, number in clips.items())
            raise ValueError(f"{self.root} has no clips of split {self.split!r} (it has: {held})")


class MUG(PaperSet):
    """Posed facial expressions of 52 people, of whom the paper trains on 26 and tests on 26; 7 classes.

    The paper takes the pictures whole. Its code trains stage two on "very_random" frames.

    Source of the layout and of the lists: LFDM's published code; three loaders of others agree with the layout. The
    makers' own description could not be seen.
    """

    facts = MUG_FACTS


class MHAD(PaperSet):
    """27 actions by 8 people, 4 times each; the paper trains on 4 and tests on 4.

    The paper keeps columns 156 to 491 of the 640, the strip in which people move. Its code trains stage two on
    "random" frames.

    Source: UTD-MHAD's page (27 actions, 8 subjects, 4 repetitions, 861 clips after removal of three damaged ones);
    LFDM's published code (lists, crop).
    """

    facts = MHAD_FACTS


class NATOPS(PaperSet):
    """24 signals by 20 people, 20 times each; the paper trains on 10 and tests on 9. It leaves subject 1 out.

    The paper keeps rows 10 to 238 and columns 30 to 289 of the 240 and 320. Its code trains stage two on "random"
    frames.

    Source: the README of the data set's repository (layout, counts, 20 frames a second); LFDM's published code (lists,
    crop, how segmentation.txt cuts the films).
    """

    facts = NATOPS_FACTS


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What `lfdm data prepare` says of a folder; None if it says nothing.

    Raises:
        ValueError: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        made = read_json(path)
        whole = isinstance(made["set"], str) and type(made["size"]) is int and isinstance(made["complete"], bool)
        if not whole or not all(type(made["clips"][part]) is int for part in ("train", "val", "test")):
            raise TypeError("an entry is of the wrong kind")
    except KeyError as error:
        raise ValueError(f"{path} is damaged (it has no {error}); prepare the set anew into an empty folder") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); prepare the set anew into an empty folder") from None
    return made


__all__ = ["MHAD", "MUG", "NATOPS", "PaperSet"]

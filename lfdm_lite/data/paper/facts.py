"""What there is to know of the paper's three data sets: classes, subjects, crops, and how they are distributed."""

import math
from dataclasses import dataclass

from .films import LABELS

# UTD-MHAD's makers took three of their 864 recordings out; which, several public loaders of the set agree on.
REMOVED = ("a8_s1_t4", "a23_s6_t4", "a27_s8_t4")


@dataclass(frozen=True)
class Facts:
    """What there is to know of one set."""

    name: str  # as commands call it
    title: str  # as its makers call it
    labels: tuple[str, ...]  # short names, in the order of `paper.LABELS`
    train: tuple[int, ...]  # the paper's training subjects
    test: tuple[int, ...]  # the paper's test subjects
    digits: int  # of a subject's number in the set's own names
    source_size: tuple[int, int] | None  # height and width as distributed; None if any will do
    crop: tuple[slice, slice]  # the rows and columns that the paper keeps
    fps: int  # frames a second at which a prepared film plays
    repeats: int | None  # takes of each class by each subject; None where that varies
    training_takes: int  # takes of the training subjects, by the step counts of the published code
    layout: str  # the folders as distributed, for messages
    home: str  # where the set is to be had

    @property
    def val(self) -> tuple[int, ...]:
        """The training subjects that are held out for choosing: one in ten, rounded up, the last by number."""
        return tuple(sorted(self.train))[-math.ceil(len(self.train) / 10) :]

    @property
    def texts(self) -> dict[str, str]:
        """Short names → the texts that the paper's text encoder reads."""
        return dict(zip(self.labels, LABELS[self.name], strict=True))

    def split_of(self, subject: int) -> str | None:
        """train, val or test; None for a subject that the paper does not use."""
        if subject in self.test:
            return "test"
        return ("val" if subject in self.val else "train") if subject in self.train else None

    def subject_name(self, subject: int) -> str:
        """The subject's number as the set writes it, with leading zeros."""
        return f"{subject:0{self.digits}d}"

    def take_name(self, label: int, subject: int, repeat: int) -> str:
        """What a clip is called, in a set where every subject repeats every class; `repeat` counts from 1."""
        if self.name == "mhad":
            return f"a{label + 1}_s{subject}_t{repeat}"
        return f"g{label + 1:02d}s{subject:02d}p{repeat:02d}"

    def expected(self, label: int, subject: int) -> list[str]:
        """The clips of one class by one subject that the set should hold; none where that varies."""
        names = [self.take_name(label, subject, repeat + 1) for repeat in range(self.repeats or 0)]
        return [name for name in names if name not in REMOVED]


MUG_FACTS = Facts(
    name="mug",
    title="MUG Facial Expression Database",
    labels=LABELS["mug"],
    train=(8, 17, 21, 28, 30, 31, 34, 36, 37, 38, 39, 42, 43, 44, 45, 55, 60, 61, 62, 63, 71, 75, 76, 77, 83, 84),
    test=(1, 2, 6, 7, 10, 13, 14, 20, 27, 32, 33, 40, 46, 48, 49, 52, 64, 65, 66, 70, 72, 73, 74, 78, 79, 82),
    digits=3,
    source_size=None,
    crop=(slice(None), slice(None)),
    fps=20,  # the rate of the recordings could not be verified
    repeats=None,
    training_takes=465,
    layout="subjects3/001/anger/take000/img_0000.jpg (for some subjects subjects3/002/session0/anger/...)",
    home="https://mug.ee.auth.gr/fed/",
)

MHAD_FACTS = Facts(
    name="mhad",
    title="UTD-MHAD",
    labels=(
        "swipe left",
        "swipe right",
        "wave",
        "clap",
        "throw",
        "cross arms",
        "basketball shot",
        "draw x",
        "draw circle clockwise",
        "draw circle counter-clockwise",
        "draw triangle",
        "bowling",
        "boxing",
        "baseball swing",
        "tennis forehand",
        "curl arms",
        "tennis serve",
        "push",
        "knock",
        "catch",
        "pick up and throw",
        "jog",
        "walk",
        "stand up",
        "sit down",
        "lunge",
        "squat",
    ),
    train=(1, 2, 3, 5),
    test=(4, 6, 7, 8),
    digits=1,
    source_size=(480, 640),
    crop=(slice(0, 480), slice(156, 492)),
    fps=30,
    repeats=4,
    training_takes=431,
    layout="RGB/a1_s1_t1_color.avi (action, subject, trial)",
    home="https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
)

NATOPS_FACTS = Facts(
    name="natops",
    title="NATOPS Aircraft Handling Signals Database",
    labels=LABELS["natops"],
    train=(3, 4, 8, 9, 12, 13, 15, 17, 19, 20),
    test=(2, 5, 6, 7, 10, 11, 14, 16, 18),
    digits=2,
    source_size=(240, 320),
    crop=(slice(10, 239), slice(30, 290)),
    fps=20,
    repeats=20,
    training_takes=4800,
    layout="data/gesture01/g01s01.avi (gesture, subject) and data/segmentation.txt",
    home="https://github.com/yalesong/natops",
)

FACTS = {facts.name: facts for facts in (MUG_FACTS, MHAD_FACTS, NATOPS_FACTS)}

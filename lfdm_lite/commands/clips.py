"""Which clips of which data set a command is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from .common import UsageError


@dataclass(frozen=True)
class Clips:
    """Which clips of which set."""

    name: Positional[Annotated[str, arg(metavar="SET")]] = "faces"
    """A procedural set (faces, for one), or a folder of videos."""
    split: Literal["train", "val", "test", "all"] = "train"
    """Splits share no person; all is for folders of videos."""
    clips: int = 12
    """How many clips."""
    size: int = 64
    """Height and width in pixels; 32 to 256 of a procedural set."""
    num_frames: int = 16
    """Frames of a clip."""
    seed: int = 0
    """Of the procedural clips."""
    fps: float = 8.0
    """Frames a second in what is written."""


def is_procedural(name: str) -> bool:
    """Whether a set is drawn, not read from a folder.

    Raises:
        UsageError: there is neither such a set nor such a folder.
    """
    from ..data import PROCEDURAL

    if name not in PROCEDURAL and not Path(name).is_dir():
        known = ", ".join(PROCEDURAL)
        raise UsageError(f"data set {name!r} is not one of: {known}; nor is it a folder of videos")
    return name in PROCEDURAL


def check(clips: Clips, film: Path) -> None:
    """Whether there can be such clips, and a film of them under that name.

    Raises:
        ValueError: not; says why.
    """
    from ..files.pictures import MAX_PIXELS
    from ..files.video.rates import check_rate

    is_procedural(clips.name)
    for option in ("clips", "size", "num_frames"):
        if getattr(clips, option) < 1:
            raise UsageError(f"--{option.replace('_', '-')} is {getattr(clips, option)}; expected at least 1")
    if clips.num_frames * clips.size**2 > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise UsageError(
            f"{clips.num_frames} frames of {clips.size} pixels; a clip may have {most} million pixels at most"
        )
    check_rate(film, clips.fps)


def build(clips: Clips) -> Any:
    """The data set that the options name; of a folder with flow files the items carry flow and visibility too."""
    from ..data import PROCEDURAL, VideoFolder
    from ..files.motion_files import has_motion

    if is_procedural(clips.name):
        return PROCEDURAL[clips.name](
            clips.split, size=clips.size, num_frames=clips.num_frames, length=clips.clips, seed=clips.seed
        )
    folder = VideoFolder(clips.name, clips.size, clips.num_frames, split=clips.split, seed=clips.seed)
    folder.with_flow = all(has_motion(clip.path) for clip in folder.clips)
    return folder


def load_clips(
    options: Any, size: int, num_frames: int, labels: list[str] | None, closely: bool = False
) -> dict[str, Any]:
    """The clips to measure on, labelled as `labels` counts; looked at `closely`, with parts and what never moves."""
    import torch

    from ..evaluation.parts import look_closer
    from ..evaluation.tables import collect

    dataset = dataset_of(options, size, num_frames)
    clips = collect(dataset, options.clips)
    if options.tell_numbers:
        told = [dataset.told(index) for index in range(len(clips["label"]))]
        clips |= {name: torch.tensor([numbers[name] for numbers in told]) for name in dataset.numbers}
    if labels is not None:
        relabel(clips, dataset.labels, labels)
    return clips | (look_closer(dataset, options.clips) if closely else {})


def dataset_of(options: Any, size: int, num_frames: int) -> Any:
    """The clips that `lfdm evaluate` measures on."""
    from .. import data

    if not is_procedural(options.data):
        return data.VideoFolder(options.data, size, num_frames, split=options.split)
    chosen = {"size": size, "num_frames": num_frames, "length": options.clips, "seed": options.data_seed}
    chosen |= {"look": options.look} if options.look != "all" else {}
    return data.PROCEDURAL[options.data](options.split, **chosen)


def relabel(clips: dict[str, Any], own: Sequence[str], labels: list[str]) -> None:
    """Let "label" count as the model's labels do.

    Raises:
        UsageError: the clips have a label that the model does not know.
    """
    unknown = sorted(set(own) - set(labels))
    if unknown:
        raise UsageError(f"the clips have the label {unknown[0]!r}, the model knows: {', '.join(labels)}")
    clips["label"] = clips["label"].new_tensor([labels.index(own[i]) for i in clips["label"].tolist()])

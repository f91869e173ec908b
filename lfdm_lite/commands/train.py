"""`lfdm train`: one stage, with the defaults of a preset and overrides for everything."""

import inspect
import os
import re
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from .common import Flag, UsageError
from .outputs import output_folder
from .parsing import parse
from .terminal import say

STAGES = {
    "autoencoder": "Stage one: an image and motion become frames, learned from videos without labels.",
    "diffusion": "Stage two: an image and a label become motion, on a finished auto-encoder.",
    "decoder": "The decoder of a finished model alone, on clips of a new kind.",
    "judge": "A classifier that reads labels from videos, for `lfdm evaluate`.",
}
NEEDS = {"diffusion": "autoencoder", "decoder": "checkpoint"}  # the option without which a stage cannot start
MEANING = {
    "autoencoder": "the folder of a finished `lfdm train autoencoder` run",
    "checkpoint": "the folder of a finished model, or of a finished `lfdm train autoencoder` run",
}


@dataclass(frozen=True)
class Train:
    """The options that every stage has, beside those of its own config."""

    out: Annotated[Path, arg(metavar="FOLDER")]
    """Folder of the run: checkpoints, log, recipe, and at the end the trained model."""
    preset: str = "faces64"
    """Where the defaults of all other options come from."""
    resume: Flag = False
    """Go on with the run in --out from its newest whole checkpoint, with the options it was started with."""


@dataclass(frozen=True)
class Ahead:
    """Those of `Train` that the defaults of the others depend on, so they are parsed first."""

    out: Path = Path()
    preset: str = Train.preset
    resume: Flag = False


def train(arguments: list[str]) -> int | None:
    """Run one stage; in each of the processes that `accelerate launch` started, if it did."""
    stage = arguments[0] if arguments and arguments[0] in STAGES else None
    options: dict[str, type] = {name: described(name, text) for name, text in STAGES.items()}
    if stage is None:  # help, or a mistake: no need to load what training needs
        parse(options, "lfdm train", arguments)
        raise UsageError(f"the stage comes first: lfdm train {'|'.join(STAGES)} --out FOLDER")
    ahead, _ = parse(Ahead, f"lfdm train {stage}", arguments[1:], return_unknown_args=True, add_help=False)
    from .. import training

    if ahead.preset not in training.PRESETS:
        raise UsageError(f"preset {ahead.preset!r} is not one of: {', '.join(training.PRESETS)}")
    default = getattr(training.PRESETS[ahead.preset], stage)
    if ahead.resume:
        default = resumed(default, ahead.out) or default
    options[stage] = options_of(default, f"{STAGES[stage]} The defaults are those of --preset {ahead.preset}.")
    given = parse(options, "lfdm train", arguments)
    config = type(default)(**{f.name: getattr(given, f.name) for f in fields(default)})
    return start(stage, config, given.run)


def start(stage: str, config: Any, run: Train) -> int | None:
    """Train, and say how it ended."""
    from .. import training
    from ..training.engine.loop import Stopped

    needed = NEEDS.get(stage)
    if needed and not getattr(config, needed):
        raise UsageError(f"--{needed} FOLDER is missing: {MEANING[needed]}")
    output_folder(run.out)
    main = os.environ.get("RANK", "0") == "0"
    try:
        getattr(training, f"train_{stage}")(config, run.out, run.resume)
    except Stopped as stop:
        if main:
            say(f"lfdm: {stop}", error=bool(stop.status))
        return stop.status
    finally:
        leave_group()
    if main:
        say(f"done: {run.out}")
    return None


def resumed(default: Any, out: Path) -> Any:
    """The config of the run in a folder, if there is one there.

    Raises:
        UsageError: it is a run of another stage.
        CheckpointError: its recipe cannot be read.
    """
    from .. import training
    from ..files.checkpoints import CheckpointError
    from ..training.engine.records import RECIPE, read_run

    if not (out / RECIPE).is_file():
        return None
    try:
        return read_run(type(default), out / RECIPE)
    except CheckpointError:
        for stage in STAGES:
            kind = type(getattr(training.PRESETS[Train.preset], stage))
            if kind is not type(default) and is_run(kind, out / RECIPE):
                raise UsageError(
                    f"{out} holds a run of `lfdm train {stage}`; name its stage, or another --out"
                ) from None
        raise


def is_run(kind: type, recipe: Path) -> bool:
    """Whether a recipe is of that kind of run."""
    from ..files.checkpoints import CheckpointError
    from ..training.engine.records import read_run

    try:
        read_run(kind, recipe)
    except CheckpointError:
        return False
    return True


def leave_group() -> None:
    """Part from the other processes of a run, if there are any."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def described(name: str, text: str) -> type:
    """A dataclass without options, for the list of stages."""
    empty = make_dataclass(name, [], frozen=True)
    empty.__doc__ = text
    return empty


def options_of(default: Any, text: str) -> type:
    """A dataclass of `Train` and a run's config together.

    The config's own fields and those of its optimizer and loop become plain options (`--steps`); those of its other
    parts are prefixed (`--model.width`).
    """
    meaning = comments(type(default))

    def option(name: str) -> Any:
        if name in ("optim", "loop"):
            return Annotated[type(getattr(default, name)), arg(name="")]
        return Annotated[type(getattr(default, name)), arg(help=meaning.get(name, ""))]

    names = [f.name for f in fields(default)]
    members = [(name, option(name), field(default=getattr(default, name))) for name in names]
    options = make_dataclass("Options", [("run", Annotated[Train, arg(name="")]), *members], frozen=True)
    options.__doc__ = text
    return options


def comments(cls: type) -> dict[str, str]:
    """The comment behind each field of a dataclass."""
    return dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(cls), re.MULTILINE))

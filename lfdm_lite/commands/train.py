"""`lfdm train`: one stage, or both of a model, with the defaults of a preset and overrides for everything."""

import inspect
import os
import re
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from tyro.conf import arg

from .common import Flag, UsageError, parse
from .outputs import output_folder
from .terminal import say

STAGES = {
    "autoencoder": "Stage one: an image and motion become frames, learned from videos without labels.",
    "diffusion": "Stage two: an image and a label become motion, on a finished auto-encoder.",
    "decoder": "The decoder of a finished model alone, on clips of a new kind.",
    "judge": "A classifier that reads labels from videos, for `lfdm evaluate`.",
    "few-steps": "The fast network of a finished model, for `lfdm generate --fast`.",
    "lfdm": "Both stages of LFDM, one after the other, with one budget.",
    "vdm": "A rival: diffusion on pixels.",
    "ldm": "A rival: diffusion on feature maps of an image auto-encoder; both stages.",
    "lamd": "A rival: diffusion on motion images without a time axis; both stages.",
}
BOTH = ("lfdm", "vdm", "ldm", "lamd")  # of these, those that are whole models
# the option without which a stage cannot start
NEEDS = {"diffusion": "autoencoder", "decoder": "checkpoint", "few-steps": "checkpoint"}
MODEL = "the folder of a finished model, with both stages"
MEANING = {
    "autoencoder": "the folder of a finished `lfdm train autoencoder` run",
    "checkpoint": "the folder of a finished model, or of a finished `lfdm train autoencoder` run",
}


@dataclass(frozen=True)
class Train:
    """The options that every stage has, beside those of its own config."""

    out: Annotated[Path, arg(metavar="FOLDER")]
    """Folder of the run: checkpoints, log, recipe, and at the end the trained model."""
    preset: Annotated[str, arg(help_behavior_hint="(default: faces64; of both stages: rivals64)")] = "faces64"
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
    options: dict[str, type] = {name: described(name, text) for name, text in STAGES.items()}
    default: Any = None
    if arguments and arguments[0] in STAGES:  # else there is a mistake or a wish for help: no need to load training
        stage = arguments[0]
        default, preset = defaults(stage, arguments[1:])
        options[stage] = options_of(default, f"{STAGES[stage]} The defaults are those of --preset {preset}.")
    given = parse(options, "lfdm train", arguments)
    config = type(default)(**{f.name: getattr(given, f.name) for f in fields(default)})
    return start(stage, config, given.run)


def defaults(stage: str, arguments: list[str]) -> tuple[Any, str]:
    """The config whose values stand where no option is given, and the preset: of a run to resume, its own.

    Raises:
        UsageError: there is no such preset.
        CheckpointError: the recipe of the run cannot be read, or is of another stage.
    """
    usual = {"default": Ahead(preset="rivals64")} if stage in BOTH else {}
    ahead, _ = parse(Ahead, f"lfdm train {stage}", arguments, return_unknown_args=True, add_help=False, **usual)
    from .. import training
    from ..training.engine.recipes import read_run

    if ahead.preset not in training.PRESETS:
        raise UsageError(f"preset {ahead.preset!r} is not one of: {', '.join(training.PRESETS)}")
    preset, name = training.PRESETS[ahead.preset], stage.replace("-", "_")
    default = training.both_stages(stage, preset) if stage in BOTH else getattr(preset, name)
    recipe = ahead.out / "recipe.json"
    if ahead.resume and recipe.is_file():
        default = read_run(type(default), recipe)
    return default, ahead.preset


def start(stage: str, config: Any, run: Train) -> int | None:
    """Train, and say how it ended."""
    from .. import training
    from ..training.engine.computing import share_cores
    from ..training.engine.loop import Stopped
    from ..training.engine.recipes import threads_of

    needed = NEEDS.get(stage)
    if needed and not getattr(config, needed):
        meaning = MODEL if stage == "few-steps" else MEANING[needed]
        raise UsageError(f"--{needed} FOLDER is missing: {meaning}")
    output_folder(run.out)
    if threads := share_cores(threads_of(run.out) if run.resume else None):
        say(f"lfdm: {threads} of {os.cpu_count()} cores; OMP_NUM_THREADS sets another number", error=True)
    main = os.environ.get("RANK", "0") == "0"
    try:
        trainer = training.train_both if stage in BOTH else getattr(training, f"train_{stage.replace('-', '_')}")
        trainer(config, run.out, run.resume)
    except Stopped as stop:
        if main:
            say(f"lfdm: {stop}", error=bool(stop.status))
        return stop.status
    finally:
        leave_group()
    if main:
        say(f"done: {run.out}")
    return None


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
        value = getattr(default, name)
        kind = get_type_hints(type(default))[name] if value is None or isinstance(value, tuple) else type(value)
        return Annotated[kind, arg(help=meaning.get(name, ""))]

    names = [f.name for f in fields(default)]
    members = [(name, option(name), field(default=getattr(default, name))) for name in names]
    options = make_dataclass("Options", [("run", Annotated[Train, arg(name="")]), *members], frozen=True)
    options.__doc__ = text
    return options


def comments(cls: type) -> dict[str, str]:
    """The comment behind each field of a dataclass, of those that it inherits too."""
    sources = [inspect.getsource(part) for part in reversed(cls.__mro__) if is_dataclass(part)]
    return dict(re.findall(r"^    (\w+): .*?  # (.*)$", "\n".join(sources), re.MULTILINE))

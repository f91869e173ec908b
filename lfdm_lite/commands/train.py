"""`lfdm train`: one stage, with the defaults of a preset and overrides for everything."""

import inspect
import os
import re
import sys
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from .common import Flag, UsageError, parse, pick, value_of

STAGES = ("autoencoder", "diffusion", "decoder", "judge")
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


def train(arguments: list[str]) -> int | None:
    """Run one stage; in each of the processes that `accelerate launch` started, if it did."""
    stage, rest = pick("lfdm train", "STAGE", STAGES, arguments)
    from .. import training
    from ..training.engine.loop import Stopped
    from ..training.engine.recipes import read_run

    preset = value_of("--preset", rest) or "faces64"
    if preset not in training.PRESETS:
        raise UsageError(f"preset {preset!r} is not one of: {', '.join(training.PRESETS)}")
    default = getattr(training.PRESETS[preset], stage)
    recipe = Path(value_of("--out", rest) or ".") / "recipe.json"
    if "--resume" in rest and recipe.is_file():
        default = read_run(type(default), recipe)
    options, config = parse_run(f"lfdm train {stage}", rest, preset, default)
    needed = NEEDS.get(stage)
    if needed and not getattr(config, needed):
        raise UsageError(f"--{needed} FOLDER is missing: {MEANING[needed]}")
    main = os.environ.get("RANK", "0") == "0"
    try:
        getattr(training, f"train_{stage}")(config, options.out, options.resume)
    except Stopped as stop:
        if main:
            print(f"lfdm: {stop}", file=sys.stderr if stop.status else sys.stdout)
        return stop.status
    finally:
        leave_group()
    if main:
        print(f"done: {options.out}")


def leave_group() -> None:
    """Part from the other processes of a run, if there are any."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def parse_run(prog: str, arguments: list[str], preset: str, default: Any) -> tuple[Train, Any]:
    """Parse `Train` and a run's config together.

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
    Options = make_dataclass("Options", [("run", Annotated[Train, arg(name="")]), *members], frozen=True)
    Options.__doc__ = f"Train one stage. The defaults are those of --preset {preset}."
    options = parse(Options, prog, arguments)
    return options.run, type(default)(**{name: getattr(options, name) for name in names})


def comments(cls: type) -> dict[str, str]:
    """The comment behind each field of a dataclass."""
    return dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(cls), re.MULTILINE))

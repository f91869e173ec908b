"""`recipe.json`: what a run was started with, and on which clips. A run goes on with the same, or says what differs."""

import json
import platform
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...files.checkpoints import CONFIG_FILE, WEIGHTS_FILE
from ...files.models.configs import make_config
from ...files.reading import CheckpointError, read_json
from ..configs import AutoencoderRun, DecoderRun, DiffusionRun, DistillRun, JudgeRun

Config = TypeVar("Config")
Recipe = dict[str, Any]  # JSON values
RECIPE = "recipe.json"
LEARNED = ("seed", "precision")  # of `LoopConfig`: what changes the result, and so may not change on resumption
RUNS = (AutoencoderRun, DiffusionRun, DecoderRun, JudgeRun, DistillRun)


def recipe_for(
    out: Path, config: Any, resume: bool, processes: int, device: str, states: str = "checkpoints/step_*"
) -> Recipe:
    """The recipe of the run that is to begin in a folder, or to go on there. Nothing is written yet.

    A run that ended before anything was saved is no obstacle: there is nothing of it to lose.

    Args:
        states: pattern of what it has saved so far, below the folder.

    Raises:
        ValueError: the folder holds a model or checkpoints of something else, or a run although `resume` is off, or
            one that was started with other options, which are named with both values.
    """
    this = {"command": " ".join(["lfdm", *sys.argv[1:]]), "versions": versions(processes, device)}
    path, wanted = out / RECIPE, plain(config)
    model = any((out / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE))
    saved = any(out.glob(states))
    if not path.exists() and saved:
        raise ValueError(f"{out} holds checkpoints of a run, but no {RECIPE}; choose another --out, or delete them")
    if not path.exists() and model:
        raise ValueError(f"{out} holds a model, but no {RECIPE}; training would replace it: choose another --out")
    if not model and not saved:
        return {"stage": config.stage, **this, "config": wanted, "seconds": 0.0}
    if not resume:
        raise ValueError(f"{out} holds a run already; use --resume to go on with it, or another --out")
    found, before = plain(read_run(type(config), path)), read_json(path)
    known = before["clips"] if isinstance(before.get("clips"), dict) else {}
    differs = differences(found, wanted, known)
    if differs:
        raise ValueError(
            f"the run in {out} was started with other options ({', '.join(differs)}); "
            "leave them out to go on with it (more --steps are possible), or choose another --out"
        )
    steps = [recipe.get("optim", {}).get("steps") for recipe in (found, wanted)]
    this |= {"steps": steps} if steps[0] != steps[1] else {}
    resumed = before["resumed"] if isinstance(before.get("resumed"), list) else []
    return before | {"config": wanted, "seconds": 0.0, "resumed": [*resumed, this]}


def threads_of(out: Path) -> str | None:
    """Threads of the run in a folder, as its recipe names them; None where there is no such recipe."""
    recipe = read_json(out / RECIPE) if (out / RECIPE).is_file() else {}
    made = recipe.get("versions") if isinstance(recipe, dict) else None
    threads = made.get("threads") if isinstance(made, dict) else None
    return threads if isinstance(threads, str) and threads.isdecimal() else None


def differences(found: Recipe, wanted: Recipe, known: Recipe) -> list[str]:
    """What a resumed run may not change, as `--option old -> new`.

    Args:
        known: what is compared by its content, see `check_same_clips`: a network may have been moved to another folder.
    """
    before = dict(flatten(found))
    lines = []
    for name, value in flatten(wanted):
        part, _, last = name.rpartition(".")
        free = (part.endswith("loop") and last not in LEARNED) or name == "cpu_minutes"
        more = name.endswith("optim.steps") and value > before[name]
        if before.get(name) != value and not (free or more or name in known):
            option = name.removeprefix("optim.").removeprefix("loop.").replace("_", "-")
            lines.append(f"--{option} {before.get(name)} -> {value}")
    return lines


def check_same_clips(out: Path, before: Any, now: Recipe) -> None:
    """Whether a run goes on with the clips, and with the finished network, that it was started with.

    Args:
        before, now: "labels" in their order, of each split how many clips it has and a hash of their names, of a
            network a hash of its weights. Clips of the same names may have been written anew: the cache says so.

    Raises:
        ValueError: labels or clips are others; what they were is named.
    """
    if not isinstance(before, dict) or before == now:
        return
    for name, value in now.items():
        if before.get(name) != value:
            was, is_now = (", ".join(map(str, v)) if isinstance(v, list) else v for v in (before.get(name), value))
            what = f"{name}: then {was}; now {is_now}"
            raise ValueError(
                f"the run in {out} was started on something else ({what}); put that back to go on with it, "
                "or start another with another --out"
            )


def read_run(cls: type[Config], path: Path) -> Config:
    """The config of a run from its recipe, also from recipes of earlier versions.

    Raises:
        CheckpointError: no readable recipe, or one of another stage.
    """
    recipe = read_json(path)
    values = recipe.get("config") if isinstance(recipe, dict) else None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is no recipe of a run: it has no config")
    wanted: Any = cls
    fitting = [run for run in (wanted, *RUNS) if {*values} <= {field.name for field in fields(run)}]
    stage = recipe.get("stage") or (fitting[0].stage if fitting else wanted.stage)
    if stage != wanted.stage:
        raise CheckpointError(
            f"{path.parent} holds a run of `lfdm train {stage}`, not of `lfdm train {wanted.stage}`; "
            "choose another --out"
        )
    loop = values.get("loop", {})
    if isinstance(loop, dict) and "trackers" in loop:  # before one could choose a tracker
        shown = loop.pop("trackers")
        loop |= {"tracker": "tensorboard" if shown else "none"}
        loop |= {"sample_every": loop.get("validate_every", 500) if shown else 0}
    return make_config(cls, values, path)


def plain(config: Any) -> Recipe:
    """A config as JSON values."""
    return json.loads(json.dumps(asdict(config)))


def flatten(values: Recipe, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dictionaries as pairs of a dotted name and a value."""
    pairs = []
    for name, value in values.items():
        pairs += flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def versions(processes: int, device: str) -> dict[str, str]:
    """What a reader needs to know of the machine and the libraries."""
    import accelerate

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "machine": platform.machine(),
        "device": device,
        "processes": str(processes),
        "threads": str(torch.get_num_threads()),
    }

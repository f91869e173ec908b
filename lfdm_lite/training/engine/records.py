"""What a run writes down about itself: `recipe.json`, `log.csv`, and what trackers show."""

import csv
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from ...files.checkpoints import CheckpointError, make_config, write_atomically, write_json

Config = TypeVar("Config")
RECIPE = "recipe.json"
LEARNED = ("seed", "precision")  # of `LoopConfig`: what changes the result, and so may not change on resumption


class Log:
    """`log.csv`: one row every few steps. On resumption, rows after the resumed step are dropped."""

    def __init__(self, path: Path, start: int):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists() and start:
            text = path.read_text(encoding="utf-8")
            lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]  # killed within a row
            self.rows = [row for row in csv.DictReader(lines) if int(row["step"]) <= start]
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        known = {name for old in self.rows for name in old}
        self.rows.append(row)
        if set(row) <= known:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.names, restval="", lineterminator="\n").writerow(row)
        else:  # a new column: write the whole file again
            self._write()

    def _write(self) -> None:
        self.names = list(dict.fromkeys(name for row in self.rows for name in row)) or ["step"]

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.names, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

        write_atomically(self.path, write)


# ---------------------------------------------------------------- recipe


def prepare_folder(out: Path, config: Any, resume: bool, processes: int, device: str) -> dict[str, Any]:
    """Make the run's folder and its recipe, or check that a run to resume was started alike.

    Raises:
        ValueError: there is a run already and `resume` is off, or it was started with another config.
    """
    this = {"command": " ".join(["lfdm", *sys.argv[1:]]), "versions": versions(processes, device)}
    path = out / RECIPE
    if not path.exists():
        if any(out.glob("checkpoints/step_*")):
            raise ValueError(f"{out} holds checkpoints of a run, but no {RECIPE}; choose another --out, or delete them")
        out.mkdir(parents=True, exist_ok=True)
        recipe = {"command": this["command"], "config": plain(config), "versions": this["versions"], "seconds": 0.0}
        write_json(path, recipe)
        return recipe
    if not resume:
        raise ValueError(f"{out} holds a run already; use --resume to go on with it, or another --out")
    found, wanted = plain(read_run(type(config), path)), plain(config)
    differs = [name for name in wanted if name != "loop" and found[name] != wanted[name]]
    differs += [f"loop.{name}" for name in LEARNED if found["loop"][name] != wanted["loop"][name]]
    if differs:
        raise ValueError(f"the run in {out} was started with another config ({', '.join(differs)} differ)")
    recipe = json.loads(path.read_text(encoding="utf-8"))
    return recipe | {"config": wanted, "seconds": 0.0, "resumed": [*recipe.get("resumed", []), this]}


def read_run(cls: type[Config], path: Path) -> Config:
    """The config of a run from its recipe, also from recipes of earlier versions.

    Raises:
        CheckpointError: no readable recipe, or one of another kind of run.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no recipe of a run: {error}") from None
    loop = values.get("loop", {})
    if "trackers" in loop:  # before one could choose a tracker
        shown = loop.pop("trackers")
        loop |= {"tracker": "tensorboard" if shown else "none"}
        loop |= {"sample_every": loop.get("validate_every", 500) if shown else 0}
    return make_config(cls, values, path)


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON values."""
    return json.loads(json.dumps(asdict(config)))


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


# ---------------------------------------------------------------- progress, log and trackers


class Record:
    """Progress bar, `log.csv`, sample pictures and tracker of a run; silent in all but the main process.

    Args:
        engine: of the run.
        start: steps done before.
    """

    def __init__(self, engine: Any, start: int):
        self.engine, loop, steps = engine, engine.config.loop, engine.config.optim.steps
        quiet = {} if engine.shows_progress else {"disable": True}  # left out otherwise, so that TQDM_DISABLE=1 counts
        self.bar = tqdm(total=steps, initial=start, desc=engine.out.name, unit="step", **quiet)
        if not engine.main:
            return
        self.log = Log(engine.out / "log.csv", start)
        if loop.tracker != "none":
            start_tracker(engine.accelerator, loop.tracker, engine.config, start)

    def advance(self) -> None:
        """One step was made."""
        self.bar.update()

    def add(self, done: int, row: dict[str, float]) -> None:
        """Figures up to step `done`."""
        if self.engine.main:
            figures = {name: f"{value:.6g}" for name, value in row.items()} | {"seconds": f"{self.engine.seconds:.1f}"}
            self.bar.set_postfix(loss=figures["loss"])
            self.log.add({"step": done} | figures)
            self.engine.accelerator.log({name: float(value) for name, value in figures.items()}, step=done)

    def picture(self, done: int, draw: Callable[[Path], None]) -> None:
        """Let `draw` fill `samples/step_N.png`, and show it to the tracker."""
        path = self.engine.out / "samples" / f"step_{done:06d}.png"
        path.parent.mkdir(exist_ok=True)
        draw(path)
        show_picture(self.engine.accelerator, path, done)

    def close(self) -> None:
        """End the bar and the tracker."""
        self.bar.close()
        for tracker in self.engine.accelerator.trackers:
            tracker.finish()


def check_tracker(name: str) -> None:
    """Whether accelerate knows a tracker and its package is there.

    Raises:
        ValueError: it does not, or it is not.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(map(str, LOGGER_TYPE_TO_CLASS))
    if name not in known:
        raise ValueError(f"tracker {name!r} is not one of: {', '.join(known)}, none")
    if name not in map(str, get_available_trackers()):
        package = name.removesuffix("_ml") + ("-ml" if name.endswith("_ml") else "")
        raise ValueError(f"tracker {name!r} is not installed: pip install {package}, or choose --tracker none")


def start_tracker(accelerator: Any, name: str, config: Any, start: int) -> None:
    """Open the tracker; TensorBoard forgets what it was shown after step `start`."""
    if name == "tensorboard":  # its table of hyperparameters would become a second run beside this one
        accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": start + 1}})
    else:
        flat = {key: value if isinstance(value, int | float) else str(value) for key, value in flatten(plain(config))}
        accelerator.init_trackers("lfdm_lite", config=flat)


def flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dictionaries as pairs of a dotted name and a value."""
    pairs = []
    for name, value in values.items():
        pairs += flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def show_picture(accelerator: Any, path: Path, step: int) -> None:
    """Hand a sample picture to the trackers that take pictures."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))[None]
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_images"):
            options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"samples": pixels}, step=step, **options)

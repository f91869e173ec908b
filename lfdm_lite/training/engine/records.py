"""What a run shows and writes down while it goes on: progress bar, `log.csv`, sample pictures, a tracker."""

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...files.atomic import write_atomically
from .trackers import show_picture, start_tracker


class Meter:
    """The losses since the last reading; they stay on the device until they are read."""

    def __init__(self, engine: Any):
        self.engine = engine
        self.steps: list[int] = []
        self.losses: list[Tensor] = []

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        self.names = list(losses)
        self.steps.append(step)
        self.losses.append(torch.stack([value.float() for value in losses.values()]))

    def read(self) -> dict[int, dict[str, float]]:
        """Of each step since the last reading, the losses of the whole batch."""
        values = self.engine.mean(torch.stack(self.losses)).tolist()
        read = {step: dict(zip(self.names, row, strict=True)) for step, row in zip(self.steps, values, strict=True)}
        self.steps, self.losses = [], []
        return read


class Log:
    """`log.csv`: one row every few steps. On resumption, rows after the resumed step are dropped.

    On a full disk a row is reported, and written with the next: a log ends no run.
    """

    def __init__(self, path: Path, start: int):
        self.path, self.whole = path, True
        self.rows: list[dict[str, Any]] = []
        if path.exists() and start:
            try:
                self.rows = read_log(path, start)
            except (OSError, ValueError, csv.Error) as error:
                os.replace(path, path.with_suffix(".damaged.csv"))
                print(f"lfdm: {path} is damaged ({error}); kept as log.damaged.csv, a new one begins", file=sys.stderr)
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        known = {name for old in self.rows for name in old}
        self.rows.append(row)
        self.keep(row if self.whole and set(row) <= known else None)

    def keep(self, row: dict[str, Any] | None) -> None:
        """Append a row to the file, or write all of them."""
        try:
            if row is not None:
                with open(self.path, "a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.names, restval="", lineterminator="\n").writerow(row)
            else:
                self._write()
            self.whole = True
        except OSError as error:
            if self.whole:
                print(f"\nlfdm: {self.path} is behind, will try again: {error.strerror or error}", file=sys.stderr)
            self.whole = False

    def _write(self) -> None:
        self.names = list(dict.fromkeys(name for row in self.rows for name in row)) or ["step"]

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.names, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

        write_atomically(self.path, write)


def read_log(path: Path, until: int) -> list[dict[str, Any]]:
    """The rows of a log up to a step; a last one that was cut off is left out.

    Raises:
        ValueError: it is no log.
        csv.Error: it is no table.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]  # killed within a row
    rows = list(csv.DictReader(lines))
    if not all(row.get("step") and None not in row for row in rows):
        raise ValueError("a row has no step, or more cells than there are columns")
    return [row for row in rows if int(row["step"]) <= until]


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
            self.bar.total = self.engine.steps
            self.bar.set_postfix(loss=figures["loss"])
            self.log.add({"step": done} | figures)
            self.engine.accelerator.log({name: float(value) for name, value in figures.items()}, step=done)

    def picture(self, done: int, draw: Callable[[Path], None]) -> None:
        """Let `draw` fill `samples/step_N.png`, and show it to the tracker; a full disk is reported."""
        path = self.engine.out / "samples" / f"step_{done:06d}.png"
        try:
            path.parent.mkdir(exist_ok=True)
            draw(path)
        except OSError as error:
            print(f"\nlfdm: {path} cannot be written: {error.strerror or error}", file=sys.stderr)
            return
        show_picture(self.engine.accelerator, path, done)

    def close(self) -> None:
        """End the bar, the log and the tracker."""
        self.bar.close()
        if self.engine.main and not self.log.whole:
            self.log.keep(None)
        for tracker in self.engine.accelerator.trackers:
            tracker.finish()

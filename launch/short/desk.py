"""Keeps the folder of a short run up to date: what is known, at once; weights and pictures, in a part of its own."""

import csv
import json
import platform
import shutil
import subprocess
import time
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lfdm_lite.files.atomic import write_atomically, write_json

from .options import Options
from .report import readme
from .slices import Part

FOLDERS = ("ae", "dm", "judge")  # of the trainings, in the folder of work


class Desk:
    """What a run knows of itself, and the folder that it leaves.

    Attributes:
        rows: of the table of slices.
        notes: what went otherwise than it should.
        measured: of each stage, what its step cost in each way that was tried.
        clips: for training.
    """

    def __init__(self, options: Options):
        self.options, self.card = options, card(options.device)
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.measured: dict[str, list[dict[str, Any]]] = {}
        self.clips: int | None = None
        self.packer: Part | None = None
        self.asked, self.asked_at = 0, options.began  # how often weights and pictures were asked for; when

    def say(self, text: str) -> None:
        """A line, with the seconds since the run began."""
        print(f"{time.time() - self.options.began:6.1f} s  {text}", flush=True)

    def now_and_then(self) -> None:
        """Nine times in a run, which is once a minute in nine, everything is brought up to date."""
        if time.time() - self.asked_at > 60 * self.options.minutes / 9:
            self.update()

    def update(self) -> None:
        """What the run knows is written now; weights and pictures as soon as may be. What hinders it becomes a note."""
        self.asked_at = time.time()
        try:
            new = self.packer is None or self.packer.status is not None  # one that died has left its task undone
            if new:
                self.packer = self._packer("pack", nice=5)
            if new or self._packed(self.packer) == self.asked:  # else it still writes
                self._ask(self.packer)
            self.write("going on")
        except (OSError, ValueError) as error:
            self._hindered(error)

    def finish(self, state: str, ends: float) -> bool:
        """Everything, for the last time; by a process that nothing has slowed down, and until then at most.

        Returns:
            Whether it could be written.
        """
        try:
            self._finish(state, ends)
        except (OSError, ValueError) as error:
            self._hindered(error)
            return False
        return True

    def _finish(self, state: str, ends: float) -> None:
        if self.packer is not None:
            self.packer.end(0)
        last = self.packer = self._packer("pack last", nice=0)
        self._ask(last)
        while last.status is None and self._packed(last) != self.asked and time.time() < ends:
            time.sleep(0.02)
        if self._packed(last) != self.asked:
            self.notes.append("the last weights and pictures may be missing: there was no time to write them")
        last.end(0)
        for left in self.options.out.glob(".*.tmp"):  # of one that was ended while it wrote
            with suppress(OSError):
                left.unlink()
        self.write(state)

    def withdraw(self) -> None:
        """Take away what was written of a run that could not begin; both folders were empty."""
        if self.packer is not None:
            self.packer.end(0)
        shutil.rmtree(self.options.work, ignore_errors=True)
        for path in self.options.out.iterdir():
            path.unlink()

    def write(self, state: str) -> None:
        """`README.md` and `summary.json`."""
        out, work = self.options.out, self.options.work
        said = [note for row in self.packer.found()[-1:] for note in row["notes"]] if self.packer else []
        metrics = read(work / "metrics.json")
        summary = {
            "state": state,
            "command": self.options.command,
            "began": datetime.fromtimestamp(self.options.began).astimezone().isoformat(timespec="seconds"),
            "minutes": self.options.minutes,
            "seconds": time.time() - self.options.began,
            "preset": self.options.preset,
            "card": self.card,
            "clips": self.clips,
            "slices": self.rows,
            "measured": self.measured,
            "notes": self.notes + said,
            "recipes": {name: read(work / name / "recipe.json") for name in FOLDERS},
            "metrics": metrics,
            "files": sorted({p.name for p in out.iterdir() if p.name[0] != "."} | {"README.md", "summary.json"}),
        }
        write_json(out / "summary.json", summary)
        write_atomically(out / "README.md", lambda path: path.write_text(readme(summary), encoding="utf-8"))

    def _hindered(self, error: Exception) -> None:
        note = f"the folder could not be brought up to date: {type(error).__name__}: {error}"
        if note not in self.notes:
            self.notes.append(note)
            self.say(note)

    def _packer(self, name: str, nice: int) -> Part:
        quiet = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        return Part("pack", name.replace(" ", "_"), self.options.work, quiet, nice)

    def _ask(self, packer: Part) -> None:
        self.asked += 1
        places = {"work": str(self.options.work), "out": str(self.options.out)}
        packer.tell(**places, max_bytes=self.options.max_bytes, number=self.asked)

    def _packed(self, packer: Part) -> int:
        return max((row["packed"] for row in packer.found()), default=0)


def read(path: Path) -> Any:
    """JSON values; None where there are none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def steps_of(folder: Path) -> int | None:
    """The steps that a training has made, by its log."""
    try:
        with open(folder / "log.csv", newline="", encoding="utf-8") as file:
            return max((int(row["step"]) for row in csv.DictReader(file)), default=None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def card(device: str) -> str:
    """The GPU as its driver names it, or the CPU; and the versions that matter."""
    what = f"{platform.processor() or platform.machine()} CPU"
    if device != "cpu" and shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        with suppress(subprocess.TimeoutExpired):
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()
            what = f"{said[0]} (driver)" if said else what
    return f"{what}; Python {platform.python_version()}, torch {version('torch')}"

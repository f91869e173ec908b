"""Runs a sample, and says everything that is wrong with how it ended."""

import csv
import hashlib
import json
import multiprocessing
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..patience import OwnTime
from .sample import Sample
from .server import serve

try:
    import psutil
except ImportError:  # memory is not watched then
    psutil = None

ROOT = Path(__file__).parents[2]
MEMORY = 1.5e9  # bytes that a command may take above what it takes to import the library
LINES, LENGTH = 2, 800  # of what a command says on stderr, and characters of each line
BEGINS = {"cli": "lfdm: error: ", "course": "error: "}  # the line that says what was wrong, of each program
UNIFORM = "is of one colour"
GLANCE = 0.02  # seconds between two looks at a command that runs


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, or what it was stopped for."""

    code: int | None
    out: str
    err: str
    stopped: str = ""


# ---------------------------------------------------------------- running


class Watch:
    """Time and memory of a process, while it works on one command; that others had its core is not its time."""

    def __init__(self, process: int, seconds: float, base: float | None = None):
        self.number, self.seconds = process, seconds
        self.process = psutil.Process(process) if psutil else None
        self.own = OwnTime(self.numbers())  # what its children waited for before is not of this command
        self.base = self.held() if base is None else base

    def all(self) -> list[Any]:
        """The process and those that it started."""
        return [self.process, *self.process.children(recursive=True)] if self.process else []

    def numbers(self) -> list[int]:
        """Of all of them."""
        return [one.pid for one in self.all()] or [self.number]

    def held(self, shared_once: bool = False) -> float:
        """Bytes, of all of them.

        Args:
            shared_once: what a process shares with those that it forked counts once; on Linux, and it takes longer.
        """
        total = 0
        for one in self.all():
            try:
                found = one.memory_full_info() if shared_once else one.memory_info()
                total += getattr(found, "pss", found.rss)
            except psutil.Error:  # it ended meanwhile
                continue
        return total

    def complaint(self) -> str:
        if self.own.hung(self.numbers(), self.seconds):
            return f"not done after {self.seconds:.0f} s"
        if self.held() - self.base > MEMORY and self.held(shared_once=True) - self.base > MEMORY:
            return f"took more than {MEMORY / 1e9:.1f} GB above the import"
        return ""


class Server:
    """The one process; begun anew after a command had to be stopped."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.one_at_a_time = threading.Lock()
        self.begin()

    def begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there, self.environment), daemon=False)
        self.process.start()
        there.close()
        self.connection.recv()
        self.base = Watch(self.process.pid, 0).base

    def build(self, world: Path) -> None:
        self.connection.send(("build", world))
        self.connection.recv()

    def run(self, sample: Sample, arguments: list[str], folder: Path, said: Path) -> Ending:
        with self.one_at_a_time:
            return self.run_alone(sample, arguments, folder, said)

    def run_alone(self, sample: Sample, arguments: list[str], folder: Path, said: Path) -> Ending:
        said.mkdir(parents=True)
        self.connection.send(("run", arguments, folder, said, sample.limits, sample.environment))
        watch, code, stopped = Watch(self.process.pid, sample.seconds, self.base), None, ""
        while not self.connection.poll(GLANCE):
            if stopped := watch.complaint():
                break
        if not stopped:
            try:
                code = self.connection.recv()
            except EOFError:
                stopped = "the process died"
        if stopped:
            self.close()
            self.begin()
        return Ending(code, *words(said), stopped)

    def close(self) -> None:
        end(self.process.pid)
        self.process.join()
        self.connection.close()


class Shell:
    """Each command through `sh`, in a process of its own."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        load = "import time, lfdm_lite.cli, lfdm_lite.training; print(flush=True); time.sleep(60)"
        began = time.monotonic()
        with subprocess.Popen([sys.executable, "-c", load], stdout=-1, env=self.all(Sample([])), cwd=ROOT) as process:
            process.stdout.readline()
            self.start, self.base = time.monotonic() - began, Watch(process.pid, 0).base
            process.kill()

    def all(self, sample: Sample) -> dict[str, str]:
        return os.environ | self.environment | sample.environment | {"PYTHONPATH": str(ROOT)}

    def run(self, sample: Sample, arguments: list[str], folder: Path, said: Path) -> Ending:
        said.mkdir(parents=True)
        lfdm = [sys.executable, "-P", "-m", f"lfdm_lite.{sample.program}"]  # -P as the installed one: not the folder's
        line = (
            shlex.join([*lfdm, *arguments]) + f" >{shlex.quote(str(said / 'out'))} 2>{shlex.quote(str(said / 'err'))}"
        )
        process = subprocess.Popen(["sh", "-c", line], cwd=folder, env=self.all(sample))
        watch, stopped = Watch(process.pid, sample.seconds + self.start, self.base), ""
        while process.poll() is None and not stopped:
            time.sleep(GLANCE)
            stopped = watch.complaint()
        if stopped:
            end(process.pid)
        return Ending(process.wait(), *words(said), stopped)

    def close(self) -> None:
        """Nothing goes on running."""


def end(process: int) -> None:
    """Kill a process and those that it started."""
    started = psutil.Process(process).children(recursive=True) if psutil and psutil.pid_exists(process) else []
    for one in [process, *(child.pid for child in started)]:
        try:
            os.kill(one, 9)
        except ProcessLookupError:
            continue


def words(said: Path) -> tuple[str, str]:
    """What was printed on stdout and stderr."""
    out, err = (said / name for name in ("out", "err"))
    return tuple(file.read_bytes().decode(errors="replace") if file.exists() else "" for file in (out, err))


# ---------------------------------------------------------------- judging


def snapshot(folder: Path) -> dict[str, str]:
    """Everything below a folder: what it is, and a hash of what it holds. Links are not followed, pipes not opened."""
    found = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                what = f"link to {os.readlink(path)}"
            elif stat.S_ISREG(mode):
                what = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                what = stat.filemode(mode)[0]
            found[path.relative_to(folder).as_posix()] = what
    return found


def judge(sample: Sample, folder: Path, run: Callable[[list[str]], Ending]) -> list[str]:
    """Run a sample's commands, and say what is wrong; an empty list where all is well."""
    before = snapshot(folder)
    ending = run(sample.arguments)
    after = snapshot(folder)
    found = manners(ending, sample.codes, BEGINS[sample.program]) + changes(before, after, sample, ending.code == 0)
    found += [f"{name} appeared: something of the input was run" for name in sample.absent if name in after]
    for name, text in sample.kept.items():
        if name not in after or text not in (folder / name).read_text(encoding="utf-8", errors="replace"):
            found.append(f"{name} has lost {text!r}")
    if ending.code == 0:
        results = [name for name in after if after[name] != before.get(name)]
        if sample.outputs and not results:
            found.append(f"exit code 0 without a result: none of {', '.join(sample.outputs)}")
        wrong = [line for name in results for line in unsound(folder / name)]
        found += [line for line in wrong if not (sample.uniform and line.endswith(UNIFORM))]
    elif sample.then and not ending.stopped:
        again = run(list(sample.then))
        if again.code != 0 or again.stopped:
            found.append(f"afterwards `lfdm {shlex.join(sample.then)}` must work: {again.stopped or again.err.strip()}")
    return found


def manners(ending: Ending, codes: tuple[int, ...], begins: str) -> list[str]:
    """What is wrong with exit code and words; `begins` the line that says what was given and is not accepted."""
    if ending.stopped:
        return [ending.stopped]
    found = []
    lines = [line.rpartition("\r")[2] for line in ending.err.split("\n") if line.strip()]
    if ending.code not in codes:
        found.append(f"exit code {ending.code}, expected {' or '.join(map(str, codes))}")
    if "Traceback (most recent call last)" in ending.err + ending.out:
        found.append(f"a traceback that ends in: {lines[-1] if lines else ''}")
    elif len(lines) > LINES:
        found.append(f"{len(lines)} lines on stderr, the last: {lines[-1]}")
    found += [f"a line of {len(line)} characters: {line[:80]} ..." for line in lines if len(line) > LENGTH]
    if ending.code == 2 and not any(line.startswith(begins) for line in lines):
        found.append(f"exit code 2 without a line that begins with {begins!r}: {ending.err!r}")
    if odd := set(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", ending.err + ending.out)):
        found.append(f"control characters reach the terminal: {sorted(odd)}")
    return found


def changes(before: dict[str, str], after: dict[str, str], sample: Sample, worked: bool) -> list[str]:
    """What was changed, made or removed that is no output; and outputs that a failing command touched."""

    def named(path: str) -> bool:
        return any(
            path == name or path.startswith(f"{name}/") or f"{name}/".startswith(f"{path}/") for name in sample.outputs
        )

    found = []
    for path in sorted({*before, *after}):
        if before.get(path) == after.get(path) or (named(path) and (worked or path not in before)):
            continue
        what = "was made" if path not in before else "is gone" if path not in after else "was changed"
        found.append(f"{path} {what}")
    return found


def unsound(path: Path) -> list[str]:
    """What is wrong with a result: a number that is none, a film of one colour, a file that cannot be read."""
    check = {".json": numbers, ".csv": cells, ".safetensors": tensors, ".gif": still, ".png": still, ".mp4": film}
    if path.is_symlink() or not path.is_file() or path.suffix not in check or path.name == "log.damaged.csv":
        return []
    try:
        return [f"{path.name}: {what}" for what in check[path.suffix](path)]
    except Exception as error:
        return [f"{path.name} cannot be read: {type(error).__name__}: {error}"]


def numbers(path: Path) -> list[str]:
    found: list[str] = []
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: found.append(f"holds {name}"))
    return found


def cells(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        values = {cell.strip().lower() for row in csv.reader(file) for cell in row}
    return [f"holds {name}" for name in sorted(values & {"nan", "inf", "-inf"})]


def tensors(path: Path) -> list[str]:
    from safetensors.torch import load_file

    return [f"{name} is not finite" for name, tensor in load_file(path).items() if not tensor.isfinite().all()]


def still(path: Path) -> list[str]:
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        return one_colour([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


def film(path: Path) -> list[str]:
    import av

    with av.open(str(path)) as container:
        return one_colour([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def one_colour(frames: list[Any]) -> list[str]:
    values = np.stack(frames)
    return [UNIFORM] if (values == values[:1, :1, :1]).all() else []


def clear(folder: Path) -> None:
    """Remove a sample's folder."""
    shutil.rmtree(folder, ignore_errors=True)

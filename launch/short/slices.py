"""Slices of time, and processes that keep to them: what overruns is ended, what dies harms nothing but itself."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ENDS = {"preparation": 0.03, "stage one": 0.53, "stage two": 0.88, "evaluation": 0.98, "packing": 1.0}


@dataclass(frozen=True)
class Slice:
    """A part of the run's time, both ends as `time.time()` has them."""

    name: str
    begins: float
    ends: float


def slices(began: float, minutes: float) -> dict[str, Slice]:
    """Half of the time for stage one, 35 % for stage two, a tenth for the evaluation; their ends never move.

    A slice that is over early leaves its time to the next one.
    """
    starts = [0.0, *ENDS.values()]
    moments = [began + 60 * minutes * share for share in starts]
    return {name: Slice(name, *moments[i : i + 2]) for i, name in enumerate(ENDS)}


class Part:
    """One part of the run, in a process and a process group of its own, which waits for its task.

    Processes fork from one that has imported everything once and never touched a GPU: a part starts at once.

    Args:
        kind: a function of `parts`.
        name: of its files in the folder.
        folder: `NAME.txt` there gets what it prints, `NAME.jsonl` what it finds.
        environment: set in it.
        nice: more leaves the cores to others.
        method: "forkserver"; or "spawn", which imports everything anew.
    """

    def __init__(
        self, kind: str, name: str, folder: Path, environment: dict[str, str], nice: int, method: str = "forkserver"
    ):
        self.name, self.said, self.found_in = name, folder / f"{name}.txt", folder / f"{name}.jsonl"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["launch.short.parts"])
        theirs, self.tasks = context.Pipe(duplex=False)
        given = (kind, theirs, str(self.said), str(self.found_in), environment, nice)
        self.process = context.Process(target=enter, args=given, name=name)
        self.process.start()
        theirs.close()

    def tell(self, **task: Any) -> "Part":
        """Hand over a task; a process that is no longer there is found when it is waited for."""
        with suppress(OSError):
            self.tasks.send(task)
        return self

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.exitcode

    def found(self) -> list[dict[str, Any]]:
        """What it has found so far; a line that is being written is left out."""
        if not self.found_in.is_file():
            return []
        lines = self.found_in.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def last_words(self) -> str:
        """The last line that it printed, or else its exit status, which is negative after a signal."""
        if not self.said.is_file():
            return ""
        said = self.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1][:300] if said and not said[-1].startswith("process ") else f"exit status {self.status}"

    def wait(self, ends: float, stopped: Callable[[], bool], meanwhile: Callable[[], None], grace: float) -> str:
        """Until it is over, or has to be.

        Args:
            ends: when it must be; then it gets SIGTERM, on which trainings save, and `grace` seconds later SIGKILL.
            stopped: whether everything shall stop.
            meanwhile: called now and then.

        Returns:
            "done", "failed", "overran" or "stopped".
        """
        while self.status is None:
            if time.time() >= ends or stopped():
                why = "stopped" if stopped() else "overran"
                return "done" if self.end(grace) == 0 else why
            meanwhile()
            time.sleep(0.05)
        self._end_group()
        return "done" if self.status == 0 else "failed"

    def end(self, grace: float) -> int | None:
        """End the process, asking first, and all that it has started; its exit status.

        One that is known to be dead gets no signal: by now its number may be another's.
        """
        if self.status is not None:
            return self.status
        self.process.terminate()
        self.process.join(grace)
        self._end_group()
        if self.status is None:
            self.process.kill()  # where it had no time to make a group
        self.process.join(10)
        return self.status

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def enter(kind: str, tasks: Connection, said: str, found: str, environment: dict[str, str], nice: int) -> None:
    """What a part's process does first: it goes into a group of its own, and writes into its own file."""
    os.setsid()
    os.nice(nice)
    os.environ |= environment
    with open(said, "a", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    print(f"process {os.getpid()}", flush=True)
    from . import parts

    parts.run(kind, tasks, Path(found))

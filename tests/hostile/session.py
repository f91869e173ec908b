"""All samples of a run: one after the other in one process, and beside it some through a shell."""

import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from . import kinds  # noqa: F401  (enters all kinds)
from .harness import Server, Shell, clear, judge
from .sample import KINDS, Place

SHELL = 20  # samples of a run that go through a shell
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LFDM_DEBUG": ""}


def name_of(number: int) -> str:
    """The kind of a sample; its number is its seed too, so that one can be made again alone."""
    return list(KINDS)[number % len(KINDS)]


class Session:
    """Runs samples; `found[number]` will hold the command and all that is wrong with how it ended.

    Args:
        folder: an empty one, for everything.
        numbers: which samples.
    """

    def __init__(self, folder: Path, numbers: Sequence[int]):
        home = folder / "home"
        environment = QUIET | {"HOME": str(home), "LFDM_CACHE": str(home / "cache"), "HF_HOME": str(home / "hub")}
        for name in ("home", "world", "said"):
            (folder / name).mkdir()
        self.folder, self.server, self.shell = folder, Server(environment), Shell(environment)
        self.server.build(folder / "world")
        self.pools = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        every = max(2, len(numbers) // SHELL)
        self.found: dict[int, Future[tuple[list[str], list[str]]]] = {}
        for place, number in enumerate(numbers):
            aside = place % every == every - 1 and place // every < SHELL
            self.found[number] = self.pools[aside].submit(self.run, number, self.shell if aside else self.server)

    def run(self, number: int, runner: Server | Shell) -> tuple[list[str], list[str]]:
        place = Place(self.folder / f"place{number}", self.folder / "world")
        sample = KINDS[name_of(number)](random.Random(number), place)
        if sample.limits or any("\0" in word for word in sample.arguments):
            runner = self.server  # neither can be handed to another process
        elif sample.program != "cli":
            runner = self.shell
        said = (self.folder / "said" / f"{number}.{turn}" for turn in range(9))
        found = judge(sample, place.folder, lambda words: runner.run(sample, words, place.folder, next(said)))
        clear(place.folder)
        return sample.arguments, found

    def close(self) -> None:
        for pool in self.pools:
            pool.shutdown(cancel_futures=True)
        self.server.close()

"""Waiting that does not depend on how busy a machine is: for an event, or for the share of time that was one's own."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

HUNG = 900.0  # seconds after which what a test waits for counts as hung; nothing that works comes near, however busy


def until(event: Callable[[], object], glance: float = 0.02) -> None:
    """Wait for an event.

    Raises:
        TimeoutError: it does not come.
    """
    end = time.monotonic() + HUNG
    while not event():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {HUNG:.0f} seconds")
        time.sleep(glance)


def queued(processes: Iterable[int]) -> float:
    """Seconds that the threads of these processes were ready and waited for a core that others had.

    Linux counts them; elsewhere it is 0. Of a process that has ended it is 0 too.
    """
    total = 0
    for process in processes:
        try:
            for thread in Path(f"/proc/{process}/task").iterdir():
                total += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return total / 1e9


class OwnTime:
    """The seconds that processes had for themselves: those of the clock, without those that they waited for a core.

    One that hangs has all the time that passes, one that is kept from its core has next to none.
    """

    def __init__(self, processes: Iterable[int] = ()):
        self.began, self.before, self.waited = time.monotonic(), queued(processes), 0.0

    def seconds(self, processes: Iterable[int] = ()) -> float:
        self.waited = max(self.waited, queued(processes) - self.before)  # a child that ended takes its count along
        return time.monotonic() - self.began - self.waited

    def hung(self, processes: Iterable[int], limit: float) -> bool:
        """Whether they had more than `limit` seconds for themselves, or are at it for longer than anything takes."""
        return self.seconds(processes) > limit or time.monotonic() - self.began > limit + HUNG

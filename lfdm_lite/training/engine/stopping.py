"""Why a run ends before its last step: Ctrl-C, SIGTERM, or the hours it was given. It saves first."""

import signal
import sys
import threading
import time

TIME_IS_UP = 1  # less than the numbers of the signals, which go first

ECHO = 3.0  # seconds within which a second signal is the first one, passed on

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, TIME_IS_UP: 0}  # of the process, as shells know them


class Stopped(Exception):
    """The run was asked to stop and has saved first.

    Attributes:
        status: exit status of the process: 130 after Ctrl-C, 143 after SIGTERM, 0 after `max_hours`.
    """

    def __init__(self, message: str, status: int = 130):
        super().__init__(message)
        self.status = status


class StopRequest:
    """Turns SIGINT, SIGTERM and the end of `max_hours` into a reason that is looked at between steps.

    Ctrl-C again ends the process at once; files are written so that this harms none. Launchers pass a signal on that
    has reached their processes already, so what comes within seconds of the first does not count as another.

    Args:
        max_hours: after which to stop; None: never.
        began: when the run began, by `time.monotonic`.
    """

    def __init__(self, max_hours: float | None, began: float):
        self.max_hours, self.began = max_hours, began
        self.signal = 0
        self.looked, self.longest = time.monotonic(), 0.0

    def __enter__(self) -> "StopRequest":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: object) -> None:
        if not self.signal:
            self.signal, self.asked = number, time.monotonic()
            print("\nlfdm: stopping after this step, saving first; Ctrl-C again to stop at once", file=sys.stderr)
        elif number == signal.SIGINT and time.monotonic() - self.asked > ECHO:
            raise KeyboardInterrupt

    def look(self) -> int:
        """The reason; remembers how long it is from one look to the next, which `max_hours` must leave time for."""
        now = time.monotonic()
        self.looked, self.longest = now, max(self.longest, now - self.looked)
        return self.reason

    @property
    def reason(self) -> int:
        """The signal that came, `TIME_IS_UP`, or 0."""
        if self.signal or self.max_hours is None:
            return self.signal
        hours = (time.monotonic() + self.longest - self.began) / 3600
        return TIME_IS_UP if hours >= self.max_hours else 0


def stopped(reason: int, step: int, steps: int, max_hours: float | None) -> Stopped:
    """What to tell whoever stopped the run."""
    because = f"the {max_hours:g} hours of --max-hours are over: " if reason == TIME_IS_UP else ""
    return Stopped(f"{because}stopped after step {step} of {steps}; go on with --resume", STATUS[reason])


def ignore_signals(_worker: int = 0) -> None:
    """In a process that prepares batches: signals to the whole group are for the training process to answer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

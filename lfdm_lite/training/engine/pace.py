"""A run that ends by the clock instead of after so many steps: how many there will be is found while it goes on."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..configs import moment

ENDLESS = 10**9  # steps that no run makes before its time is up


class ProcessorClock:
    """Seconds of all threads of a run's processes, of which the main one stands for the others.

    What workers do that prepare batches is not seen.

    Args:
        processes: of the run.

    Attributes:
        before: seconds that the run took before it was resumed.
    """

    def __init__(self, processes: int = 1):
        self.processes, self.before, self.began = processes, 0.0, time.process_time()

    @property
    def seconds(self) -> float:
        """That were taken so far, without those that were `free`."""
        return self.before + self.processes * (time.process_time() - self.began)

    @contextmanager
    def free(self) -> Iterator[None]:
        """What is done inside does not count."""
        began = time.process_time()
        try:
            yield
        finally:
            self.began += time.process_time() - began


class Pace:
    """Says at every reading of the losses after how many steps the run will end; `engine.steps` follows.

    Without `loop.until` and `loop.cpu_minutes` that is `optim.steps`. With one of them, as many as fit until that
    moment, or into these minutes of the processor, at the speed of the later half of the readings so far, which leaves
    out the slow first steps; the schedule of the rate is of that many steps, so it comes to its end with the time. The
    main process decides for all.

    Args:
        engine: of the run.
        start: steps done before.

    Attributes:
        most: the step behind which there can be none.

    Raises:
        ValueError: the time is up, and there is nothing to finish.
    """

    def __init__(self, engine: Any, start: int):
        loop = engine.config.loop
        self.engine, self.most, self.clock = engine, engine.steps, time.time
        self.until = math.inf if loop.until is None else moment(loop.until)
        passed, advice = f"until={loop.until!r} has passed", "choose a later moment"
        if loop.cpu_minutes is not None:
            self.until, self.clock = 60 * loop.cpu_minutes, lambda: engine.processor.seconds
            passed, advice = f"cpu_minutes={loop.cpu_minutes:g} are over", "give it more"
        self.readings: list[tuple[int, float]] = []  # steps done, and when
        self.closing = 0.0  # the longest that validating, drawing and saving after a step took, in seconds
        if self.until == math.inf:
            return
        late = engine.from_main(self.clock() >= self.until)
        if late and not start:
            raise ValueError(f"{passed} and no step was made; {advice}")
        self.most = start if late else ENDLESS
        if late:
            engine.aim(start)
        elif start:  # the speed until here is known
            now, took = self.clock(), engine.seconds_before if loop.cpu_minutes is None else engine.processor.before
            self.readings = [(0, now - took), (start, now)]
            engine.aim(engine.from_main(self.steps(start, now) if engine.main else 0))

    def look(self, done: int) -> None:
        """A reading after step `done` begins."""
        self.looked = self.clock()
        if self.until == math.inf:
            return
        self.readings.append((done, self.looked))
        self.engine.aim(self.engine.from_main(self.steps(done, self.looked) if self.engine.main else 0))

    def steps(self, done: int, now: float) -> int:
        """After how many steps the time will be up: `done`, if it is now."""
        left = self.until - now - self.closing
        before, then = self.readings[(len(self.readings) - 1) // 2]
        if before == done:  # one reading says nothing of the speed
            return done if left <= 0 else max(done + 1, self.engine.steps)
        return done + max(0, int(left * (done - before) / max(now - then, 1e-6)))

    def rest(self) -> None:
        """The reading is over."""
        self.closing = max(self.closing, self.clock() - self.looked)

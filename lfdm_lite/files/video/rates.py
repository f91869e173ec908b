"""Frames a second: what a format can hold, and clips whose frames last unequally long."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

Rate = float | int | Fraction

LIMITS = {".gif": (100 / 65535, 50), ".mp4": (1 / 1000, 1000)}  # frames a second that a file can hold
SNAP = 0.2  # of a tick: a frame that lasts about a whole number of ticks lasts exactly that
SHORTEST = 1 / 60  # seconds: a shorter frame among longer ones is no pace but a slip of the clock that stamped it
MOST_TICKS = 10_000  # of one frame; more is refused


def check_rate(path: str | Path, fps: Rate) -> None:
    """Refuse frames a second that a file of this name cannot hold: ask before the frames are made.

    A GIF counts in hundredths of a second with 16 bits, and players slow down frames of less than two; so it holds
    0.0016 to 50 frames a second. For MP4 0.001 to 1000 are accepted, for other files any above 0.

    Raises:
        ValueError: the rate is out of these limits, or no number.
    """
    suffix = Path(path).suffix.lower()
    low, high = LIMITS.get(suffix, (0, math.inf))
    if not (math.isfinite(fps) and 0 < fps and low <= fps <= high):
        held = f"{suffix} holds {low:.2g} to {high:g}" if suffix in LIMITS else "expected a number above 0"
        raise ValueError(f"{path}: fps is {fps}; {held} frames a second")


def gif_delays(frames: int, fps: Rate) -> Int[np.ndarray, " t"]:
    """Hundredths of a second for each frame of a GIF, in turn longer and shorter so that their sum is right."""
    return np.diff(np.floor(np.arange(frames + 1) * 100 / float(fps) + 0.5).astype(int))


def tick_of(gaps: Float[np.ndarray, " n"]) -> float | None:
    """The regular tick to show a clip by, in seconds; None if its frames last equally long and each is one tick.

    Clocks jitter: frames of half to one and a half times the mean length that stay within one frame of an even pace
    are regular. Otherwise the tick is the shortest duration that occurs.

    Args:
        gaps: seconds from each frame to the next.
    """
    gaps = gaps[gaps > 0]
    if len(gaps) == 0:
        return None
    mean = gaps.mean()
    drift = np.abs(np.cumsum(gaps) - mean * np.arange(1, len(gaps) + 1)).max()
    if gaps.min() > mean / 2 and gaps.max() < 1.5 * mean and drift < mean:
        return None
    shortest = gaps[gaps > 0.99 * min(SHORTEST, np.median(gaps) / 4)].min()
    return float(gaps[(gaps >= shortest) & (gaps < (1 + SNAP) * shortest)].mean())


class Pace:
    """How many ticks each frame is shown, one after the other; what is rounded off one frame is made up by the next.

    Args:
        tick: seconds; None for a clip with one tick a frame.
    """

    def __init__(self, tick: float | None):
        self.tick, self.owed = tick, 0.0

    def ticks(self, seconds: float | None) -> int:
        """Of a frame that lasts so long; where nobody knows, or it says 0, one.

        Raises:
            OverflowError: more than `MOST_TICKS`.
        """
        if self.tick is None or not seconds or seconds < 0:
            return 1
        exact = seconds / self.tick
        if exact > MOST_TICKS:
            what = f"a frame lasts {exact:.0f} times as long as the shortest"
            raise OverflowError(f"{what}; expected at most {MOST_TICKS}")
        whole = round(exact)
        if abs(exact - whole) > SNAP:
            whole = max(0, round(exact + self.owed))
            self.owed += exact - whole
        return whole

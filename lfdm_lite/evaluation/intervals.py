"""How far a number may be trusted: bootstrap intervals of what is computed on a set of clips.

Clips are drawn anew with replacement, as if the test set had been collected again, and scored again. Clips of one
person count as independent, unless it is said whose they are: then people are drawn, each with all of their clips.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number, and an interval that holds its value for all such clips in 95 of 100 test sets, if that is asked."""

    value: float  # computed on the clips at hand
    low: float  # lower end of the interval
    high: float  # upper end of the interval
    n: int  # clips it rests on

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.n})"


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    n: int,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n"] | None = None,
) -> tuple[float, float]:
    """Percentile interval of a statistic under drawing `n` clips anew, or the people in them.

    Args:
        statistic: from the indices of the drawn clips (with repeats) to a number.
        n: number of clips, at least 1.
        confidence: probability mass of the interval, between 0 and 1.
        subject: the person of every clip. As many people are drawn as there are, with all their clips; how many clips
            that makes varies. Clips are drawn unless given.

    Raises:
        ValueError: no clips, no resamples, a confidence outside (0, 1), or subjects of another number of clips.

    Source: Efron's bootstrap, percentile method; of clusters where people are drawn.
    """
    if subject is not None and len(subject) != n:
        raise ValueError(f"there are {n} clips and {len(subject)} subjects; expected one of each clip")
    if n < 1 or resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"cannot bootstrap n={n}, resamples={resamples}, confidence={confidence}; "
            "expected at least 1 clip, at least 1 resample, and a confidence between 0 and 1"
        )
    redrawn = redrawing(n, np.random.default_rng(seed), subject)
    values = np.sort([statistic(redrawn()) for _ in range(resamples)])
    tail = (1 - confidence) / 2
    low, high = (values[min(resamples - 1, int(q * resamples))] for q in (tail, 1 - tail))
    return float(low), float(high)


def redrawing(
    n: int, rng: np.random.Generator, subject: Int[Tensor, " n"] | None = None
) -> Callable[[], Int[np.ndarray, " drawn"]]:
    """What draws the indices of `n` clips anew at every call, or of the clips of as many people, see `bootstrap`."""
    if subject is None:
        return lambda: rng.integers(0, n, n)
    numbers = subject.cpu().numpy()
    clips = [np.flatnonzero(numbers == person) for person in np.unique(numbers)]
    return lambda: np.concatenate([clips[k] for k in rng.integers(0, len(clips), len(clips))])


def mean_estimate(
    scores: Float[Tensor, " n"],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n"] | None = None,
) -> Estimate:
    """Mean of one score a clip, with its bootstrap interval: over clips, or over people, see `bootstrap`.

    Raises:
        ValueError: no scores, or a score that is not a number.
    """
    if len(scores) == 0 or scores.isnan().any():
        raise ValueError(f"expected at least one score and all of them numbers, got {scores.tolist()[:8]}")
    values = scores.detach().double().cpu().numpy()
    low, high = bootstrap(lambda drawn: values[drawn].mean(), len(values), resamples, confidence, seed, subject)
    return Estimate(float(values.mean()), low, high, len(values))


def ratio_estimate(
    above: Float[Tensor, " n"],
    below: Float[Tensor, " n"],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n"] | None = None,
) -> Estimate:
    """The mean of one score over the mean of another, each clip drawn with both of its scores (a paired bootstrap).

    Raises:
        ValueError: no scores, a score that is not a number, or one below that makes a mean of 0.
    """
    if len(above) != len(below) or len(above) == 0 or (above + below).isnan().any() or not below.mean() > 0:
        raise ValueError(
            f"expected as many scores above as below, all numbers, and those below with a mean above 0; got "
            f"{above.tolist()[:8]} and {below.tolist()[:8]}"
        )
    a, b = (scores.detach().double().cpu().numpy() for scores in (above, below))
    low, high = bootstrap(
        lambda drawn: a[drawn].mean() / max(b[drawn].mean(), 1e-300), len(a), resamples, confidence, seed, subject
    )
    return Estimate(float(a.mean() / b.mean()), low, high, len(a))

"""How far a number may be trusted: bootstrap intervals of what is computed on a set of clips.

Clips are drawn anew with replacement, as if the test set had been collected again, and scored again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that it would probably stay in, were the clips collected again."""

    value: float  # computed on the clips at hand
    low: float  # lower end of the interval
    high: float  # upper end of the interval
    n: int  # clips it rests on

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.n})"


def bootstrap(
    statistic: Callable[[np.ndarray], float], n: int, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic under drawing `n` clips anew.

    Args:
        statistic: from the indices of the drawn clips (with repeats) to a number.
        n: number of clips, at least 1.
        confidence: probability mass of the interval, between 0 and 1.

    Raises:
        ValueError: no clips, no resamples, or a confidence outside (0, 1).

    Source: Efron's bootstrap, percentile method.
    """
    if n < 1 or resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"cannot bootstrap n={n}, resamples={resamples}, confidence={confidence}; "
            "expected at least 1 clip, at least 1 resample, and a confidence between 0 and 1"
        )
    rng = np.random.default_rng(seed)
    values = np.sort([statistic(rng.integers(0, n, n)) for _ in range(resamples)])
    tail = (1 - confidence) / 2
    low, high = (values[min(resamples - 1, int(q * resamples))] for q in (tail, 1 - tail))
    return float(low), float(high)


def mean_estimate(
    scores: Float[Tensor, " n"], resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean of one score a clip, with its bootstrap interval.

    Raises:
        ValueError: no scores, or a score that is not a number.
    """
    if len(scores) == 0 or scores.isnan().any():
        raise ValueError(f"expected at least one score and all of them numbers, got {scores.tolist()[:8]}")
    values = scores.detach().double().cpu().numpy()
    low, high = bootstrap(lambda drawn: values[drawn].mean(), len(values), resamples, confidence, seed)
    return Estimate(float(values.mean()), low, high, len(values))

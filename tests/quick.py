"""Figures in a fraction of the time, for tests of which figures there are and of how they are asked for."""

from functools import partial

import pytest

from lfdm_lite.evaluation import distances, intervals, metrics, parts

RESAMPLES = 20  # of an interval, of a thousand; other tests look at intervals


def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals from few draws; and one performance in place of 16 shows where nothing ever moves in a clip.

    The figures themselves do not depend on the first, and those of what never moves hardly on the second.
    """
    bootstrap = intervals.bootstrap

    def from_few_draws(statistic, n, resamples=1000, *more, **others):
        return bootstrap(statistic, n, min(resamples, RESAMPLES), *more, **others)

    for module in (intervals, metrics, distances):
        monkeypatch.setattr(module, "bootstrap", from_few_draws)
    monkeypatch.setattr(parts, "look_closer", partial(parts.look_closer, takes=1))

"""How the learning rate and the weight average's decay change over a run: functions of the step alone."""

import math

from ..configs import OptimConfig


def learning_rate(step: int, config: OptimConfig) -> float:
    """Linear from 0 over the warm-up; then half a cosine down to 0 at the last step, drops, or constant.

    Source: LFDM, training of both stages: the rate is multiplied by 0.1 twice.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "cosine":
        progress = (step - config.warmup) / max(1, config.steps - config.warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "drops":
        passed = sum(step >= round(share * config.steps) for share in config.drops)
        return config.learning_rate * config.drop_factor**passed
    return config.learning_rate


def ema_decay(step: int, config: OptimConfig) -> float:
    """The average's decay in a step; early on it follows quickly, so that it forgets the random start."""
    return min(config.ema, (1 + step) / (10 + step))

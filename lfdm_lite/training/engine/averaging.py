"""The moving average of a network's weights, which samples better than the weights of the last step."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


class WeightAverage(Generic[Network]):
    """A copy of a network that follows it slowly: w ← decay w + (1 - decay) w_now, batch norms' statistics too.

    `torch.optim.swa_utils.AveragedModel` asks the device for its own step count at each update, which would make
    every step wait.

    Attributes:
        module: the average, in evaluation mode, without gradients.
    """

    def __init__(self, network: Network):
        self.module: Network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = list(zip(self.module.state_dict().values(), network.state_dict().values(), strict=True))
        self.floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move towards the network; `decay` 0 copies it."""
        averages, current = zip(*self.floating, strict=True)
        get_ema_multi_avg_fn(decay)(list(averages), list(current), None)
        for count, now in self.counts:
            count.copy_(now)

"""The authors' noise process and samplers in float64, beside `plain`; nothing of `lfdm_lite` in it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x, t) -> eps


class Process:
    """The cosine schedule in float64, its twelve sequences, and one step of either sampler.

    Args:
        steps: T.
        dynamic: x0 is thresholded at the 0.9 quantile of its magnitudes, else clipped to -1 .. 1.
    """

    def __init__(self, steps: int, dynamic: bool = True):
        self.steps, self.dynamic = steps, dynamic
        wave = np.cos((np.linspace(0, steps, steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - wave[1:] / wave[:-1], 0.9999)
        bar = np.cumprod(1 - betas)
        prev = np.append(1.0, bar[:-1])
        variance = betas * (1 - prev) / (1 - bar)
        named = {
            "betas": betas,
            "alphas_cumprod": bar,
            "alphas_cumprod_prev": prev,
            "sqrt_alphas_cumprod": np.sqrt(bar),
            "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - bar),
            "log_one_minus_alphas_cumprod": np.log(1 - bar),
            "sqrt_recip_alphas_cumprod": 1 / np.sqrt(bar),
            "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / bar - 1),
            "posterior_variance": variance,
            "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
            "posterior_mean_coef1": betas * np.sqrt(prev) / (1 - bar),
            "posterior_mean_coef2": (1 - prev) * np.sqrt(1 - betas) / (1 - bar),
        }
        self.buffers = {name: torch.from_numpy(values) for name, values in named.items()}

    def at(self, name: str, t: Tensor) -> Tensor:
        """One number per example, shaped for clips."""
        return self.buffers[name][t].view(-1, 1, 1, 1, 1)

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return self.at("sqrt_alphas_cumprod", t) * x0 + self.at("sqrt_one_minus_alphas_cumprod", t) * noise

    def start(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return self.at("sqrt_recip_alphas_cumprod", t) * x - self.at("sqrt_recipm1_alphas_cumprod", t) * noise

    def clipped(self, x0: Tensor, dynamic: bool | None = None) -> Tensor:
        if not (self.dynamic if dynamic is None else dynamic):
            return x0.clamp(-1, 1)
        place = 0.9 * (x0[0].numel() - 1)  # between two of the sorted magnitudes
        ordered = x0.flatten(1).abs().sort(dim=1).values
        below, above = ordered[:, int(place)], ordered[:, int(place) + 1]
        s = (below + (place - int(place)) * (above - below)).clamp(min=1).view(-1, 1, 1, 1, 1)
        return x0.clamp(-s, s) / s

    def posterior_mean(self, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return self.at("posterior_mean_coef1", t) * x0 + self.at("posterior_mean_coef2", t) * x

    def times(self, count: int) -> list[int]:
        """Steps of a shorter path, noisiest first; the last 0 is no step any more."""
        return [i * self.steps // (count + 1) for i in range(count, -1, -1)]

    def ddim(self, denoise: Denoise, noise: Sequence[Tensor], count: int, eta: float) -> Tensor:
        """`noise`: the start, then one draw for each step but the last. alpha_bar is that of one step earlier."""
        x, times = noise[0], self.times(count)
        for i, (now, then) in enumerate(zip(times[:-1], times[1:], strict=True)):
            t = torch.full((len(x),), now)
            eps = denoise(x, t)
            x0 = self.clipped(self.start(x, t, eps))
            if then == 0:
                return x0
            bar = self.buffers["alphas_cumprod_prev"]
            sigma = eta * ((1 - bar[now] / bar[then]) * (1 - bar[then]) / (1 - bar[now])).sqrt()
            x = x0 * bar[then].sqrt() + (1 - bar[then] - sigma**2).sqrt() * eps + sigma * noise[i + 1]
        raise AssertionError("a path ends at 0")

    def ddpm(self, denoise: Denoise, noise: Sequence[Tensor]) -> Tensor:
        """`noise`: the start, then one draw a step; that of step 0 is not used."""
        x = noise[0]
        for i, now in enumerate(reversed(range(self.steps))):
            t = torch.full((len(x),), now)
            mean = self.posterior_mean(self.clipped(self.start(x, t, denoise(x, t))), x, t)
            spread = (0.5 * self.at("posterior_log_variance_clipped", t)).exp()
            x = mean + (spread * noise[i + 1] if now > 0 else 0)
        return x

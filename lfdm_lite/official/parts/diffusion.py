"""The published noise process and its samplers: ours, where `PublishedDiffusionConfig` does not say otherwise.

`samplers.sample` comes to the `sample` below by itself, for a process of this class.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ... import samplers
from ...diffusion import GaussianDiffusion, cosine_betas, draw_noise
from ...geometry import identity_grid
from ...samplers import Denoise, ddim_step, ddpm_step
from .configs import PublishedDiffusionConfig
from .stage_one import corner_grid


class PublishedDiffusion(GaussianDiffusion):
    """Our process with what `config` exchanges; `sample` reads the config's fields on sampling.

    Source: LFDM's published code, stage two, by its measured behaviour.
    """

    config: PublishedDiffusionConfig

    def exact_betas(self) -> Float[Tensor, " t"]:
        if self.config.schedule == "cosine":
            return cosine_betas(self.config.num_steps, max_beta=self.config.max_beta)
        return super().exact_betas()

    def flow_origin(self, like: Tensor) -> Float[Tensor, "2 1 h w"]:
        """As ours; with `corner_origin`, "residual" counts from a grid of its own, and sees the grids' difference."""
        if self.config.motion == "residual" and self.config.corner_origin:
            h, w = like.shape[-2:]
            return (identity_grid(h, w) - corner_grid(h, w)).to(like.device)[:, None]
        return super().flow_origin(like)


def ours(function: Any) -> Callable[..., Any]:
    """What a function of `samplers` does for a process of ours."""
    return function.dispatch(GaussianDiffusion)


def interior_timesteps(num_steps: int, steps: int) -> list[int]:
    """The points between `steps` + 1 equal parts of 0 to num_steps, rounded down, descending: 909 of 1000 for 10 steps.

    Args:
        steps: at least 1, below num_steps.
    """
    return torch.linspace(0, num_steps, steps + 2)[1:-1].long().flip(0).tolist()


@samplers.sampling_path.register
def sampling_path(
    diffusion: PublishedDiffusion,
    steps: int | None = None,
    min_alpha_bar: float | None = None,
    spacing: float | int = 1,
) -> list[int]:
    """The steps that `sample` visits, noisiest first; a spacing other than 1 is ours, not the published code's."""
    config = diffusion.config
    min_alpha_bar = config.min_alpha_bar if min_alpha_bar is None else min_alpha_bar
    path = ours(samplers.sampling_path)(diffusion, steps, min_alpha_bar, spacing)
    usable = path[0] + 1
    interior = config.spacing == "interior" and spacing == 1 and len(path) < usable
    return interior_timesteps(usable, len(path)) if interior else path


def estimate(
    diffusion: PublishedDiffusion,
    denoise: Denoise,
    x_t: Float[Tensor, "b *d"],
    t: Int[Tensor, " b"],
    threshold: float | None = None,
    threshold_floor: float = 1.0,
) -> tuple[Float[Tensor, "b *d"], Float[Tensor, "b *d"]]:
    """`samplers.estimate`; without `threshold_eps` a thresholded x0 leaves eps as the network said it."""
    if threshold is None or diffusion.config.threshold_eps:
        return samplers.estimate(diffusion, denoise, x_t, t, threshold, threshold_floor)
    x0, eps = diffusion.to_x0_eps(x_t, t, denoise(x_t, t).float())
    return samplers.dynamic_threshold(x0, threshold, threshold_floor), eps


@samplers.sample.register
@torch.no_grad()
def sample(
    diffusion: PublishedDiffusion,
    denoise: Denoise,
    shape: tuple[int, ...],
    *,
    sampler: str = "dpm++",
    steps: int | None = None,
    spacing: float | int = 1,
    eta: float | None = None,
    threshold: float | None = None,
    threshold_floor: float = 1.0,
    min_alpha_bar: float | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    noise: Iterable[Tensor] | None = None,
    progress: bool = True,
    callback: Callable[[int, int, Tensor, Tensor], None] | None = None,
) -> Float[Tensor, "..."]:
    """Draw x0 as the published code does, by "ddpm" or "ddim"; "dpm++", which it has not, is ours.

    Arguments mean what they mean in `samplers.sample`; where eta, threshold or min_alpha_bar is None, the config's own
    counts.

    Raises:
        ValueError: for an unknown sampler, or steps out of range.
    """
    config, device = diffusion.config, diffusion.alpha_bar.device
    threshold = config.threshold if threshold is None else threshold
    if sampler not in ("ddpm", "ddim"):
        least = config.min_alpha_bar if min_alpha_bar is None else min_alpha_bar
        limits = dict(threshold=threshold, threshold_floor=threshold_floor, min_alpha_bar=least)
        how = dict(generator=generator, noise=noise, progress=progress, callback=callback)
        where = dict(steps=steps, spacing=spacing)
        return ours(samplers.sample)(diffusion, denoise, shape, sampler=sampler, **where, **limits, **how)
    eta = config.ddim_eta if eta is None else eta
    early = 1 if sampler == "ddim" and config.early_alpha_bar else 0
    alpha_bar = [*diffusion.exact_alpha_bar().tolist(), 1.0]  # at index -1: clean data
    path = [*sampling_path(diffusion, steps, min_alpha_bar, spacing), -1]
    draws = draw_noise(shape, generator, device) if noise is None else iter(noise)

    x = next(draws).to(device)
    for i, (t, s) in enumerate(tqdm(list(pairwise(path)), desc=sampler, disable=not progress)):
        at = torch.full(shape[:1], t, device=device)
        x0, eps = estimate(diffusion, denoise, x, at, threshold, threshold_floor)
        z = next(draws).to(device) if needs_noise(sampler, eta, s < 0, config.draw_unused) else torch.zeros_like(x)
        if s < 0:
            x = x0
        elif sampler == "ddpm":
            x = ddpm_step(x, x0, alpha_bar[t], alpha_bar[s], z)
        else:
            x = ddim_step(x0, eps, alpha_bar[t - early], alpha_bar[s - early], eta, z)
        if callback is not None:
            callback(i, t, x, x0)
    return x


def needs_noise(sampler: str, eta: float, last: bool, draw_unused: bool) -> bool:
    """Whether a step draws noise; `draw_unused` draws it for DDPM's last step and for DDIM with eta 0 too."""
    if sampler == "ddpm":
        return not last or draw_unused
    return sampler == "ddim" and not last and (eta > 0 or draw_unused)

"""From noise to data: DDPM, DDIM and DPM-Solver++(2M), classifier-free guidance, dynamic thresholding.

A step goes from a noisier t to a less noisy s, both known by their alpha_bar alone (a float; 1 is clean data), so
that any spacing of the steps works. In the papers' symbols: alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar),
lambda = log(alpha / sigma).
"""

import math
from collections.abc import Callable, Iterable
from functools import singledispatch
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from .diffusion import Denoiser, GaussianDiffusion, column, draw_noise
from .memory import quantiles

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x (b …), t (b,)) -> the network's answer (b …)
SAMPLERS = ("ddpm", "ddim", "dpm++")


# One step of each sampler, beside its equation


def ddpm_step(
    x_t: Float[Tensor, "b *d"],
    x0: Float[Tensor, "b *d"],
    alpha_bar_t: float,
    alpha_bar_s: float,
    noise: Float[Tensor, "b *d"],
) -> Float[Tensor, "b *d"]:
    """A draw from the posterior q(x_s | x_t, x_0), for standard normal `noise`.

    mean     = sqrt(alpha_bar_s) beta / (1 - alpha_bar_t) x0 + sqrt(alpha) (1 - alpha_bar_s) / (1 - alpha_bar_t) x_t
    variance = (1 - alpha_bar_s) / (1 - alpha_bar_t) beta,   with alpha = alpha_bar_t / alpha_bar_s, beta = 1 - alpha

    Source: Ho et al. 2020, ancestral sampling.
    """
    alpha = alpha_bar_t / alpha_bar_s
    beta = 1 - alpha
    mean = (alpha_bar_s**0.5 * beta * x0 + alpha**0.5 * (1 - alpha_bar_s) * x_t) / (1 - alpha_bar_t)
    variance = (1 - alpha_bar_s) / (1 - alpha_bar_t) * beta
    return mean + variance**0.5 * noise


def ddim_step(
    x0: Float[Tensor, "b *d"],
    eps: Float[Tensor, "b *d"],
    alpha_bar_t: float,
    alpha_bar_s: float,
    eta: float,
    noise: Float[Tensor, "b *d"],
) -> Float[Tensor, "b *d"]:
    """x_s = sqrt(alpha_bar_s) x0 + sqrt(1 - alpha_bar_s - sigma^2) eps + sigma noise.

    sigma = eta sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_s)

    With eta = 0 the path follows an ODE, eta = 1 is DDPM.

    Source: Song et al. 2021, denoising diffusion implicit models.
    """
    sigma = eta * ((1 - alpha_bar_s) / (1 - alpha_bar_t)) ** 0.5 * (1 - alpha_bar_t / alpha_bar_s) ** 0.5
    direction = max(1 - alpha_bar_s - sigma**2, 0.0) ** 0.5 * eps
    return alpha_bar_s**0.5 * x0 + direction + sigma * noise


def dpm_solver_step(
    x_t: Float[Tensor, "b *d"],
    x0: Float[Tensor, "b *d"],
    x0_before: Float[Tensor, "b *d"] | None,
    alpha_bar_t: float,
    alpha_bar_s: float,
    alpha_bar_before: float | None,
) -> Float[Tensor, "b *d"]:
    """x_s = sigma_s / sigma_t x_t - alpha_s (e^-h - 1) D, with h = lambda_s - lambda_t.

    D = (1 + 1 / (2 r)) x0 - 1 / (2 r) x0_before extrapolates the last two estimates of x0, with
    r = (lambda_t - lambda_before) / h. On the first step, where there is no estimate before, and on the last, where
    lambda_s is infinite, D = x0: first order.

    Source: Lu et al. 2022, DPM-Solver++, the multistep second-order solver.
    """
    if alpha_bar_s == 1:
        return x0  # e^-h = 0 and sigma_s = 0
    h = log_snr(alpha_bar_s) - log_snr(alpha_bar_t)
    D = x0
    if x0_before is not None and alpha_bar_before is not None:
        r = (log_snr(alpha_bar_t) - log_snr(alpha_bar_before)) / h
        D = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before
    sigma_ratio = ((1 - alpha_bar_s) / (1 - alpha_bar_t)) ** 0.5
    return sigma_ratio * x_t - alpha_bar_s**0.5 * math.expm1(-h) * D


def log_snr(alpha_bar: float) -> float:
    """lambda = log(alpha / sigma), half of the logarithm of the signal-to-noise ratio.

    Source: Lu et al. 2022, DPM-Solver++.
    """
    return 0.5 * (math.log(alpha_bar) - math.log1p(-alpha_bar))


# What the network says, before a step is taken


def guided(
    unet: Denoiser,
    features: Float[Tensor, "b f *frames h w"],
    label: Int[Tensor, " b"],
    guidance_scale: float | Float[Tensor, " b"] = 1.0,
    numbers: Float[Tensor, "b n"] | None = None,
    until: int = 0,
) -> Denoise:
    """The denoiser `eps_uncond + s (eps_cond - eps_uncond)` of classifier-free guidance, one network call a step.

    Args:
        features: z0 of the given images; or one map per frame.
        label: 0 to num_labels - 1.
        guidance_scale: s; 1 is plain conditional, 0 unconditional (half the cost each), above 1 exaggerates what is
            asked: label and numbers together, for neither is given to the unconditional answer. Or one an example.
        numbers: what the network is told beside the label, NaN where not given; None: nothing.
        until: the least noisy step with guidance, see `guided_until`; those below it are plain conditional, at half of
            the cost.

    Source: Ho & Salimans 2022, classifier-free guidance; it holds for v and x0 too, linear in eps at a given x.
        Kynkäänniemi et al. 2024: guidance in a part of the steps.
    """
    asked, null = [label], [torch.full_like(label, unet.null_label)]
    if numbers is not None:
        asked, null = [*asked, numbers], [*null, torch.full_like(numbers, math.nan)]
    if not isinstance(guidance_scale, Tensor) and guidance_scale in (0, 1):
        only = asked if guidance_scale == 1 else null
        return lambda x, t: unet(x, t, features, *only)

    twice, both = torch.cat([features, features]), [torch.cat(pair) for pair in zip(asked, null, strict=True)]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if until and int(t.max()) < until:
            return unet(x, t, features, *asked)
        conditional, unconditional = unet(torch.cat([x, x]), torch.cat([t, t]), twice, *both).chunk(2)
        scale = column(guidance_scale, x) if isinstance(guidance_scale, Tensor) else guidance_scale
        return unconditional + scale * (conditional - unconditional)

    return denoise


def guided_until(diffusion: GaussianDiffusion, steps: int, guided_steps: int, spacing: float | int = 1) -> int:
    """`until` of `guided` where guidance shall count in so many of the steps, the noisiest; 0: in all of them.

    Where motion is still noise, guidance decides what will move; the last steps give it its shape, and do as well
    without (`assets/runs/few_steps`).
    """
    return 0 if guided_steps >= steps else sampling_path(diffusion, steps, spacing=spacing)[guided_steps - 1]


def dynamic_threshold(x0: Float[Tensor, "b *d"], quantile: float, floor: float = 1.0) -> Float[Tensor, "b *d"]:
    """Clip each sample to [-s, s], s a quantile of its |x0| but at least `floor`, and scale it into [-floor, floor].

    Args:
        quantile: between 0 and 1; Imagen: 0.995, LFDM: 0.9. 0 just clips, unless all of a sample is outside.
        floor: the range of the data.

    Source: Saharia et al. 2022 (Imagen), dynamic thresholding.
    """
    s = column(quantiles(x0.flatten(1).abs(), quantile).clamp(min=floor), x0)
    return x0.maximum(-s).minimum(s).mul_(floor / s)


def estimate(
    diffusion: GaussianDiffusion,
    denoise: Denoise,
    x_t: Float[Tensor, "b *d"],
    t: Int[Tensor, " b"],
    threshold: float | None = None,
    threshold_floor: float = 1.0,
) -> tuple[Float[Tensor, "b *d"], Float[Tensor, "b *d"]]:
    """The x0 and eps that the network makes of x_t; a thresholded x0 brings the eps with which both make up x_t.

    Args:
        threshold, threshold_floor: quantile and floor of `dynamic_threshold`; None: no thresholding.

    Source: Saharia et al. 2022 (Imagen), dynamic thresholding.
    """
    x0, eps = diffusion.to_x0_eps(x_t, t, denoise(x_t, t).float())
    if threshold is not None:
        x0 = dynamic_threshold(x0, threshold, threshold_floor)
        alpha, sigma = diffusion.at(t, x_t)
        eps = torch.sub(x_t, alpha * x0).div_(sigma)
    return x0, eps


def timesteps(num_steps: int, steps: int, spacing: float | int = 1) -> list[int]:
    """`steps` of the steps 0 to num_steps - 1, descending, from pure noise at num_steps - 1.

    Args:
        spacing: at least 1, which is even; above, strides begin short: i of n steps go (i / n)^spacing of the way.

    Raises:
        ValueError: if `steps` is not between 1 and num_steps, or `spacing` is below 1.

    Source: Lin et al. 2024, trailing spacing.
    """
    if not 1 <= steps <= num_steps:
        raise ValueError(f"steps={steps}: must be between 1 and the {num_steps} steps of the diffusion")
    if not spacing >= 1:
        raise ValueError(f"spacing={spacing}: must be at least 1, which spaces steps evenly")
    path = [round(num_steps - num_steps * i**spacing / steps**spacing) - 1 for i in range(steps)]
    return [min(t, num_steps - 1 - i) for i, t in enumerate(path)]  # a stride is at least one step


@singledispatch  # by the class of the process, which may bring a way of its own
@torch.no_grad()
def sample(
    diffusion: GaussianDiffusion,
    denoise: Denoise,
    shape: tuple[int, ...],
    *,
    sampler: str = "dpm++",
    steps: int | None = None,
    spacing: float | int = 1,
    eta: float | int = 0.0,
    threshold: float | None = None,
    threshold_floor: float = 1.0,
    min_alpha_bar: float | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    noise: Iterable[Tensor] | None = None,
    progress: bool = True,
    callback: Callable[[int, int, Tensor, Tensor], None] | None = None,
) -> Float[Tensor, "..."]:
    """Draw x0 by denoising standard normal noise, step by step.

    Args:
        diffusion: the process that the network was trained on.
        denoise: the network's answer at (x, t), for instance from `guided`.
        shape: of the result, batch first.
        sampler: "ddpm", "ddim" or "dpm++".
        steps: network calls, 1 to num_steps (less the steps that `min_alpha_bar` skips); None: all of them.
        spacing: of the steps: 1 even; above 1 shorter where it is noisy, see `timesteps`.
        eta: noise of DDIM, and of no other sampler; 0 is deterministic, 1 as noisy as DDPM.
        threshold, threshold_floor: quantile and floor of `dynamic_threshold`; None: no thresholding.
        min_alpha_bar: start at the noisiest step with this share of signal; None: 1e-3 for an eps network, else 0.
            An eps network's error is divided by sqrt(alpha_bar) in x0: at the last step of the cosine schedule 0.01
            becomes 200, which a few steps do not forget. v and x0 networks have no such step.
        generator: source of all noise; drawn on its device, so that a CPU generator gives the same clip everywhere. A
            list has one generator per sample, whose noise is then independent of the size of the batch.
        noise: given in place of all drawn noise, in the order in which it would be drawn.
        progress: show a progress bar.
        callback: called after each step with (index of the step, t, x after the step, estimate of x0).

    Raises:
        ValueError: for an unknown sampler, or steps out of range.

    Source: the step functions above.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler={sampler!r}: accepted are {', '.join(map(repr, SAMPLERS))}")
    device = diffusion.alpha_bar.device
    alpha_bar = [*diffusion.exact_alpha_bar().tolist(), 1.0]  # at index -1: clean data
    path = [*sampling_path(diffusion, steps, min_alpha_bar, spacing), -1]
    draws = draw_noise(shape, generator, device) if noise is None else iter(noise)

    x, x0_before, alpha_bar_before = next(draws).to(device), None, None
    for i, (t, s) in enumerate(tqdm(list(pairwise(path)), desc=sampler, disable=not progress)):
        x0, eps = estimate(diffusion, denoise, x, torch.full(shape[:1], t, device=device), threshold, threshold_floor)
        alpha_bar_t, alpha_bar_s = alpha_bar[t], alpha_bar[s]
        if sampler == "dpm++":
            x = dpm_solver_step(x, x0, x0_before, alpha_bar_t, alpha_bar_s, alpha_bar_before)
        elif s < 0:
            x = x0
        elif sampler == "ddpm":
            x = ddpm_step(x, x0, alpha_bar_t, alpha_bar_s, next(draws).to(device))
        else:
            z = next(draws).to(device) if eta > 0 else torch.zeros_like(x)
            x = ddim_step(x0, eps, alpha_bar_t, alpha_bar_s, eta, z)
        x0_before, alpha_bar_before = x0, alpha_bar_t
        if callback is not None:
            callback(i, t, x, x0)
    return x


@singledispatch  # as `sample`
def sampling_path(
    diffusion: GaussianDiffusion, steps: int | None = None, min_alpha_bar: float | None = None, spacing: float | int = 1
) -> list[int]:
    """The steps that `sample` visits, noisiest first; its arguments mean what they mean there."""
    if min_alpha_bar is None:
        min_alpha_bar = 1e-3 if diffusion.config.parameterization == "eps" else 0.0
    usable = int((diffusion.exact_alpha_bar() >= min_alpha_bar).sum())
    if steps is not None and usable < steps <= diffusion.config.num_steps:
        raise ValueError(
            f"steps={steps}: sampling starts where {min_alpha_bar:g} of the signal's variance is left (min_alpha_bar), "
            f"at step {usable - 1} of {diffusion.config.num_steps}; use at most {usable} steps"
        )
    return timesteps(usable, usable if steps is None else steps, spacing)

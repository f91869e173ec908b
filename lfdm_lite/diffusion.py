"""The diffusion process of stage two: noise schedules, the forward process, its posterior, and the training loss.

Symbols, as in Ho et al. 2020 and Salimans & Ho 2022: `alpha_bar[t] = prod (1 - beta)`, `alpha = sqrt(alpha_bar)`,
`sigma = sqrt(1 - alpha_bar)`, so that x_t = alpha x0 + sigma eps. Steps count from 0 (almost clean) to num_steps - 1
(almost noise). Everything but `pack_motion` and `unpack_motion` works on data of any shape with a batch in front.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .conditions import drop
from .geometry import identity_grid
from .motion import Motion


@dataclass(frozen=True)
class DiffusionConfig:
    """What a diffusion model adds to its data, what its network answers, and what the data are."""

    num_steps: int = 1000  # steps T; paper: 1000
    schedule: str = "cosine"  # "cosine" or "linear"; paper: cosine
    parameterization: str = "v"  # the network's answer: "eps", "v" or "x0"; paper: eps
    motion: str = "scaled"  # flow: "absolute" grid, "residual" displacement, or that "scaled" to std 1; paper: absolute
    flow_std: tuple[float, float] = (1.0, 1.0)  # of flow x and y over the training clips, normalized; for "scaled"
    null_probability: float = 0.1  # share of training examples whose label is dropped, and all numbers; paper: 0.1
    number_null_probability: float = 0.5  # share of the others that lose a number, each by itself; paper: no numbers
    min_snr: float | None = None  # clamp of the loss weights (Hang et al. 2023: 5); None: all alike, as in the paper

    def __post_init__(self) -> None:
        for field, accepted in [
            ("schedule", ("cosine", "linear")),
            ("parameterization", ("eps", "v", "x0")),
            ("motion", ("absolute", "residual", "scaled")),
        ]:
            if getattr(self, field) not in accepted:
                raise ValueError(f"{field}={getattr(self, field)!r}: accepted are {', '.join(map(repr, accepted))}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps}: must be at least 1")
        for field in ("null_probability", "number_null_probability"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field}={getattr(self, field)}: must be between 0 and 1")
        if min(self.flow_std) <= 0:
            raise ValueError(f"flow_std={self.flow_std}: both must be positive")


MOST_SIGNAL = 2e-3  # share of the signal's variance that may be left at the last step: sampling starts without any


@runtime_checkable
class Denoiser(Protocol):
    """A network that can be trained: `UNet3D`, or anything with its `forward` and `null_label`.

    `asked` is the label and, if it is given them, the numbers.
    """

    @property
    def null_label(self) -> int: ...

    def __call__(self, x: Tensor, t: Tensor, features: Tensor, /, *asked: Tensor) -> Tensor: ...


def cosine_betas(num_steps: int, s: float = 0.008, max_beta: float = 0.999) -> Float[Tensor, " t"]:
    """beta_t = 1 - f(t + 1) / f(t) with f(t) = cos^2((t / T + s) / (1 + s) pi / 2), at most `max_beta`; float64.

    Source: Nichol & Dhariwal 2021, cosine schedule.
    """
    t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


def linear_betas(num_steps: int) -> Float[Tensor, " t"]:
    """beta from 1e-4 to 0.02 in equal steps, the published range for 1000 steps; float64.

    Source: Ho et al. 2020, linear schedule.
    """
    return torch.linspace(1e-4, 0.02, num_steps, dtype=torch.float64)


class GaussianDiffusion(nn.Module):
    """The forward process q and all that follows from it in closed form. It has no parameters.

    Attributes:
        alpha_bar: share of the signal's variance left after each step, (num_steps,), float32, computed in float64.
        alpha, sigma: sqrt(alpha_bar) and sqrt(1 - alpha_bar), each rounded once.
        inverse_alpha, noise_to_signal: 1 / alpha and sigma / alpha, each rounded once.

    Raises:
        ValueError: the schedule leaves signal at its last step; the linear one does with fewer than some 615 steps.

    Source: Ho et al. 2020; LFDM, stage two.
    """

    alpha_bar: Float[Tensor, " t"]
    alpha: Float[Tensor, " t"]
    sigma: Float[Tensor, " t"]
    inverse_alpha: Float[Tensor, " t"]
    noise_to_signal: Float[Tensor, " t"]

    def __init__(self, config: DiffusionConfig):
        super().__init__()
        self.config = config
        alpha_bar = self.exact_alpha_bar()
        if alpha_bar[-1] > MOST_SIGNAL:
            raise ValueError(
                f"schedule={config.schedule!r} with num_steps={config.num_steps} leaves {alpha_bar[-1]:.1%} of the "
                f"signal at its last step, and sampling starts from noise alone: at most {MOST_SIGNAL:.1%} may be "
                "left; use more steps, or schedule='cosine'"
            )
        self.register_buffer("alpha_bar", alpha_bar.float(), persistent=False)
        self.register_buffer("alpha", alpha_bar.sqrt().float(), persistent=False)
        self.register_buffer("sigma", (1 - alpha_bar).sqrt().float(), persistent=False)
        self.register_buffer("inverse_alpha", (1 / alpha_bar).sqrt().float(), persistent=False)
        self.register_buffer("noise_to_signal", (1 / alpha_bar - 1).sqrt().float(), persistent=False)

    def exact_alpha_bar(self) -> Float[Tensor, " t"]:
        """alpha_bar in float64 on the CPU, for arithmetic that cancels (1 - alpha_bar near 1, ratios near 0)."""
        return torch.cumprod(1 - self.exact_betas(), dim=0)

    def exact_betas(self) -> Float[Tensor, " t"]:
        """Share of the signal's variance that each step takes away, in float64 on the CPU."""
        if self.config.schedule == "cosine":
            return cosine_betas(self.config.num_steps)
        return linear_betas(self.config.num_steps)

    # The forward process and what can be read back from it

    def add_noise(
        self, x0: Float[Tensor, "b *d"], t: Int[Tensor, " b"], eps: Float[Tensor, "b *d"]
    ) -> Float[Tensor, "b *d"]:
        """A draw from q(x_t | x_0) for standard normal eps: x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.

        Source: Ho et al. 2020, forward process.
        """
        alpha, sigma = self.at(t, x0)
        return alpha * x0 + sigma * eps

    q_sample = add_noise

    def posterior(
        self, x0: Float[Tensor, "b *d"], x_t: Float[Tensor, "b *d"], t: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b *d"], Float[Tensor, "b *one"]]:
        """Mean and variance of q(x_{t-1} | x_t, x_0), at t = 0 of x0 itself; the variance has shape (b, 1, …).

        Source: Ho et al. 2020, forward process posterior.
        """
        alpha_bar = self.exact_alpha_bar()
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        beta = 1 - alpha_bar / before
        mean_x0 = before.sqrt() * beta / (1 - alpha_bar)
        mean_x_t = (1 - beta).sqrt() * (1 - before) / (1 - alpha_bar)
        variance = (1 - before) / (1 - alpha_bar) * beta
        a, b, variance = (
            column(coefficient.to(x_t.device, torch.float32)[t], x_t) for coefficient in (mean_x0, mean_x_t, variance)
        )
        return a * x0 + b * x_t, variance

    def to_x0_eps(
        self, x_t: Float[Tensor, "b *d"], t: Int[Tensor, " b"], output: Float[Tensor, "b *d"]
    ) -> tuple[Float[Tensor, "b *d"], Float[Tensor, "b *d"]]:
        """The x0 and eps that a network's answer at x_t stands for.

        Source: Ho et al. 2020: x0 = (x_t - sigma eps) / alpha; Salimans & Ho 2022, v-prediction: x0 = alpha x_t -
        sigma v, eps = sigma x_t + alpha v.
        """
        alpha, sigma = self.at(t, x_t)
        match self.config.parameterization:
            case "eps":
                return column(self.inverse_alpha[t], x_t) * x_t - column(self.noise_to_signal[t], x_t) * output, output
            case "v":
                return alpha * x_t - sigma * output, sigma * x_t + alpha * output
            case _:  # "x0"
                return output, (x_t - alpha * output) / sigma

    def target(
        self, x0: Float[Tensor, "b *d"], eps: Float[Tensor, "b *d"], t: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *d"]:
        """What the network should answer at x_t = add_noise(x0, t, eps): eps, x0, or v = alpha eps - sigma x0.

        Source: Salimans & Ho 2022, v-prediction.
        """
        alpha, sigma = self.at(t, x0)
        match self.config.parameterization:
            case "eps":
                return eps
            case "v":
                return alpha * eps - sigma * x0
            case _:  # "x0"
                return x0

    # Training

    def loss(
        self,
        unet: Denoiser,
        x0: Float[Tensor, "b *d"],
        features: Float[Tensor, "b f h2 w2"],
        label: Int[Tensor, " b"],
        generator: torch.Generator | None = None,
        numbers: Float[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the network's answer at random steps, some labels being dropped for guidance.

        Args:
            unet: the network, `UNet3D` or alike.
            x0: the data: packed motion, from `pack_motion`, or other.
            features: z0 of the given image.
            label: 0 to num_labels - 1.
            generator: source of all random numbers, drawn on the generator's device.
            numbers: what the network is told beside the label, NaN where not given; some are dropped too.

        Source: Ho et al. 2020, simplified objective; Ho & Salimans 2022, classifier-free guidance; LFDM, stage two.
        """
        at = generator.device if generator is not None else x0.device
        t = torch.randint(self.config.num_steps, (x0.shape[0],), generator=generator, device=at).to(x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=at).to(x0)
        chances = self.config.null_probability, self.config.number_null_probability
        asked = drop(label, numbers, unet.null_label, *chances, generator)
        return self.loss_at(unet, x0, t, eps, features, *asked)

    def loss_at(
        self,
        unet: Denoiser,
        x0: Float[Tensor, "b *d"],
        t: Int[Tensor, " b"],
        eps: Float[Tensor, "b *d"],
        features: Float[Tensor, "b f h2 w2"],
        *asked: Tensor,
    ) -> Float[Tensor, ""]:
        """`loss` at given steps and noise, for what is asked: labels, `unet.null_label` among them, and numbers."""
        output = unet(self.add_noise(x0, t, eps), t, features, *asked)
        error = (output.float() - self.target(x0, eps, t)).square().flatten(1).mean(dim=1)  # b
        return (self.loss_weight(t) * error).mean()

    def loss_weight(self, t: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """1, or min(snr, min_snr) in units of the error of x0, with snr = alpha_bar / (1 - alpha_bar).

        Source: Hang et al. 2023, min-SNR weighting.
        """
        if self.config.min_snr is None:
            return torch.ones(t.shape, device=t.device)
        snr = (self.alpha[t] / self.sigma[t]) ** 2
        per_x0_error = {"eps": snr, "v": snr + 1, "x0": torch.ones_like(snr)}[self.config.parameterization]
        return snr.clamp(max=self.config.min_snr) / per_x0_error

    # Between motion and the model's data

    def pack_motion(self, motion: Motion) -> Float[Tensor, "b 3 t h w"]:
        """What the model sees: [flow x, flow y, 2 occlusion - 1], the flow as the config's `motion` says."""
        flow = motion.flow.float() / self.flow_scale(motion.flow) + self.flow_origin(motion.flow)
        return torch.cat([flow, 2 * motion.occlusion.float() - 1], dim=1)

    def unpack_motion(self, x: Float[Tensor, "b 3 t h w"]) -> Motion:
        """Inverse of `pack_motion`; the occlusion map is clipped to [0, 1]."""
        flow = (x[:, :2].float() - self.flow_origin(x)) * self.flow_scale(x)
        return Motion(flow=flow, occlusion=((x[:, 2:].float() + 1) / 2).clamp(0, 1))

    def flow_scale(self, like: Tensor) -> Float[Tensor, "2 1 1 1"]:
        """Normalized units of flow in one unit of the model's data."""
        std = self.config.flow_std if self.config.motion == "scaled" else (1.0, 1.0)
        return torch.tensor(std, device=like.device).view(2, 1, 1, 1)

    def flow_origin(self, like: Tensor) -> Float[Tensor, "2 1 h w"]:
        """What the model sees where nothing moves: the identity grid for absolute flow, else 0."""
        h, w = like.shape[-2:]
        if self.config.motion == "absolute":
            return identity_grid(h, w).to(like.device)[:, None]
        return torch.zeros(2, 1, 1, 1, device=like.device)

    def at(
        self, t: Int[Tensor, " b"], like: Float[Tensor, "b *d"]
    ) -> tuple[Float[Tensor, "b *one"], Float[Tensor, "b *one"]]:
        """alpha and sigma of each example's step, shaped to multiply `like`."""
        return column(self.alpha[t], like), column(self.sigma[t], like)


def column(value: Float[Tensor, " b"], like: Float[Tensor, "b *d"]) -> Float[Tensor, "b *one"]:
    """One number per example, shaped (b, 1, …) to multiply `like`."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


def draw_noise(
    shape: tuple[int, ...], generator: torch.Generator | list[torch.Generator] | None, device: torch.device
) -> Iterator[Float[Tensor, "..."]]:
    """Standard normal noise without end, of `generator` or of one generator per sample."""
    while True:
        if isinstance(generator, list):
            yield torch.stack([torch.randn(shape[1:], generator=g, device=g.device) for g in generator])
        else:
            yield torch.randn(shape, generator=generator, device=device if generator is None else generator.device)

"""Fewer passes through the network for the same clip: guidance distilled into one pass, and steps halved.

A *student* learns to answer what a *teacher* takes several passes for. It is a network of the same kind that is told
the guidance scale, as one more number beside the label, and begins with the teacher's weights. Symbols as in
`samplers`: a step goes from a noisier t to a less noisy s; -1 is clean data, where alpha is 1 and sigma 0.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .conditions import NumberRange
from .diffusion import GaussianDiffusion, column
from .samplers import Denoise
from .unet3d import UNet3D, UNet3DConfig

SCALE = "guidance_scale"  # the name of the number that a student is told behind all others


def student_config(teacher: UNet3DConfig, scales: tuple[float, float]) -> UNet3DConfig:
    """The teacher's config, with one more number: guidance scales between the two that are given.

    Raises:
        ValueError: the range is empty, or the teacher is told a scale already.
    """
    return replace(teacher, numbers=(*teacher.numbers, NumberRange(SCALE, *scales)))


def student_of(teacher: UNet3D, scales: tuple[float, float]) -> UNet3D:
    """A student that as yet answers what the teacher does without guidance, whatever scale it is told.

    Args:
        scales: the smallest and the largest guidance scale that it is to learn.

    Raises:
        ValueError: as `student_config`.

    Source: Meng et al. 2023, distillation of guided diffusion models: the student is told the scale.
    """
    student = type(teacher)(student_config(teacher.config, scales))
    student.load_state_dict(teacher.state_dict(), strict=False)  # the embedding of the scale is all that it lacks
    for parameter in [*student.numbers[-1].parameters()][-2:]:  # weight and bias with which the scale's embedding ends
        nn.init.zeros_(parameter)
    return student


def follow(
    diffusion: GaussianDiffusion, denoise: Denoise, x_t: Float[Tensor, "b *d"], path: Sequence[Int[Tensor, " b"]]
) -> Float[Tensor, "b *d"]:
    """Where DDIM's deterministic steps lead, from path[0] by way of all others to path[-1].

    x_s = alpha_s x0 + sigma_s eps,   x0 and eps being what the network makes of x_t

    Args:
        denoise: the network's answer, as in `samplers.sample`; two passes a step if it is guided.
        path: the steps of each example, noisiest first; the last may be -1.

    Source: Song et al. 2021, denoising diffusion implicit models, with eta = 0.
    """
    for t, s in zip(path[:-1], path[1:], strict=True):
        x0, eps = diffusion.to_x0_eps(x_t, t, denoise(x_t, t).float())
        alpha_s, sigma_s = levels(diffusion, s, x_t)
        x_t = alpha_s * x0 + sigma_s * eps
    return x_t


def one_step_target(
    diffusion: GaussianDiffusion,
    x_t: Float[Tensor, "b *d"],
    x_s: Float[Tensor, "b *d"],
    t: Int[Tensor, " b"],
    s: Int[Tensor, " b"],
) -> Float[Tensor, "b *d"]:
    """The x0 with which a single step of DDIM leads from x_t to x_s, however many steps the teacher took for that.

    x0 = (x_s - sigma_s / sigma_t x_t) / (alpha_s - sigma_s / sigma_t alpha_t)

    Source: Salimans & Ho 2022, progressive distillation.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(diffusion, t, x_t), levels(diffusion, s, x_t)
    ratio = sigma_s / sigma_t
    return (x_s - ratio * x_t) / (alpha_s - ratio * alpha_t)


def distillation_loss(
    diffusion: GaussianDiffusion,
    student: Denoise,
    x_t: Float[Tensor, "b *d"],
    t: Int[Tensor, " b"],
    x0: Float[Tensor, "b *d"],
) -> Float[Tensor, ""]:
    """Mean squared error of the student's answer at x_t, `x0` being what the teacher makes of it.

    Source: Salimans & Ho 2022, progressive distillation; the weights are those that the teacher was trained with.
    """
    alpha, sigma = diffusion.at(t, x_t)
    target = diffusion.target(x0, (x_t - alpha * x0) / sigma, t)
    error = (student(x_t, t).float() - target).square().flatten(1).mean(dim=1)  # b
    return (diffusion.loss_weight(t) * error).mean()


def levels(
    diffusion: GaussianDiffusion, t: Int[Tensor, " b"], like: Float[Tensor, "b *d"]
) -> tuple[Float[Tensor, "b *one"], Float[Tensor, "b *one"]]:
    """alpha and sigma of each example's step, shaped to multiply `like`; 1 and 0 at step -1, which is clean data."""
    clean = t < 0
    alpha = torch.where(clean, 1.0, diffusion.alpha[t])
    sigma = torch.where(clean, 0.0, diffusion.sigma[t])
    return column(alpha, like), column(sigma, like)

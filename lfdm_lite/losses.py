"""The losses of stage one: does the painted frame look right, and do the regions follow the image?"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .geometry import RandomTransform, in_float32, resize, warp
from .motion import Motion, sign_of_turn
from .regions import RegionPredictor, Regions, inverse_2x2


def pyramid_loss(
    prediction: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    scales: int = 3,
    gradient_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean absolute error of colours and of their horizontal and vertical differences, averaged over a pyramid.

    The differences punish blur, which plain colour error forgives. Each level has half the size of the one before.

    Args:
        scales: levels of the pyramid, at least 1.
        gradient_weight: weight of the differences against the colours.
    """
    total = prediction.new_zeros(())
    for level in range(scales):
        if level:
            prediction, target = F.avg_pool2d(prediction, 2), F.avg_pool2d(target, 2)
        error = prediction - target
        total = total + error.abs().mean()
        total = total + gradient_weight * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
    return total / scales


def local_contrast(image: Float[Tensor, "b 3 h w"], size: int = 7, floor: float = 0.02) -> Float[Tensor, "b 3 h w"]:
    """An image with the mean of `size` by `size` pixels taken away, divided by their standard deviation plus `floor`.

    A weak shade on a cheek then counts as much as the edge of a brow. `floor` is what counts as no shade at all.

    Source: as the census transform of unsupervised optical flow (Meister et al. 2018) does, made smooth.
    """
    mean = F.avg_pool2d(image, size, stride=1, padding=size // 2, count_include_pad=False)
    away = image - mean
    spread = F.avg_pool2d(away.square(), size, stride=1, padding=size // 2, count_include_pad=False)
    return away / ((spread + 1e-8).sqrt() + floor)


def perceptual_loss(
    features: Callable[[Tensor], Sequence[Tensor]],
    prediction: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    shrinks: Iterable[Callable[[Tensor], Tensor]],
    weights: Sequence[float] = (1.0,) * 5,
) -> Float[Tensor, ""]:
    """Mean absolute difference of features, summed over depths with `weights` and over scales.

    Args:
        features: such as `evaluation.perceptual.PerceptualFeatures`.
        shrinks: bring both images to each scale of a pyramid.
    """
    total = prediction.new_zeros(())
    for shrink in shrinks:
        pairs = zip(features(shrink(prediction)), features(shrink(target)), weights, strict=True)
        for ours, theirs, weight in pairs:
            total = total + weight * (ours - theirs.detach()).abs().mean()
    return total


def stillness_loss(
    motion: Motion, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"], tolerance: float = 2 / 255
) -> Float[Tensor, ""]:
    """Mean length of the flow, counted where the picture does not change: what looks still shall not move.

    A place counts exp(-change / tolerance), where the change is the largest difference of any colour in it and in the
    pixels around it. A smooth cheek that moves changes its colours a little, a wall behind it not at all. Without this
    term a flow may do as it likes where every look-up finds the same colour, and stage two learns to dream that.

    Args:
        motion: its flow at any resolution, normalized.
        tolerance: change of colour at which a place counts 1/e; noise of a camera asks for more.

    Source: ours; the picture alone says what stands still, no true flow is needed.
    """
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    h, w = motion.flow.shape[-2:]
    same = F.adaptive_avg_pool2d(torch.exp(-change / tolerance), (h, w))
    length = (motion.flow.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()  # no infinite slope at zero
    return (same * length).mean()


def smoothness_loss(motion: Motion, driving: Float[Tensor, "b 3 h w"], tolerance: float = 0.3) -> Float[Tensor, ""]:
    """Mean change of the flow from a pixel to the next, where the picture has no edge: one thing moves as one.

    Inside a thing of one colour every flow looks right; its edges show how it moves, and this term carries that
    inwards. A neighbour counts exp(-edge / tolerance), where the edge is the largest difference of any colour.

    Args:
        motion: its flow at any resolution, normalized; the picture is brought to it.
        driving: the frame whose pixels look up the source.
        tolerance: change of colour at which a pair of neighbours counts 1/e.

    Source: the edge-aware smoothness of unsupervised optical flow (Wang et al. 2018, "Occlusion aware").
    """
    image = resize(driving, motion.flow.shape[-2:])
    total = motion.flow.new_zeros(())
    for axis in (-1, -2):
        edge = image.diff(dim=axis).abs().amax(dim=1)
        total = total + (torch.exp(-edge / tolerance) * motion.flow.diff(dim=axis).abs().sum(dim=1)).mean()
    return total


def visibility_loss(
    motion: Motion, source: Float[Tensor, "b 3 h w"], driving: Float[Tensor, "b 3 h w"], tolerance: float = 0.1
) -> Float[Tensor, ""]:
    """Teaches the occlusion map where the warp fails: its cross-entropy against exp(-error / tolerance).

    The error is the mean absolute colour difference between the driving frame and the source image warped by the flow,
    averaged over each latent pixel. Only the map learns from it; the flow is held fixed. Without this term nothing
    asks a decoder that can repair a wrong warp by itself to say where it does so, and the map rests at 1.

    Args:
        motion: at the latent's resolution; the flow is brought to that of the images.
        tolerance: colour error at which visibility is 1/e.

    Source: ours; a photometric visibility target, as unsupervised flow estimation uses, in place of true visibility.
    """
    flow = resize(motion.flow.detach(), source.shape[-2:])
    error = (warp(source, flow) - driving).abs().mean(dim=1, keepdim=True)
    h, w = motion.occlusion.shape[-2:]
    target = torch.exp(-F.adaptive_avg_pool2d(error, (h, w)) / tolerance)
    seen = motion.occlusion.float().clamp(1e-7, 1 - 1e-7)
    return -(target * seen.log() + (1 - target) * (1 - seen).log()).mean()  # torch's own refuses what is not a number


def equivariance_loss(
    predictor: RegionPredictor,
    image: Float[Tensor, "b 3 h w"],
    regions: Regions,
    transform: RandomTransform,
    sign_of: Callable[[Tensor], Tensor] = sign_of_turn,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """How far the regions of a deformed image are from the deformed regions: errors of shifts and of affine frames.

    If a point z of the deformed image shows what stood at T(z), then T(shift of the deformed) must be the shift
    of the original, and J_T A_deformed must be A up to sign. The second is compared as A^-1 J_T A_deformed = ±1;
    `sign_of` says which.

    Source: LFDM, stage one: equivariance losses.
    """
    deformed = predictor(transform.frames(image))
    shift_error = (transform(deformed.shift) - regions.shift).abs().mean()
    to_own_frame = in_float32(torch.matmul)(inverse_2x2(regions.affine), transform.jacobian(deformed.shift))
    carried = in_float32(torch.matmul)(to_own_frame, deformed.affine)
    sign = sign_of(carried)[..., None, None]
    affine_error = (sign * carried - torch.eye(2, device=image.device)).abs().mean()
    return shift_error, affine_error

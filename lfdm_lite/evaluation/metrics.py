"""How good are videos? Scores of single clips, scores of sets of clips, and how far each may be trusted.

A score of clips comes one number a clip; `mean_estimate` turns those into a mean with an interval. A score that only
a whole set has, such as `pairwise_flow_distance`, is an `Estimate` at once; distances of two sets are in `distances`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..flow import in_pixels
from .intervals import Estimate, bootstrap, mean_estimate

# ---------------------------------------------------------------- pixels


def psnr(prediction: Float[Tensor, "b c *t h w"], target: Float[Tensor, "b c *t h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of every clip in dB: 10 log10(1 / mean squared error over all its pixels and frames).

    Slice the frames that should count, such as `video[:, :, 1:]`. Images in [0, 1]; equal clips give infinity.
    """
    error = (prediction.double() - target.double()).square().flatten(1).mean(1)
    return (-10 * torch.log10(error)).float()


def ssim(
    prediction: Float[Tensor, "b c *t h w"], target: Float[Tensor, "b c *t h w"], sigma: float = 1.5
) -> Float[Tensor, " b"]:
    """Structural similarity of every clip, averaged over frames, channels and all Gaussian windows inside the image.

    Args:
        prediction, target: images in [0, 1], at least as large as the window (11 x 11 unless sigma differs).
        sigma: standard deviation of the window in pixels, cut at 3.5 sigma.

    Raises:
        ValueError: images smaller than the window.

    Source: Wang, Bovik, Sheikh & Simoncelli, Image Quality Assessment: SSIM, with K1 = 0.01 and K2 = 0.03.
    """
    radius = int(3.5 * sigma + 0.5)
    if min(prediction.shape[-2:]) <= 2 * radius:
        size = tuple(prediction.shape[-2:])
        raise ValueError(f"images of {size} pixels are smaller than the window of {2 * radius + 1}")
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(prediction.device)

    def window_mean(maps: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(maps, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))

    x, y = (video.double().reshape(-1, 1, *video.shape[-2:]) for video in (prediction, target))
    mean_x, mean_y = window_mean(x), window_mean(y)
    variance_x = window_mean(x * x) - mean_x**2
    variance_y = window_mean(y * y) - mean_y**2
    covariance = window_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).reshape(len(prediction), -1).mean(1).float()


# ---------------------------------------------------------------- motion


def occlusion_auc(
    occlusion: Float[Tensor, "*shape"], visible: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"]
) -> float:
    """How well `1 - occlusion` tells hidden pixels from visible ones: 1 = always above, 0.5 = no better than chance.

    The probability that a random hidden pixel gets a lower occlusion value than a random visible one; ties count half.
    It is the area under the receiver operating characteristic. Of one clip, or of all pixels that are given.

    Args:
        occlusion: predicted visibility, in [0, 1].
        visible: true visibility; above 0.5 is visible.

    Raises:
        ValueError: if no pixel is hidden, or none is visible.

    Source: the Mann-Whitney U statistic.
    """
    hidden = (visible <= 0.5).flatten()
    count, others = int(hidden.sum()), int((~hidden).sum())
    if count == 0 or others == 0:
        raise ValueError(f"{count} pixels are hidden and {others} visible; the AUC needs at least one of each")
    _, place, sizes = (1 - occlusion.double()).flatten().unique(return_inverse=True, return_counts=True)
    ranks = sizes.cumsum(0) - (sizes - 1) / 2  # of each value, from 1; equal values share their mean rank
    rank_sum = ranks[place][hidden].sum().item()
    return (rank_sum - count * (count + 1) / 2) / (count * others)


def flow_magnitude(flow: Float[Tensor, "b 2 *t h w"], pixels: bool = False) -> Float[Tensor, " b"]:
    """Mean length of every clip's flow over pixels and frames, in normalized units or in pixels of its own grid."""
    return (in_pixels(flow) if pixels else flow).norm(dim=1).flatten(1).mean(1)


def pairwise_flow_distance(
    flow: Float[Tensor, "b 2 *t h w"],
    group: Int[Tensor, " b"] | None = None,
    pixels: bool = False,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " b"] | None = None,
) -> Estimate:
    """Diversity: mean end-point distance between the motions of two clips of the same group.

    Args:
        flow: normalized flow of every clip.
        group: such as the label; only clips of one group are compared. One group unless given.
        pixels: in pixels of the flow's own grid.
        subject: the person of every clip, if people are to be drawn for the interval; see `bootstrap`.

    Raises:
        ValueError: if no group has two clips.
    """
    b = len(flow)
    group = torch.zeros(b, dtype=torch.long) if group is None else group.cpu()
    same = (group[:, None] == group[None]) & ~torch.eye(b, dtype=torch.bool)
    if not same.any():
        raise ValueError(f"no group has two clips among {b} clips; give several clips of each group")
    maps = in_pixels(flow) if pixels else flow
    distance = torch.zeros(b, b, dtype=torch.float64)
    for i in range(b):
        others = (same[i] & (torch.arange(b) > i)).nonzero().flatten()
        if len(others):
            gaps = (maps[others.to(maps.device)] - maps[i]).norm(dim=1).flatten(1).mean(1)
            distance[i, others] = distance[others, i] = gaps.double().cpu()
    distances, paired = distance.numpy(), same.double().numpy()
    value = distances.sum() / paired.sum()

    def statistic(drawn: np.ndarray) -> float:
        weight = np.bincount(drawn, minlength=b)  # a clip is never paired with itself, however often it is drawn
        pairs = weight @ paired @ weight
        return float(weight @ distances @ weight / pairs) if pairs else float(value)

    return Estimate(float(value), *bootstrap(statistic, b, resamples, confidence, seed, subject), b)


# ---------------------------------------------------------------- what a judge sees


def label_accuracy(
    predicted: Int[Tensor, " n"] | Float[Tensor, "n labels"],
    labels: Int[Tensor, " n"],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n"] | None = None,
) -> Estimate:
    """Share of clips in which the judge reads the right label.

    Args:
        predicted: label numbers, or logits.
        labels: the right ones.
        subject: the person of every clip, if people are to be drawn for the interval; see `bootstrap`.

    Where every clip is read right (or none), so is every redrawn set: the interval is a point, and too narrow.
    """
    numbers = predicted.argmax(1) if predicted.ndim == 2 else predicted
    return mean_estimate((numbers.cpu() == labels.cpu()).double(), resamples, confidence, seed, subject)

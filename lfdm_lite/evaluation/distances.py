"""How far apart are two sets of videos? Fréchet and kernel distances of features, and what few clips do to them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .intervals import Estimate, bootstrap, redrawing


def gaussian_distance(
    mean_a: Float[np.ndarray, " d"],
    covariance_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, " d"],
    covariance_b: Float[np.ndarray, "d d"],
) -> float:
    """Squared Fréchet distance of two Gaussians: |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    The last trace is the sum of the square roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is symmetric: no
    matrix root of a product is needed, and singular covariances do no harm.

    Source: Dowson & Landau, The Fréchet Distance between Multivariate Normal Distributions.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(eigenvalues.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(min=0)).sum()
    shift = ((mean_a - mean_b) ** 2).sum()
    return float(max(0.0, shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross))


def frechet_distance(
    features_a: Float[Tensor, "n d"],
    features_b: Float[Tensor, "m d"],
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n2"] | None = None,
    subject_b: Int[Tensor, " m2"] | None = None,
) -> Estimate:
    """Squared Fréchet distance between Gaussian fits of two feature sets; 0 = same mean and covariance.

    Computed in float64. Two traps: with few clips the distance is too large (`bias_curve`), so only compare distances
    of equally many clips; and drawing clips anew repeats some, which raises it once more. That second rise is seen (the
    mean over resamples against the value) and taken off the interval; the first is not.

    Args:
        features_a, features_b: one row a clip, at least two rows each; there may be fewer rows than columns.
        subject: the person of every clip of a; people are then drawn anew for the interval, with all their clips.
        subject_b: the same of b. Unless given, clip i of b is of the person of clip i of a, and drawn with it.

    Raises:
        ValueError: fewer than two rows, numbers that are not finite, or subjects of another number of clips.

    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (FID); Unterthiner et al. for videos (FVD).
    """
    a, b = _rows(features_a, features_b, subject, subject_b)
    value, other = _frechet(a, b), _other_side(len(b), seed, subject, subject_b)
    redrawn: list[float] = []

    def statistic(drawn: np.ndarray) -> float:
        redrawn.append(_frechet(a[drawn], b[other(drawn)]))
        return redrawn[-1]

    low, high = bootstrap(statistic, len(a), resamples, confidence, seed + 1, subject)
    rise = math.fsum(redrawn) / len(redrawn) - value
    return Estimate(value, min(value, max(0.0, low - rise)), max(value, high - rise), min(len(a), len(b)))


def kernel_distance(
    features_a: Float[Tensor, "n d"],
    features_b: Float[Tensor, "m d"],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    subject: Int[Tensor, " n2"] | None = None,
    subject_b: Int[Tensor, " m2"] | None = None,
) -> Estimate:
    """Squared maximum mean discrepancy with the kernel (x · y / d + 1)^3: unbiased, however few the clips.

    The mean of the kernel over pairs within either set, less twice that over pairs across them. It scatters around 0
    for two sets of one kind, and so falls below 0 as often as not.

    Args:
        features_a, features_b: one row a clip, at least two rows each.
        subject, subject_b: people, as of `frechet_distance`. Two clips of one person are no independent pair, within a
            set or across, and are left out. Without them no clip is paired with itself.

    Raises:
        ValueError: as `frechet_distance`; or all clips of a set are of one person.

    Source: Bińkowski et al. 2018, Demystifying MMD GANs (KID); the estimator of Gretton et al. 2012.
    """
    a, b = _rows(features_a, features_b, subject, subject_b)
    n, m, other = len(a), len(b), _other_side(len(b), seed, subject, subject_b)
    pairs = np.ones((n + m, n + m)) - np.eye(n + m)
    if subject is not None:
        person = torch.cat([subject, subject if subject_b is None else subject_b]).cpu().numpy()
        pairs = (person[:, None] != person[None]).astype(float)
    both = np.concatenate([a, b])
    kernel = pairs * (both @ both.T / both.shape[1] + 1) ** 3

    def distance(of_a: np.ndarray, of_b: np.ndarray) -> float:
        """With clips of a and of b drawn as often as these say."""

        def mean(first: np.ndarray, rows: slice, second: np.ndarray, columns: slice) -> float:
            count = first @ pairs[rows, columns] @ second
            return first @ kernel[rows, columns] @ second / count if count else math.nan

        left, right = slice(0, n), slice(n, n + m)
        return mean(of_a, left, of_a, left) + mean(of_b, right, of_b, right) - 2 * mean(of_a, left, of_b, right)

    value = distance(np.ones(n), np.ones(m))
    if math.isnan(value):
        raise ValueError("all clips of a set are of one person; expected clips of several")

    def statistic(drawn: np.ndarray) -> float:
        redrawn = distance(np.bincount(drawn, minlength=n), np.bincount(other(drawn), minlength=m))
        return value if math.isnan(redrawn) else redrawn  # one clip or person alone was drawn, again and again

    low, high = bootstrap(statistic, n, resamples, confidence, seed + 1, subject)
    return Estimate(value, min(value, low), max(value, high), min(n, m))


# ---------------------------------------------------------------- few clips


class AtSize(NamedTuple):
    """Two distances of sets of one size: means over draws, and the standard deviations between draws."""

    clips: int  # on either side
    frechet: float
    frechet_spread: float
    kernel: float
    kernel_spread: float


def bias_curve(
    features_a: Float[Tensor, "n d"],
    features_b: Float[Tensor, "m d"],
    sizes: Sequence[int],
    draws: int = 10,
    seed: int = 0,
) -> list[AtSize]:
    """Fréchet and kernel distance of as many clips of either set as `sizes` say, drawn without repeats.

    The Fréchet distance falls towards its value for all clips there are, also where that is 0; the kernel distance
    scatters around it at every size.

    Raises:
        ValueError: a size below 2 or above the number of clips of either set.
    """
    most = min(len(features_a), len(features_b))
    if not sizes or min(sizes) < 2 or max(sizes) > most:
        raise ValueError(f"sizes are {list(sizes)}; expected numbers from 2 to {most}")
    a, b = _rows(features_a, features_b)
    generator, curve = torch.Generator().manual_seed(seed), []
    for size in sizes:
        drawn = [[torch.randperm(len(x), generator=generator)[:size].numpy() for x in (a, b)] for _ in range(draws)]
        frechet = np.array([_frechet(a[i], b[j]) for i, j in drawn])
        kernel = np.array([_kernel(a[i], b[j]) for i, j in drawn])
        curve.append(AtSize(size, *(float(f(x)) for x in (frechet, kernel) for f in (np.mean, np.std))))
    return curve


def frechet_at_infinity(
    features_a: Float[Tensor, "n d"],
    features_b: Float[Tensor, "m d"],
    points: int = 8,
    draws: int = 10,
    seed: int = 0,
) -> float:
    """What the Fréchet distance would be with endlessly many clips: a straight line in 1 / clips, read off at 0.

    From sizes between a quarter of the clips and all of them. The line holds where there are many more clips than
    features; below that it does not, and the result may even be negative. Look at `bias_curve`.

    Raises:
        ValueError: fewer than 8 clips on either side.

    Source: Chong & Forsyth 2020, Effectively Unbiased FID and Inception Score and where to find them.
    """
    most = min(len(features_a), len(features_b))
    if most < 8:
        raise ValueError(f"there are {most} clips; expected at least 8")
    sizes = np.unique((1 / np.linspace(4 / most, 1 / most, points)).round().astype(int)).tolist()
    curve = bias_curve(features_a, features_b, sizes, draws, seed)
    return float(np.polyfit([1 / at.clips for at in curve], [at.frechet for at in curve], 1)[1])


@dataclass(frozen=True)
class AcrossGroups:
    """A distance within each group, such as each label: its mean and standard deviation over the groups."""

    mean: float
    deviation: float  # between groups; 0 for one
    groups: int  # that had enough clips
    clips: float  # in one of them, on average

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.deviation:.4g} over {self.groups} groups of {self.clips:.3g} clips"


def frechet_across(
    features_a: Float[Tensor, "n d"], features_b: Float[Tensor, "n d"], group: Int[Tensor, " n"], least: int = 2
) -> AcrossGroups:
    """The Fréchet distance of clips of one group, for every group: cFVD if groups are classes, sFVD if subjects.

    Args:
        features_a, features_b: one row a clip; clip i is of one group on both sides.
        least: groups of fewer clips are left out, at least 2.

    Raises:
        ValueError: no group has that many.

    Source: LFDM, experiments: class conditional and subject conditional FVD.
    """
    a, b = _rows(features_a, features_b, group)
    members = [np.flatnonzero(group.cpu().numpy() == g) for g in group.cpu().unique().tolist()]
    members = [some for some in members if len(some) >= max(2, least)]
    if not members:
        raise ValueError(f"no group has {max(2, least)} clips; give more clips of each group")
    values = [_frechet(a[some], b[some]) for some in members]
    sizes = [len(some) for some in members]
    return AcrossGroups(float(np.mean(values)), float(np.std(values)), len(values), float(np.mean(sizes)))


# ---------------------------------------------------------------- parts of the above


def _rows(
    features_a: Tensor, features_b: Tensor, subject: Tensor | None = None, subject_b: Tensor | None = None
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """Both sets in float64, looked over."""
    a, b = (x.detach().double().cpu().numpy() for x in (features_a, features_b))
    for name, x in (("features_a", a), ("features_b", b)):
        if len(x) < 2 or not np.isfinite(x).all():
            raise ValueError(f"{name} of shape {x.shape}: expected at least two clips and finite numbers")
    given = [None if people is None else len(people) for people in (subject, subject_b)]
    wanted = [None if given[0] is None else len(a), None if given[1] is None else len(b)]
    if given != wanted or (subject is None and subject_b is not None) or (given == [len(a), None] and len(a) != len(b)):
        raise ValueError(f"{len(a)} and {len(b)} clips with {given} subjects; expected one of each clip")
    return a, b


def _other_side(
    m: int, seed: int, subject: Tensor | None, subject_b: Tensor | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Which clips of b are drawn with these of a: the same, where their people are the same."""
    if subject is not None and subject_b is None:
        return lambda drawn: drawn
    redrawn = redrawing(m, np.random.default_rng(seed), subject_b)
    return lambda drawn: redrawn()


def _frechet(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """`gaussian_distance` of two sets, from triangular roots R of their covariances, S = R^T R.

    tr (S_a S_b)^(1/2) is the sum of the singular values of R_a R_b^T: real, and quick where clips are few.
    """

    def fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        root: np.ndarray = np.linalg.qr(x - x.mean(0), mode="r")  # type: ignore[assignment]  # numpy: of all modes
        return x.mean(0), root / math.sqrt(len(x) - 1)

    (mean_a, root_a), (mean_b, root_b) = fit(a), fit(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(max(0.0, ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * cross))


def _kernel(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """The value of `kernel_distance`, no clip paired with itself."""
    d = a.shape[1]
    within = ((x @ x.T / d + 1) ** 3 for x in (a, b))
    own = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in within)
    return float(own - 2 * ((a @ b.T / d + 1) ** 3).mean())

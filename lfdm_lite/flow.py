"""Optical flow without learning: two classical estimators, the colours that show a flow, and how wrong a flow is.

Flow is backward and normalized here as everywhere: at a pixel p of the driving frame it says where in the source
frame to look, p + flow(p), on an image that spans [-1, 1]. Inside the estimators, and wherever `pixels=True` is asked
for, lengths are in pixels.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .geometry import resize, warp

# The Middlebury colour wheel: how many hues lie between each of six corners and the next.
WHEEL = (("red", 15), ("yellow", 6), ("green", 4), ("cyan", 11), ("blue", 13), ("magenta", 6))


def in_pixels(flow: Float[Tensor, "b 2 *t h w"]) -> Float[Tensor, "b 2 *t h w"]:
    """Normalized displacement → displacement in pixels of its own grid: x times w / 2, y times h / 2."""
    h, w = flow.shape[-2:]
    return flow * flow.new_tensor([w / 2, h / 2]).view(2, *[1] * (flow.ndim - 2))


def normalized(flow: Float[Tensor, "b 2 *t h w"]) -> Float[Tensor, "b 2 *t h w"]:
    """Displacement in pixels of its own grid → normalized displacement; the inverse of `in_pixels`."""
    h, w = flow.shape[-2:]
    return flow * flow.new_tensor([2 / w, 2 / h]).view(2, *[1] * (flow.ndim - 2))


def end_point_error(
    flow: Float[Tensor, "b 2 *t h w"],
    target: Float[Tensor, "b 2 *t h w"],
    mask: Float[Tensor, "b 1 *t h w"] | Bool[Tensor, "b 1 *t h w"] | None = None,
    pixels: bool = False,
) -> Float[Tensor, ""]:
    """Mean distance between where two flows point.

    Args:
        flow, target: normalized displacement.
        mask: weight of each pixel, such as 1 where it counts and 0 where not; all count alike unless given.
        pixels: give the error in pixels of the flow's own grid instead of normalized units.

    Raises:
        ValueError: if the mask leaves no pixel.

    Source: the end-point error of the Middlebury and Sintel optical flow benchmarks.
    """
    difference = in_pixels(flow - target) if pixels else flow - target
    distance = difference.norm(dim=1, keepdim=True)
    if mask is None:
        return distance.mean()
    weight = mask.to(distance.dtype)
    if weight.sum() == 0:
        raise ValueError("the mask leaves no pixel to measure; expected at least one that is not 0")
    return (distance * weight).sum() / weight.sum()


# ---------------------------------------------------------------- colours


def colour_wheel() -> Float[Tensor, "55 3"]:
    """The hues once around: from each corner of the wheel to the next, one channel rises or falls evenly.

    Source: Baker et al., A Database and Evaluation Methodology for Optical Flow: the colour coding.
    """
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)]
    hues = []
    for k, (_, steps) in enumerate(WHEEL):
        here, there = torch.tensor(corners[k]).float(), torch.tensor(corners[(k + 1) % 6]).float()
        hues.append(here + (torch.arange(steps)[:, None] / steps) * (there - here))
    return torch.cat(hues)


def flow_to_rgb(
    flow: Float[Tensor, "*b 2 h w"] | Float[Tensor, "*b 2 t h w"],
    max_norm: float | int | None = None,
    pixels: bool = False,
) -> Float[Tensor, "*b 3 h w"] | Float[Tensor, "*b 3 t h w"]:
    """Colours of a flow: hue is the direction, depth of colour the length; no motion is white.

    Right is red, down is yellow, left is cyan, up is violet. What is longer than `max_norm` turns darker.

    Args:
        flow: normalized displacement, `(2, h, w)`, `(b, 2, h, w)` or `(b, 2, t, h, w)`; a clip `(2, t, h, w)` too
            unless t = 2.
        max_norm: length that gets full colour; the longest of this flow unless given. Give one to compare pictures.
        pixels: `max_norm` is in pixels, and directions are those seen on an image that is not square.

    Raises:
        ValueError: another shape, or a `max_norm` that is not above 0.

    Source: the Middlebury colour coding, see `colour_wheel`.
    """
    if flow.ndim == 4 and flow.shape[1] != 2 and flow.shape[0] == 2 or flow.ndim == 3:
        return flow_to_rgb(flow[None], max_norm, pixels)[0]
    if flow.ndim not in (4, 5) or flow.shape[1] != 2:
        raise ValueError(f"flow has shape {tuple(flow.shape)}; expected (2, h, w), (b, 2, h, w) or (b, 2, t, h, w)")
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}; expected a length above 0")
    x, y = (in_pixels(flow) if pixels else flow).float().unbind(1)
    length = torch.hypot(x, y)
    length = length / (max_norm if max_norm is not None else length.max().clamp(min=1e-12))
    wheel = colour_wheel().to(flow.device)
    place = (torch.atan2(y, x) / (2 * math.pi)) % 1 * len(wheel)  # 0 = right, then clockwise on the screen
    below = place.long() % len(wheel)
    part = (place - place.floor())[..., None]
    hue = (1 - part) * wheel[below] + part * wheel[(below + 1) % len(wheel)]
    depth = length[..., None]
    longer = depth > 1 + 1e-5  # a limit that was computed as another norm is off in the last bit
    rgb = torch.where(longer, 0.75 * hue, 1 - depth.clamp(max=1) * (1 - hue))
    return rgb.movedim(-1, 1)


# ---------------------------------------------------------------- estimators


def lucas_kanade(
    source: Float[Tensor, "b c h w"],
    driving: Float[Tensor, "b c h w"],
    window: float | int = 3.0,
    levels: int | None = None,
    iterations: int = 10,
    ridge: float = 1e-3,
    pixels: bool = False,
) -> Float[Tensor, "b 2 h w"]:
    """Backward flow by least squares in a window: `warp(source, flow)` looks like `driving`.

    Around every pixel all channels of a Gaussian window must agree on one displacement. Coarse to fine; at each level
    the source is warped by what is known so far, and the rest is solved for again.

    Args:
        source, driving: images in [0, 1], any number of channels.
        window: standard deviation of the Gaussian window in pixels.
        levels: of the pyramid, each half as large; unless given, down to 8 pixels.
        iterations: warps per level.
        ridge: holds the flow still where the window shows too little to tell, above 0.
        pixels: give the flow in pixels instead of normalized units.

    Raises:
        ValueError: images of different size, or a number below its least.

    Source: Lucas & Kanade, An Iterative Image Registration Technique; in pyramids, Bouguet.
    """
    _check(source, driving, window=window, iterations=iterations, ridge=ridge)
    flow = source.new_zeros(source.shape[0], 2, 1, 1)
    for coarse_source, coarse_driving in _pyramid(source, driving, levels):
        flow = _grown(flow, coarse_source)
        for _ in range(iterations):
            dx, dy, change = _brightness(coarse_source, coarse_driving, flow)
            a, b, c, p, q = (
                _blur(x.sum(1, keepdim=True), window) for x in (dx * dx, dx * dy, dy * dy, -dx * change, -dy * change)
            )
            flow = _median(flow + torch.cat(_solve_2x2(a, b, c, p, q, ridge), dim=1).clamp(-1, 1))
    return flow if pixels else normalized(flow)


def horn_schunck(
    source: Float[Tensor, "b c h w"],
    driving: Float[Tensor, "b c h w"],
    smoothness: float | int = 0.06,
    levels: int | None = None,
    warps: int = 5,
    iterations: int = 40,
    pixels: bool = False,
) -> Float[Tensor, "b 2 h w"]:
    """Backward flow by global smoothness: `warp(source, flow)` looks like `driving`, and neighbours move alike.

    Minimizes the squared change of brightness plus `smoothness ** 2` times the squared gradient of the flow, by Jacobi
    steps: every pixel takes its neighbours' mean, corrected along its own image gradient. Coarse to fine with warping.

    Args:
        source, driving: images in [0, 1], any number of channels.
        smoothness: weight of smooth flow against equal brightness, above 0 (alpha).
        levels: of the pyramid, each half as large; unless given, down to 8 pixels.
        warps: per level.
        iterations: Jacobi steps per warp.
        pixels: give the flow in pixels instead of normalized units.

    Raises:
        ValueError: images of different size, or a number below its least.

    Source: Horn & Schunck, Determining Optical Flow.
    """
    _check(source, driving, smoothness=smoothness, warps=warps, iterations=iterations)
    flow = source.new_zeros(source.shape[0], 2, 1, 1)
    for coarse_source, coarse_driving in _pyramid(source, driving, levels):
        flow = _grown(flow, coarse_source)
        for _ in range(warps):
            dx, dy, change = _brightness(coarse_source, coarse_driving, flow)
            a, b, c = ((x * y).sum(1, keepdim=True) for x, y in ((dx, dx), (dx, dy), (dy, dy)))
            known = flow
            for _ in range(iterations):
                mean = _neighbours(flow)
                ahead = mean - known
                misfit = dx * ahead[:, :1] + dy * ahead[:, 1:] + change
                p, q = -(dx * misfit).sum(1, keepdim=True), -(dy * misfit).sum(1, keepdim=True)
                flow = mean + torch.cat(_solve_2x2(a, b, c, p, q, smoothness**2), dim=1)
            flow = _median(known + (flow - known).clamp(-1, 1))  # a gradient is to be trusted for about a pixel
    return flow if pixels else normalized(flow)


def forward_backward_check(
    flow: Float[Tensor, "b 2 h w"],
    inverse: Float[Tensor, "b 2 h w"],
    slack: float | int = 0.5,
    share: float | int = 0.01,
) -> Float[Tensor, "b 1 h w"]:
    """Visibility by consistency: go where `flow` points, come back by `inverse`; whoever is lost was hidden there.

    Args:
        flow: normalized backward flow of the driving frame, pointing into the source.
        inverse: normalized flow of the source, pointing into the driving frame.
        slack: squared distance in pixels that is always forgiven.
        share: further distance forgiven, as a part of the two flows' squared lengths.

    Returns:
        1 where the way back ends near its start, 0 elsewhere: an occlusion map.

    Source: the consistency check of Sundaram, Brox & Keutzer, Dense Point Trajectories.
    """
    back = in_pixels(warp(inverse, flow))
    there = in_pixels(flow)
    lost = (there + back).square().sum(1, keepdim=True)
    lengths = (there.square() + back.square()).sum(1, keepdim=True)
    return (lost <= share * lengths + slack).float()


# ---------------------------------------------------------------- parts of the estimators


def _check(source: Tensor, driving: Tensor, **positive: float | int) -> None:
    if source.shape != driving.shape:
        raise ValueError(f"source {tuple(source.shape)} and driving {tuple(driving.shape)} differ; expected one size")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a number above 0")


def _pyramid(source: Tensor, driving: Tensor, levels: int | None) -> list[tuple[Tensor, Tensor]]:
    """The pair at every size, the smallest first."""
    h, w = source.shape[-2:]
    if levels is None:
        levels = max(1, int(math.log2(max(1, min(h, w) / 8))) + 1)
    if levels < 1:
        raise ValueError(f"levels is {levels}; expected at least 1")
    sizes = [(max(1, round(h / 2**k)), max(1, round(w / 2**k))) for k in reversed(range(levels))]
    return [(resize(source, size), resize(driving, size)) for size in sizes]


def _grown(flow: Tensor, image: Tensor) -> Tensor:
    """A flow in pixels, carried to the size of `image`."""
    return in_pixels(resize(normalized(flow), tuple(image.shape[-2:])))


def _brightness(source: Tensor, driving: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient to the right, gradient down, and what is still wrong: of the warped source against the driving image."""
    warped = warp(source, normalized(flow))
    padded = F.pad(warped, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return dx, dy, warped - driving


def _solve_2x2(a: Tensor, b: Tensor, c: Tensor, p: Tensor, q: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Solve [[a, b], [b, c]] (u, v) = (p, q) at every pixel, with `ridge` added to the diagonal."""
    a, c = a + ridge, c + ridge
    determinant = a * c - b * b
    return (c * p - b * q) / determinant, (a * q - b * p) / determinant


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian window, one axis after the other."""
    radius = math.ceil(2.5 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=maps.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps.dtype)
    rows = F.conv2d(maps, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(radius, 0))


def _neighbours(flow: Tensor) -> Tensor:
    """Mean of the eight neighbours; those with a common side weigh twice as much as the diagonal ones."""
    kernel = flow.new_tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]).div(12).expand(2, 1, 3, 3)
    return F.conv2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), kernel, groups=2)


def _median(flow: Tensor) -> Tensor:
    """Median of the 3 x 3 neighbourhood, channel by channel: drops lone outliers, keeps edges."""
    windows = F.pad(flow, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1).unfold(3, 3, 1)
    return windows.flatten(-2).median(dim=-1).values

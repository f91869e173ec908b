"""Grids, warping and random image transforms: where things are, and how they are fetched.

One meaning of the corners holds everywhere. The image spans [-1, 1] on both axes, and a *pixel centre* of column i
of W sits at x = (2 i + 1) / W - 1 (`align_corners=False` in torch). So a flow resized to another resolution means
the same motion. Channel 0 of a grid or a flow is x (right), channel 1 is y (down).
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

Outside = Literal["border", "zeros"]  # what a look-up finds outside the image: its border repeated, or black


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function on coordinates outside autocast.

    A bfloat16 has 8 bits: at 64 pixels a quarter of a pixel. Autocast would also lower einsum and matrix products.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped


def identity_grid(h: int, w: int, device: torch.device | str | None = None) -> Float[Tensor, "2 {h} {w}"]:
    """The pixel centres of an image of `h` rows and `w` columns, in normalized units.

    Args:
        h, w: size in pixels, each at least 1.

    Raises:
        ValueError: if `h` or `w` is below 1.
    """
    if h < 1 or w < 1:
        raise ValueError(f"a grid needs at least one row and one column, got h={h}, w={w}")
    x = (2 * torch.arange(w, device=device, dtype=torch.float32) + 1) / w - 1
    y = (2 * torch.arange(h, device=device, dtype=torch.float32) + 1) / h - 1
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])


INFINITE = float("inf")


@in_float32
def sample_at(
    maps: Float[Tensor, "b c h w"], grid: Float[Tensor, "b 2 h2 w2"], outside: Outside = "border"
) -> Float[Tensor, "b c h2 w2"]:
    """Read `maps` bilinearly at the normalized positions `grid`; outside the image the border repeats.

    Positions stay in float32 whatever the precision of the maps: eight bits of mantissa are a quarter of a pixel. One
    that is not a number reads the centre: torch would reach outside the memory of the maps, and end the process.
    """
    positions = grid.float().movedim(1, -1).nan_to_num(0.0, INFINITE, -INFINITE)
    found = F.grid_sample(_InFloat32.apply(maps), positions, padding_mode=outside, align_corners=False).to(maps.dtype)
    return found.contiguous(memory_format=torch.channels_last) if beside(maps) else found


def beside(maps: Float[Tensor, "b c h w"]) -> bool:
    """Whether a pixel's channels lie side by side in memory."""
    return maps.stride(1) == 1 and maps.stride(-1) != 1


class _InFloat32(torch.autograd.Function):
    """Maps in float32, whose gradient comes back in the maps' own precision and order of memory.

    The gradient of grid sampling has each channel's pixels side by side, and what it is added to would follow: a batch
    norm whose gradient and input lie differently takes fourteen times as long.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor) -> Tensor:
        return maps.float().view_as(maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.dtype, ctx.beside = inputs[0].dtype, beside(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.to(ctx.dtype)
        return gradient.contiguous(memory_format=torch.channels_last) if ctx.beside else gradient


def warp(
    features: Float[Tensor, "b c *t h w"],
    flow: Float[Tensor, "b2 2 *frames h2 w2"],
    occlusion: Float[Tensor, "b2 1 *frames h2 w2"] | None = None,
    outside: Outside = "border",
) -> Float[Tensor, "b c *frames h w"]:
    """Fetch every pixel from where the backward flow points: `features(grid + flow)`, times `occlusion` if given.

    Three uses: one map and one flow; one map and the flows of T frames (the source is shared by all frames);
    T maps and T flows, frame by frame. All frames are sampled in one call.

    Args:
        features: maps of the source, `(b, c, h, w)` or `(b, c, t, h, w)`.
        flow: normalized backward displacement, same height and width; zero is the identity.
        occlusion: visibility in [0, 1] to multiply with, same size as the flow.
        outside: what is found where the flow points outside the image.

    Raises:
        ValueError: if the sizes differ (use `resize` first), or if there are several feature frames for one flow.

    Source: LFDM, stage one: occlusion-aware latent warping.
    """
    if features.shape[-2:] != flow.shape[-2:] or features.shape[0] != flow.shape[0] or features.ndim > flow.ndim:
        raise ValueError(
            f"features {tuple(features.shape)} and flow {tuple(flow.shape)} do not fit: both need the same batch, "
            "height and width (see `resize`), and one flow per frame of features"
        )
    b, (h, w) = flow.shape[0], flow.shape[-2:]
    grid = flow.float() + identity_grid(h, w, flow.device).view(2, *[1] * (flow.ndim - 4), h, w)
    if flow.ndim == 5 and features.ndim == 5:
        t = flow.shape[2]
        frames = sample_at(features.transpose(1, 2).flatten(0, 1), grid.transpose(1, 2).flatten(0, 1), outside)
        warped = frames.unflatten(0, (b, t)).transpose(1, 2)
    else:  # the frames of a video read one shared source: lay them below each other in one tall grid
        warped = sample_at(features, grid.reshape(b, 2, -1, w), outside).view(b, features.shape[1], *flow.shape[2:])
    return warped if occlusion is None else warped * occlusion


def resize(maps: Float[Tensor, "b c *t h w"], size: int | tuple[int, ...]) -> Float[Tensor, "b c *t h2 w2"]:
    """Resize images, features or flows bilinearly, anti-aliased when they shrink.

    A normalized flow keeps its meaning, so its values are not rescaled.

    Args:
        size: new height and width in pixels.

    Raises:
        ValueError: if a size is below 1.
    """
    h, w = (size, size) if isinstance(size, int) else size
    if min(h, w) < 1:
        raise ValueError(f"cannot resize to {(h, w)}: both sizes must be at least 1 pixel")
    if maps.shape[-2:] == (h, w):
        return maps
    shrinks = h < maps.shape[-2] or w < maps.shape[-1]
    flat = maps.transpose(1, 2).flatten(0, 1) if maps.ndim == 5 else maps
    flat = F.interpolate(flat, size=(h, w), mode="bilinear", align_corners=False, antialias=shrinks)
    return flat.unflatten(0, (maps.shape[0], maps.shape[2])).transpose(1, 2) if maps.ndim == 5 else flat


class RandomTransform:
    """A random affine map plus a thin-plate spline, one per image: `z -> A z + b + sum_k w_k U(|z - p_k|)`.

    Used to ask whether detected regions follow a known deformation (equivariance). `transform(points)` moves points;
    `jacobian(points)` is its derivative in closed form; `frames(images)` looks the image up at the moved pixel
    centres, so a point z of the result shows what stood at `transform(z)`.

    Args:
        batch: number of independent transforms.
        sigma_affine: standard deviation of the six affine numbers around the identity.
        sigma_spline: standard deviation of the spline's weights.
        points: control points per axis, spread evenly over [-1, 1].
        generator: source of randomness.

    Source: LFDM, stage one: equivariance loss; the radial function U(r) = r^2 log r^2 is the thin-plate spline's.
    """

    grid_of = staticmethod(identity_grid)  # where `frames` puts the pixels

    def __init__(
        self,
        batch: int,
        sigma_affine: float = 0.05,
        sigma_spline: float = 0.005,
        points: int = 5,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ):
        noise = torch.randn(batch, 2, 3, generator=generator).to(device)
        self.affine = torch.eye(2, 3, device=device) + sigma_affine * noise
        axis = torch.linspace(-1, 1, points, device=device)
        self.control_points = torch.cartesian_prod(axis, axis)
        self.weights = sigma_spline * torch.randn(batch, points * points, generator=generator).to(device)

    @in_float32
    def __call__(self, points: Float[Tensor, "b2 n 2"]) -> Float[Tensor, "b n 2"]:
        """Move points, in normalized units: those of every image, or each its own. The spline shifts x and y alike."""
        moved = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        r2 = (points[:, :, None] - self.control_points).square().sum(-1)
        bend = r2 * torch.log(r2 + 1e-6)
        return moved + bend @ self.weights[..., None]

    @in_float32
    def jacobian(self, points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2 2"]:
        """Derivative of the transform at `points`: row i, column j is d out_i / d in_j."""
        offset = points[:, :, None] - self.control_points
        r2 = offset.square().sum(-1)
        slope = torch.log(r2 + 1e-6) + r2 / (r2 + 1e-6)
        gradient = (2 * offset * (slope * self.weights[:, None])[..., None]).sum(2)
        return self.affine[:, None, :, :2] + gradient[:, :, None, :]

    @in_float32
    def frames(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Deform images; what lies outside is mirrored in."""
        b, _, h, w = images.shape
        points = self.grid_of(h, w, images.device).flatten(1).mT[None]  # the same pixels for all images
        grid = self(points).view(b, h, w, 2)
        return F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)

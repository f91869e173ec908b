"""The authors' auto-encoder as plain functions of their tensors, written out a second time.

It shares no code with `lfdm_lite`: tensors keep the authors' names, motions and images stay in their layout, positions
with channels last; principal axes come from an eigenvalue decomposition, covariances from second moments, and the flow
predictor warps the image motion by motion. Any precision; run it in float64 to see what rounding does to the library.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


@contextmanager
def float64() -> Iterator[None]:
    """Inside, new floating-point tensors are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def below(state: State, prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with `prefix.`, without it."""
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


# Blocks


def count(state: State, prefix: str) -> int:
    """How many numbered parts there are below `prefix`."""
    return len({name.split(".")[0] for name in below(state, prefix)})


def convolve(state: State, name: str, x: Tensor, padding: int | None = None) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2 if padding is None else padding)


def norm_relu(state: State, name: str, x: Tensor, train: bool) -> Tensor:
    """In training the statistics of the batch count, and the running ones are updated where they are."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], train, 0.1, 1e-5).relu()


def block(state: State, name: str, x: Tensor, train: bool) -> Tensor:
    return norm_relu(state, f"{name}.norm", convolve(state, f"{name}.conv", x), train)


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def hourglass(state: State, name: str, x: Tensor, train: bool) -> Tensor:
    skips = [x]
    for i in range(count(state, f"{name}.encoder.down_blocks")):
        skips.append(halve(block(state, f"{name}.encoder.down_blocks.{i}", skips[-1], train)))
    x = skips.pop()
    for i in range(count(state, f"{name}.decoder.up_blocks")):
        x = torch.cat([block(state, f"{name}.decoder.up_blocks.{i}", double(x), train), skips.pop()], dim=1)
    return x


def kernel(factor: int) -> Tensor:
    """The blur before keeping every factor-th pixel: a Gaussian of sigma (factor - 1) / 2, as (3, 1, size, size)."""
    sigma = (factor - 1) / 2
    reach = round(4 * sigma)
    bell = torch.distributions.Normal(0.0, sigma).log_prob(torch.arange(-reach, reach + 1.0)).exp()
    bell = bell / bell.sum()
    return (bell[:, None] * bell).expand(3, 1, -1, -1).contiguous()


def shrink(x: Tensor, factor: int) -> Tensor:
    """Blur, zeros being around the image, then keep the first pixel of every block."""
    if factor == 1:
        return x
    weight = kernel(factor).to(x)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=3)[:, :, ::factor, ::factor]


# Positions


def corners(h: int, w: int) -> Tensor:
    """(h, w, 2): the centres of the outermost pixels are at -1 and 1."""
    y, x = torch.meshgrid(2 * torch.arange(h) / (h - 1) - 1, 2 * torch.arange(w) / (w - 1) - 1, indexing="ij")
    return torch.stack([x, y], dim=-1)


def look_up(image: Tensor, positions: Tensor, outside: str = "zeros") -> Tensor:
    """The image at (b, h, w, 2) positions, resized to the image's size where they differ; edges at -1 and 1."""
    positions = enlarge(positions.movedim(-1, 1), image.shape[-2:]).movedim(1, -1)
    return F.grid_sample(image, positions, padding_mode=outside, align_corners=False)


def enlarge(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size=tuple(size), mode="bilinear")


# Regions and background


def regions(state: State, image: Tensor, config: Mapping, padding: int = 3, train: bool = False) -> dict[str, Tensor]:
    """All fields, and what was computed on the way: down, feature_map, logits."""
    down = shrink(image, round(1 / config["scale_factor"]))
    features = hourglass(state, "predictor", down, train)
    logits = convolve(state, "regions", features, padding)
    heatmap = (logits.flatten(2) / config["temperature"]).softmax(-1).view_as(logits)
    grid = corners(*logits.shape[-2:])
    shift = (heatmap[..., None] * grid).sum((2, 3))
    found = {"shift": shift, "heatmap": heatmap, "down": down, "feature_map": features, "logits": logits}
    if "jacobian.weight" in state:
        matrix = convolve(state, "jacobian", features, padding)
        affine = (heatmap[:, :, None] * matrix[:, None]).sum((3, 4)).unflatten(-1, (2, 2))
        return found | {"affine": affine, "covar": affine @ affine.mT}
    square = (heatmap[..., None, None] * (grid[..., :, None] * grid[..., None, :])).sum((2, 3))
    covariance = square - shift[..., :, None] * shift[..., None, :]
    values, axes = torch.linalg.eigh(covariance)  # ascending
    axes, lengths = axes.flip(-1), values.flip(-1).sqrt()
    turned = torch.where(torch.linalg.det(axes) > 0, -1.0, 1.0).to(axes)  # the second axis makes it a reflection
    axes = axes * torch.stack([torch.ones_like(turned), turned], dim=-1)[..., None, :]
    d = torch.diag_embed(lengths)
    return found | {"covar": covariance, "affine": axes @ d, "u": axes.flatten(0, 1), "d": d.flatten(0, 1)}


def background(state: State, source: Tensor, driving: Tensor, kind: str = "affine", train: bool = False) -> Tensor:
    """3x3 matrices."""
    x = torch.cat([source, driving], dim=1)
    for i in range(count(state, "encoder.down_blocks")):
        x = halve(block(state, f"encoder.down_blocks.{i}", x, train))
    numbers = x.mean((2, 3)) @ state["fc.weight"].mT + state["fc.bias"]
    zero, one = torch.zeros_like(numbers[:, :1]), torch.ones_like(numbers[:, :1])
    if kind == "shift":
        rows = [one, zero, numbers[:, :1], zero, one, numbers[:, 1:], zero, zero, one]
    elif kind == "affine":
        rows = [numbers, zero, zero, one]
    else:
        rows = [numbers, one]
    return torch.cat(rows, dim=1).view(-1, 3, 3)


# Flow


def bumps(found: Mapping[str, Tensor], h: int, w: int, variance: float | None = None) -> Tensor:
    """One bump per region: of its covariance, or of the same variance for all."""
    offset = corners(h, w) - found["shift"][:, :, None, None]
    if variance is not None:
        return torch.exp(-offset.square().sum(-1) / (2 * variance))
    white = torch.linalg.solve(found["covar"], offset.flatten(2, 3).mT).mT.view_as(offset)
    return torch.exp(-(offset * white).sum(-1) / 2)


def first_positive(matrix: Tensor) -> Tensor:
    """Matrices, each times the sign of its first entry."""
    return matrix * matrix[..., :1, :1].sign()


def sparse_motions(
    source: Mapping[str, Tensor], driving: Mapping[str, Tensor], bg: Tensor | None, h: int, w: int, revert: bool = True
) -> Tensor:
    """(b, k + 1, h, w, 2), the background first."""
    grid = corners(h, w)
    whole = torch.cat([grid, torch.ones(h, w, 1)], dim=-1)
    bg = torch.eye(3).expand(len(source["shift"]), 3, 3) if bg is None else bg
    moved = torch.einsum("bij,hwj->bhwi", bg, whole)
    motions = [moved[..., :2] / moved[..., 2:]]
    for k in range(source["shift"].shape[1]):
        turn = torch.linalg.solve(driving["affine"][:, k], source["affine"][:, k], left=False)
        turn = first_positive(turn) if revert else turn
        offset = grid - driving["shift"][:, k, None, None]
        motions.append(torch.einsum("bij,bhwj->bhwi", turn, offset) + source["shift"][:, k, None, None])
    return torch.stack(motions, dim=1)


def pixelwise_flow(
    state: State,
    image: Tensor,
    source: Mapping[str, Tensor],
    driving: Mapping[str, Tensor],
    bg: Tensor | None,
    config: Mapping,
    revert: bool = True,
    train: bool = False,
) -> dict[str, Tensor]:
    """optical_flow and occlusion_map, and what was computed on the way."""
    small = shrink(image, round(1 / config["scale_factor"]))
    h, w = small.shape[-2:]
    heat = bumps(driving, h, w) - bumps(source, h, w)
    heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], dim=1)[:, :, None]
    motions = sparse_motions(source, driving, bg, h, w, revert)
    deformed = torch.stack([look_up(small, motion) for motion in motions.unbind(1)], dim=1)
    x = hourglass(state, "hourglass", torch.cat([heat, deformed], dim=2).flatten(1, 2), train)
    weights = convolve(state, "mask", x).softmax(1)
    return {
        "optical_flow": (weights[..., None] * motions).sum(1),
        "occlusion_map": convolve(state, "occlusion", x).sigmoid(),
        "down": small,
        "heatmap": heat,
        "sparse_motion": motions,
        "deformed_source": deformed,
    }


# Generator


def encode(state: State, image: Tensor, train: bool = False) -> list[Tensor]:
    """Features, finest first."""
    features = [block(state, "first", image, train)]
    for i in range(count(state, "down_blocks")):
        features.append(halve(block(state, f"down_blocks.{i}", features[-1], train)))
    return features


def decode(
    state: State, image: Tensor, features: list[Tensor], positions: Tensor, occlusion: Tensor, skips: bool, train=False
) -> Tensor:
    """The frame that these positions and this occlusion map describe."""

    def fetch(maps: Tensor, own: Tensor | None = None) -> Tensor:
        if own is not None and not skips:
            return own
        seen = enlarge(occlusion, maps.shape[-2:])
        fetched = look_up(maps, positions) * seen
        return fetched if own is None else fetched + own * (1 - seen)

    x = fetch(features[-1])
    for i in range(count(state, "bottleneck")):
        y = convolve(state, f"bottleneck.r{i}.conv1", norm_relu(state, f"bottleneck.r{i}.norm1", x, train))
        x = x + convolve(state, f"bottleneck.r{i}.conv2", norm_relu(state, f"bottleneck.r{i}.norm2", y, train))
    for i, skip in enumerate(features[:0:-1]):
        x = block(state, f"up_blocks.{i}", double(fetch(skip, x)), train)
    x = convolve(state, "final", fetch(features[0], x)).sigmoid()
    return fetch(image, x)


def whole(
    states: Mapping[str, State], model: Mapping, source: Tensor, driving: Tensor, train: bool = False
) -> dict[str, Tensor]:
    """All three networks on a pair of images, in the authors' order; regions as dictionaries."""
    generator, config = states["generator"], model["region_predictor_params"]
    of_source = regions(states["region_predictor"], source, config, train=train)
    of_driving = regions(states["region_predictor"], driving, config, train=train)
    bg = background(states["bg_predictor"], source, driving, train=train)
    features = encode(generator, source, train)
    flow_config = model["generator_params"]["pixelwise_flow_predictor_params"]
    flow_state = below(generator, "pixelwise_flow_predictor")
    motion = pixelwise_flow(flow_state, source, of_source, of_driving, bg, flow_config, train=train)
    positions, occlusion = motion["optical_flow"], motion["occlusion_map"]
    return {
        "prediction": decode(generator, source, features, positions, occlusion, True, train),
        "deformed": look_up(source, positions),
        "bottle_neck_feat": features[-1],
        "optical_flow": positions,
        "occlusion_map": occlusion,
        "source_region_params": of_source,
        "driving_region_params": of_driving,
    }

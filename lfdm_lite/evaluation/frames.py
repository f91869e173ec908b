"""What the frames of a video tell by themselves: motion, identity, flicker; and videos that are broken on purpose.

Nothing here was trained, and nothing took part in making a video: motion is estimated as Horn & Schunck did.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..flow import horn_schunck, in_pixels
from ..geometry import resize, warp
from .truth import mean_where

SIDE = 64  # pixels of the frames on which motion is estimated, if they are larger; and its unit in `motion_features`
BINS = (5, 4, 4)  # moments, rows and columns of `motion_features`
LEVELS = 8  # of each colour in `colours`


# ---------------------------------------------------------------- motion


def estimate_steps(video: Float[Tensor, "n 3 t h w"], batch: int = 4) -> Float[Tensor, "n 2 t-1 h2 w2"]:
    """Normalized backward flow from every frame but the first into the one before it.

    Estimated on frames of at most 64 pixels, at one resolution. Steps are small; coarser levels would carry motion into
    what stands still. How near it comes to the truth: `evaluation/README.md`.

    Raises:
        ValueError: fewer than two frames.
    """
    t = video.shape[2]
    if t < 2:
        raise ValueError(f"the videos have {t} frames; motion needs at least 2")
    small = resize(video, SIDE) if max(video.shape[-2:]) > SIDE else video
    steps = []
    for some in small.split(batch):
        before, after = (x.transpose(1, 2).flatten(0, 1) for x in (some[:, :, :-1], some[:, :, 1:]))
        flow = horn_schunck(before, after, smoothness=0.02, levels=1, warps=2, iterations=20)
        steps.append(flow.unflatten(0, (len(some), t - 1)).transpose(1, 2))
    return torch.cat(steps)


def since_frame_0(steps: Float[Tensor, "n 2 t h w"]) -> Float[Tensor, "n 2 t h w"]:
    """Steps from frame to frame, one after the other: normalized backward flow of each frame into frame 0."""
    flow = [steps[:, :, 0]]
    for step in steps[:, :, 1:].unbind(2):
        flow.append(step + warp(flow[-1], step))
    return torch.stack(flow, dim=2)


def motion_features(steps: Float[Tensor, "n 2 t h w"]) -> Float[Tensor, "n 240"]:
    """How fast, and which way, things move at five moments in 4 x 4 places: mean speed and mean velocity of each.

    In pixels a frame, of a picture of 64 x 64 pixels.

    Args:
        steps: from `estimate_steps`.
    """
    velocity = steps * (SIDE / 2)
    maps = torch.cat([velocity.norm(dim=1, keepdim=True), velocity], dim=1)
    return F.adaptive_avg_pool3d(maps, BINS).flatten(1)


class Moved(NamedTuple):
    """What is kept of the estimated motion of clips. Lengths are in pixels of the video, over frames 1 to T-1."""

    features: Float[Tensor, "n 240"]  # see `motion_features`
    flow: Float[Tensor, "n 2 t 16 16"]  # into frame 0, normalized, averaged over places
    length: Float[Tensor, " n"]  # mean length of the flow into frame 0
    length_never: Float[Tensor, " n"]  # the same where nothing ever moves; NaN where that is nowhere, or not known


def estimate_motion(video: Float[Tensor, "n 3 t h w"], never: Bool[Tensor, "n 1 h w"] | None = None) -> Moved:
    """Motion of videos by a classical estimator, which took no part in making them.

    Args:
        never: where nothing moves whenever the subject acts this label (`ProceduralSet.never_moves`).
    """
    parts = []
    for start in range(0, len(video), 16):
        some = video[start : start + 16]
        steps = estimate_steps(some)
        flow = since_frame_0(steps)
        length = in_pixels(flow).norm(dim=1, keepdim=True) * (video.shape[-1] / flow.shape[-1])
        still = torch.full((len(some),), torch.nan)
        if never is not None:
            mask = never[start : start + 16]
            if mask.shape[-2:] != flow.shape[-2:]:
                mask = resize(mask.float(), tuple(flow.shape[-2:])) > 0.999
            still = mean_where(length, mask[:, :, None])
        parts.append((motion_features(steps), resize(flow, 16), length.flatten(1).mean(1), still))
    return Moved(*(torch.cat(values) for values in zip(*parts, strict=True)))


# ---------------------------------------------------------------- who, and how steadily


def colours(frames: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 512"]:
    """How much of each frame has each of 8 x 8 x 8 colours; a colour in between counts for its neighbours by distance.

    Rows sum to 1. Where things are makes no difference, so motion hardly does.
    """
    levels = torch.arange(LEVELS, device=frames.device).view(1, -1, 1)
    r, g, b = ((1 - (c.flatten(1)[:, None] * (LEVELS - 1) - levels).abs()).clamp(min=0) for c in frames.unbind(1))
    rg = (r[:, :, None] * g[:, None]).flatten(1, 2)  # n 64 pixels
    return (rg @ b.transpose(1, 2)).flatten(1) / r.shape[-1]


def identity_distance(
    video: Float[Tensor, "n 3 t h w"], frame_0: Float[Tensor, "n 3 h w"], every: int = 3
) -> Float[Tensor, " n"]:
    """Share of the picture whose colour is not that of frame 0: 0 for the same colours, 1 for none in common.

    The total variation between `colours` of a frame and of frame 0, averaged over every third frame from the last on.

    Args:
        frame_0: the image that was given.
    """
    wanted = colours(frame_0)
    times = range(video.shape[2] - 1, 0, -every) if video.shape[2] > 1 else (0,)
    return torch.stack([(colours(video[:, :, t]) - wanted).abs().sum(1) / 2 for t in times]).mean(0)


def flicker(video: Float[Tensor, "n 3 t h w"], still: Bool[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    """Mean size of the second difference in time, in 255ths, where nothing moves; NaN for clips without such pixels.

    Steady drift has none; a pixel that jumps by 1 and back has 2.

    Args:
        still: pixels that do not move in any frame.

    Raises:
        ValueError: fewer than three frames.
    """
    if video.shape[2] < 3:
        raise ValueError(f"the videos have {video.shape[2]} frames; a second difference needs 3")
    bend = video[:, :, 2:] - 2 * video[:, :, 1:-1] + video[:, :, :-2]
    return 255 * mean_where(bend.abs().mean(dim=1, keepdim=True), still[:, :, None])


def nearest(rows: Float[Tensor, "n d"], others: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Root mean squared difference of every row to the nearest of the others."""
    return torch.cdist(rows, others).min(dim=1).values / rows.shape[1] ** 0.5


# ---------------------------------------------------------------- broken on purpose


def freeze(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 3 t h w"]:
    """Frame 0, again and again."""
    return video[:, :, :1].expand_as(video).clone()


def shuffle(video: Float[Tensor, "n 3 t h w"], seed: int = 0) -> Float[Tensor, "n 3 t h w"]:
    """Frame 0 stays, the others come in a random order, another one for each clip."""
    generator, t = torch.Generator().manual_seed(seed), video.shape[2]
    orders = [[0, *(1 + torch.randperm(t - 1, generator=generator)).tolist()] for _ in video]
    return torch.stack([clip[:, order] for clip, order in zip(video, orders, strict=True)])


def reverse(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 3 t h w"]:
    """Backwards: the last frame comes first."""
    return video.flip(2)


def half_speed(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 3 t h w"]:
    """Every frame twice, up to the middle of the clip."""
    return video[:, :, torch.arange(video.shape[2]) // 2]


def blur(video: Float[Tensor, "n 3 t h w"], sigma: float = 1.0) -> Float[Tensor, "n 3 t h w"]:
    """All frames through a Gaussian window of that standard deviation in pixels."""
    radius = int(3 * sigma + 0.5)
    window = torch.softmax(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2, dim=0).to(video.device)
    frames = F.pad(video.transpose(1, 2).flatten(0, 2)[:, None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(frames, window.view(1, 1, 1, -1))
    return F.conv2d(rows, window.view(1, 1, -1, 1)).view(len(video), -1, 3, *video.shape[-2:]).transpose(1, 2).clone()


def exchange(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 3 t h w"]:
    """From the middle on, the clip before it in the batch goes on instead: another person, mostly another label."""
    half = video.shape[2] // 2
    return torch.cat([video[:, :, :half], video.roll(1, dims=0)[:, :, half:]], dim=2)


def another(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 3 t h w"]:
    """The whole clip before it in the batch. As a set these are the same videos."""
    return video.roll(1, dims=0)


BREAKINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "freeze": freeze,
    "shuffle": shuffle,
    "reverse": reverse,
    "half_speed": half_speed,
    "blur": blur,
    "exchange": exchange,
    "another": another,
}

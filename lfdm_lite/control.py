"""Control: how strong a motion is, when, where and of what mixture; several labels at once, a point that is dragged.

What makes another `Motion` for `autoencoder.decode` does so pixel by pixel, as if what surrounds a pixel moved alike.
What makes another `Denoise` (`composed`, `exaggerated`, `pulled`, `windowed`) steers while `draw_motion` draws.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .diffusion import Denoiser, GaussianDiffusion
from .geometry import identity_grid, sample_at
from .inputs import sampling, whole_number
from .motion import Motion
from .samplers import Denoise, guided, sample

if TYPE_CHECKING:
    from .pipeline import LFDM

Frames = float | int | Float[Tensor, " b"]  # for all clips, or for each
Box = tuple[float, float, float, float]  # left, top, right, bottom in normalized units
PLACES: dict[str, Box] = {"left_half": (-1.0, -1.0, 0.0, 1.0), "right_half": (0.0, -1.0, 1.0, 1.0)}  # as seen
# Parts of a face that fills the picture as in `Faces`, with room for their motion; by eye on means of training clips.
PLACES |= {"brows": (-0.5, -0.5, 0.5, 0.0), "eyes": (-0.5, -0.15, 0.5, 0.2), "mouth": (-0.5, 0.2, 0.5, 0.75)}


def scaled(motion: Motion, strength: float | int) -> Motion:
    """The motion weaker or stronger, of a frame or a video: f -> s f, m -> m_0 + s (m - m_0), from 0 to 1.

    m_0 is `Motion.rest`. At strength s about the share s of what else is hidden is hidden, and a map that cannot tell
    which part errs least, in squares, with the share itself.

    Raises:
        ValueError: a strength s that is not from 0 (rest: no flow, the first frame's map) to 1.5.
    """
    if not 0 <= strength <= 1.5:
        raise ValueError(f"strength={strength}: must be between 0 (rest) and 1.5; 1 changes nothing")
    return Motion(strength * motion.flow, motion.rest.lerp(motion.occlusion, strength).clamp(0, 1))


def timing(motion: Motion) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Onset and duration of each clip's movement in frames, fractions too: when it begins, how long it rises.

    As if it rose on a straight line: that through the moments at which the flow's mean length first passes 1/4 and 3/4
    of its maximum, so that slow sway before is not taken for the beginning. 0 and 1 for a clip at rest.

    Raises:
        ValueError: the motion of a frame, not of a video.
    """
    if motion.flow.ndim != 5:
        raise ValueError(f"a flow of shape {tuple(motion.flow.shape)} has no time: give a video's, (b, 2, t, h, w)")
    return rise(motion.flow.norm(dim=1).mean(dim=(-2, -1)))


def rise(level: Float[Tensor, "b t"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Onset and duration of what grows from rest, a number a frame, as `timing` has them of the flow's mean length."""
    level = F.pad(level.clamp(min=0), (1, 0))  # b t+1: at rest before the first frame
    height = level.amax(dim=1, keepdim=True) * level.new_tensor([0.25, 0.75])  # b 2
    after = (level[:, None] >= height[..., None]).int().argmax(dim=-1).clamp(min=1)  # b 2
    low, high = level.gather(1, after - 1), level.gather(1, after)
    first, second = (after - 2 + (height - low) / (high - low)).unbind(1)
    still = height[:, 0] == 0
    return (1.5 * first - 0.5 * second).masked_fill(still, 0.0), (2 * (second - first)).masked_fill(still, 1.0)


def retimed(motion: Motion, onset: Frames, duration: Frames) -> Motion:
    """Each clip's own course, moved and stretched to begin at frame `onset` and rise for `duration` frames.

    Linear between frames; rest before the first, the last is held. What `timing` finds changes nothing.

    Raises:
        ValueError: the motion of a frame; an onset that is not finite, a duration that is not above 0; not one a clip.
    """
    own_onset, own_duration = (own.cpu().double() for own in timing(motion))  # in which no duration above 0 is 0
    onset, duration = (torch.as_tensor(number, dtype=torch.float64).cpu() for number in (onset, duration))
    fit = {onset.numel(), duration.numel()} <= {1, len(own_onset)}
    if not (fit and onset.isfinite().all() and duration.isfinite().all() and (duration > 0).all()):
        given = f"onset={onset.tolist()}, duration={duration.tolist()}"
        raise ValueError(f"{given}: give frames, duration above 0, for all clips or for each of {len(own_onset)}")
    onset, duration = onset.expand_as(own_onset), duration.expand_as(own_onset)
    frame = torch.arange(motion.flow.shape[2]).to(onset)
    at = own_onset[:, None] + (frame - onset[:, None]) / duration[:, None] * own_duration[:, None]  # b t, never NaN
    near = (1 - (at.clamp(max=frame[-1])[..., None] - frame).abs()).clamp(min=0)  # b t t2; all 0 well before frame 0
    near = near.to(motion.flow)
    moved = (motion.flow, motion.occlusion - motion.rest)
    flow, more = (torch.einsum("bts,bcshw->bcthw", near, maps) for maps in moved)
    return Motion(flow, motion.rest + more)


def mask_of(place: str | Box, h: int, w: int) -> Float[Tensor, "{h} {w}"]:
    """1 at the pixels whose centres lie in a box, by a name of `PLACES` or in normalized units, and 0 elsewhere.

    Raises:
        ValueError: an unknown name, numbers that make no box, or a box that holds no pixel: nothing would move.
    """
    left, top, right, bottom = PLACES.get(place, (0, 0, 0, 0)) if isinstance(place, str) else place
    if not (left < right < math.inf and top < bottom < math.inf):
        raise ValueError(f"place {place!r}: give one of {', '.join(PLACES)}; or left, top, right, bottom in order")
    x, y = identity_grid(h, w)
    mask = ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).float()
    if not mask.any():
        raise ValueError(f"place {place!r} holds no pixel of maps of {h}x{w}, which span -1 to 1: give a larger one")
    return mask


def only(motion: Motion, mask: Float[Tensor, "h w"], softness: float | int = 1.0) -> Motion:
    """The motion, of a frame or a video, inside a mask a alone: f -> a f, m -> m_0 + a (m - m_0), m_0 at rest.

    Args:
        mask: a, 0 to 1, of places in the frames, not of what moves through them; as large as the motion's maps.
        softness: pixels of a Gaussian G by which its border fades inwards: min(a, max(0, 2 G a - a)); 0 may tear.

    Raises:
        ValueError: a mask of another size or out of range, or a softness below 0.
    """
    size, given = motion.flow.shape[-2:], f"a mask of {tuple(mask.shape)}, softness={softness}"
    if mask.shape != size or not ((mask >= 0) & (mask <= 1)).all() or not 0 <= softness < math.inf:
        raise ValueError(f"{given}: give a mask of {tuple(size)} with numbers from 0 to 1, and a softness of 0 or more")
    mask = mask.to(motion.flow)
    blurred = mask
    for length in size[::-1] if softness > 0.01 else ():  # along rows, then columns; weighs 1 at the border too
        pixel = torch.arange(length).to(mask)
        blurred = (blurred @ torch.softmax(-0.5 * ((pixel - pixel[:, None]) / softness).square(), dim=0)).T
    share = (2 * blurred - mask).clamp(min=0).minimum(mask)
    return Motion(motion.flow * share, motion.rest + share * (motion.occlusion - motion.rest))


def mixed(motions: Sequence[Motion], weights: Sequence[float | int]) -> Motion:
    """The weighted mean of motions of one picture, with several labels for instance: sum_i w_i f_i, and m likewise.

    Raises:
        ValueError: weights that are not one each, 0 or more and 1 in sum; motions of different shapes.
    """
    shapes, fit = [tuple(motion.flow.shape) for motion in motions], len(weights) == len(motions)
    if not fit or len(set(shapes)) > 1 or not all(w >= 0 for w in weights) or abs(sum(weights) - 1) > 1e-4:
        raise ValueError(f"weights {weights} of shapes {shapes}: give equal shapes, one weight each, >= 0 and 1 in sum")
    parts = zip(*motions, strict=True)  # flows, then maps
    return Motion(*(sum(w * maps for w, maps in zip(weights, part, strict=True)) for part in parts))


def composed(
    unet: Denoiser,
    features: Float[Tensor, "b f *frames h w"],
    labels: Int[Tensor, "b k"],
    weights: Sequence[float | int],
    guidance_scale: float | int = 1.0,
    numbers: Float[Tensor, "b n"] | None = None,
) -> Denoise:
    """The denoiser `eps_uncond + s sum_i w_i (eps_i - eps_uncond)` of k labels, k + 1 network calls a step.

    A weight below 0 leads away from its label; else all is as for `guided`, which is one label of weight 1.

    Raises:
        ValueError: weights that are not finite, or not one for each label.

    Source: Liu et al. 2022, compositional diffusion; Ho & Salimans 2022, classifier-free guidance.
    """
    if not 0 < len(weights) == labels.shape[1] or not all(map(math.isfinite, weights)):
        raise ValueError(f"weights {weights} of {labels.shape[1]} labels: give one finite number for each label")
    answers = [guided(unet, features, label, 1.0, numbers) for label in labels.unbind(1)]
    without = guided(unet, features, labels[:, 0], 0.0, numbers)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        eps = without(x, t)
        return eps + guidance_scale * sum(w * (answer(x, t) - eps) for w, answer in zip(weights, answers, strict=True))

    return denoise


def exaggerated(plain: Denoise, asked: Denoise, weight: float | int) -> Denoise:
    """The denoiser `eps + w (eps_asked - eps)`: what a wish changes, w times as far, all else as it is without.

    Both are of one picture, as from `samplers.guided`, and `asked` is told one thing more. ValueError: w is not finite.
    Source: Brooks et al. 2023, InstructPix2Pix, where two conditions have a weight each.
    """
    if not math.isfinite(weight):
        raise ValueError(f"weight={weight}: give a finite number; 0 is without the wish, 1 plainly with it")
    return lambda x, t: torch.lerp(plain(x, t), asked(x, t), weight)


def pulled(
    diffusion: GaussianDiffusion,
    denoise: Denoise,
    frame: int | Sequence[int],
    start: Float[Tensor, "n 2"],
    end: Float[Tensor, "m 2"],
    tolerance: float | int = 0.003,
) -> Denoise:
    """The denoiser, steered so that what is at `start` in the given picture is at `end` in a frame.

    There the backward flow must be start - end. With r what the predicted x0 misses of it, x0 is moved against the
    gradient of |r|^2 / 2 by x, as far as closes the gap: through the network the gradient tells how all of the motion
    goes along. One network call and one backward pass a step; motions that both ends of many handles ask for may tear.

    Args:
        frame: 1 to T - 1; or one for each handle, so that the same start with several ends is the path of a point.
        start, end: positions x, y in normalized units, of n handles.
        tolerance: standard deviation, in the same units, with which the wish is meant; a tenth of a pixel of 64.

    Raises:
        ValueError: no frame after the first, positions outside of the picture or not as many, a tolerance not above 0.

    Source: Chung et al. 2023, diffusion posterior sampling; the length of the step is that of Gaussian data.
    """
    frames, fit = torch.as_tensor(frame), 0 < len(start) == len(end)
    fit = fit and frames.numel() in (1, len(start)) and bool((torch.stack([start, end]).abs() <= 1).all())
    if not fit or (frames < 1).any() or not 0 < tolerance < math.inf:
        given = f"frame={frame}, start={start.tolist()}, end={end.tolist()}, tolerance={tolerance}"
        raise ValueError(f"{given}: give a frame from 1, as many ends as starts from -1 to 1, a tolerance above 0")

    frames = frames.expand(len(start))

    def at_ends(x: Tensor) -> Tensor:  # b n 2
        if frames.max() >= x.shape[2]:
            raise ValueError(f"frame={frame}: a clip of {x.shape[2]} frames has them from 0 to {x.shape[2] - 1}")
        flow = diffusion.unpack_motion(x).flow[:, :, frames].transpose(1, 2).flatten(0, 1)  # (b n) 2 h w
        place = end.to(flow).repeat(len(x), 1)[:, :, None, None]
        return sample_at(flow, place).view(len(x), len(end), 2)

    def steered(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0, _ = diffusion.to_x0_eps(x, t, denoise(x, t).float())
            r = at_ends(x0) - (start - end).to(x0)
            (slope,) = torch.autograd.grad(r.square().sum() / 2, x)
        x, x0, r = x.detach(), x0.detach(), r.detach()
        alpha, sigma = diffusion.at(t, x)
        away = sigma**2 / alpha * slope  # of Gaussian data: the covariance of x0 given x, applied to r at the ends
        gap, closed = r.square().sum((1, 2)), (r * (at_ends(away) - at_ends(0 * away))).sum((1, 2))
        step = torch.where(closed > 0, gap / (closed + tolerance**2 * gap), 0.0)  # b
        x0 = x0 - step.nan_to_num(0.0).view(-1, 1, 1, 1, 1) * away
        return diffusion.target(x0, (x - alpha * x0) / sigma, t)

    return steered


def windowed(denoise: Denoise, length: int, step: int) -> Denoise:
    """The denoiser of longer clips: the mean of its answers in windows of `length` frames, one every `step` frames.

    At one x and t answers are linear in x0, so that this is the mean of the windows' predicted x0. A clip that is no
    longer than a window is one window.

    Raises:
        ValueError: a length below 1, a step that is not from 1 to it.

    Source: Bar-Tal et al. 2023, MultiDiffusion; along time here.
    """
    if not 1 <= step <= length:
        raise ValueError(f"length={length}, step={step}: give a length of 1 or more, and a step from 1 to the length")

    def whole(x: Tensor, t: Tensor) -> Tensor:
        total, times, last = torch.zeros_like(x), x.new_zeros(x.shape[2]), max(0, x.shape[2] - length)
        for begin in [*range(0, last, step), last]:
            window = slice(begin, begin + length)
            total[:, :, window] += denoise(x[:, :, window], t)
            times[window] += 1
        return total / times.view(-1, 1, 1)

    return whole


@torch.no_grad()
def draw_motion(
    model: "LFDM",
    denoise: Denoise,
    count: int,
    *,
    num_frames: int | None = None,
    sampler: str = "dpm++",
    steps: int = 20,
    spacing: float | int = 1,
    seed: int | list[int] = 0,
    progress: bool = False,
) -> Motion:
    """Motions of `count` clips, drawn as `LFDM.generate` draws them, with a denoiser of one's own.

    Args:
        denoise: of the pictures' features and all that is asked; for instance from `samplers.guided`, or `composed`.
        seed: gives clip i the noise that it has in `generate`; or one for each clip, in a list.

    Raises:
        ValueError: an unknown sampler, numbers out of range, or seeds of another number of clips.
    """
    from .generated import clip_generators

    how = sampling(model, num_frames, None, sampler, steps, seed, spacing=spacing)
    count = whole_number("count", count, 1)
    seeds = how.seed * count if isinstance(how.seed, list) and len(how.seed) == 1 else how.seed
    if isinstance(seeds, list) and len(seeds) != count:
        raise ValueError(f"got {len(seeds)} seeds and {count} clips: give one seed, or as many as clips")
    side = model.image_size // model.autoencoder.config.flow_stride
    shape = (count, model.unet.config.channels, how.num_frames, side, side)
    options: dict[str, Any] = dict(sampler=sampler, steps=how.steps, spacing=how.spacing, progress=progress)
    x0 = sample(model.diffusion, denoise, shape, generator=clip_generators(seeds, count), **options)
    return model.diffusion.unpack_motion(x0)

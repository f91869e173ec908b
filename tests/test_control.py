"""What is true of control: asking for what is there changes nothing, and what is asked for can be measured."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch.testing import assert_close

from lfdm_lite import LFDM, DiffusionConfig, GaussianDiffusion, Motion, asset
from lfdm_lite.control import (
    composed,
    draw_motion,
    exaggerated,
    mask_of,
    mixed,
    only,
    pulled,
    retimed,
    scaled,
    timing,
    windowed,
)
from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.acting.expressions import Pose, perform
from lfdm_lite.data.drawn.engine.scenes import render
from lfdm_lite.data.drawn.people.portraits import portrait
from lfdm_lite.data.drawn.people.subjects import subject_look
from lfdm_lite.samplers import guided, sample

from .test_pipeline import tiny_model


def some_motion(seed: int = 0, frames: int = 6) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    flow = 0.2 * torch.randn(2, 2, frames, 8, 8, generator=generator)
    return Motion(flow, torch.rand(2, 1, frames, 8, 8, generator=generator))


def drawn(index: int, strength: float) -> Motion:
    """True motion of a drawn face, all of whose pose is multiplied with `strength`."""
    faces = Faces("val", size=64, num_frames=16)
    label, subject, rng = faces._cast(index)
    full = perform(faces.labels[label], 16, rng)
    pose = replace(full, **{part.name: strength * getattr(full, part.name) for part in fields(Pose)})
    _, flow, visible, _ = render(portrait(subject_look(subject), pose), 64, 16)
    return Motion(flow[None], visible[None].float())


def test_full_strength_changes_nothing_and_none_is_rest():
    motion = some_motion()
    assert_close(scaled(motion, 1), motion, rtol=0, atol=0)
    rest = scaled(motion, 0)
    assert not rest.flow.any() and torch.equal(rest.occlusion, motion.occlusion[:, :, :1].expand_as(rest.occlusion))
    of_one_frame = scaled(Motion(*(maps[:, :, 3] for maps in motion)), 0)  # whose rest is not known
    assert not of_one_frame.flow.any() and bool((of_one_frame.occlusion == 1).all())


@pytest.mark.parametrize("one, two", [(0.5, 0.5), (0.2, 1.0), (0.9, 0.3)])
def test_two_scalings_are_one_by_the_product(one, two):
    motion = some_motion()
    assert_close(scaled(scaled(motion, one), two), scaled(motion, one * two))


def test_the_map_stays_in_range_and_more_is_hidden_above_full_strength():
    motion = some_motion()
    for strength in (0, 0.3, 1, 1.5):
        assert_close(scaled(motion, strength).flow, strength * motion.flow)
        assert 0 <= scaled(motion, strength).occlusion.min() and scaled(motion, strength).occlusion.max() <= 1
    maps = torch.tensor([0.9, 0.5, 0.3, 1.0]).view(1, 1, 4, 1, 1)  # at rest, and then less and more of it is seen
    stronger = scaled(Motion(torch.zeros(1, 2, 4, 1, 1), maps), 1.5).occlusion.flatten()
    assert_close(stronger, torch.tensor([0.9, 0.3, 0.0, 1.0]))


def test_half_of_a_drawn_motion_is_nearer_to_the_truth_than_none_and_than_all():
    pairs = [(drawn(i, 1.0), drawn(i, 0.5)) for i in range(6)]
    full, half = (Motion(*map(torch.cat, zip(*motions, strict=True))) for motions in zip(*pairs, strict=True))
    both = (full.occlusion * half.occlusion)[:, 0].bool()  # where both flows are known

    def errors(guess: Motion) -> tuple[float, float]:
        far = (guess.flow - half.flow).norm(dim=1)[both].mean()
        return float(far), float((guess.occlusion - half.occlusion).square().mean())

    asked, kept, none = (errors(scaled(full, s)) for s in (0.5, 1, 0))
    kept_map = errors(Motion(0.5 * full.flow, full.occlusion))
    assert asked[0] < 0.5 * min(kept[0], none[0])
    assert asked[1] < 0.9 * min(kept_map[1], none[1])


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match=r"^strength=.*between 0 \(rest\) and 1.5"):
        scaled(some_motion(), strength)


# When


def rising(begin: float, rise: float, frames: int = 16, sway: float = 0.0) -> Motion:
    """One clip, all of whose pixels move alike: on a straight line to 0.3 that begins and takes as given."""
    level = ((torch.arange(frames) - begin) / rise).clamp(0, 1) + sway * torch.arange(frames) / frames
    level = level[None, None, :, None, None]
    return Motion(0.3 * level.expand(1, 2, -1, 4, 4), 1 - 0.5 * level.clamp(max=1).expand(1, 1, -1, 4, 4))


@pytest.mark.parametrize("begin, rise", [(2.0, 4.0), (3.0, 8.0), (0.0, 10.0), (4.5, 6.0)])
def test_onset_and_duration_of_a_straight_line_are_found(begin, rise):
    assert_close(timing(rising(begin, rise)), (torch.tensor([begin]), torch.tensor([rise])))


def test_a_clip_at_rest_has_a_timing_and_stays_at_rest():
    rest = scaled(some_motion(), 0)
    assert_close(timing(rest), (torch.zeros(2), torch.ones(2)))
    assert_close(retimed(rest, 3, 2.5), rest, rtol=0, atol=0)


@pytest.mark.parametrize("motion", [some_motion(), drawn(0, 1.0), some_motion(3, frames=1)])
def test_its_own_timing_changes_nothing(motion):
    assert_close(retimed(motion, *timing(motion)), motion, rtol=0, atol=1e-5)


@pytest.mark.parametrize("onset, duration", [(5, 4), (0.0, 12), (7.0, 8)])
def test_what_is_asked_for_is_what_a_straight_line_then_does(onset, duration):
    motion = retimed(rising(2.0, 4.0), onset, duration)
    assert_close(motion, rising(onset, duration), rtol=0, atol=1e-5)


def test_drawn_faces_begin_later_and_slower_when_asked_each_by_itself():
    motion = Motion(*map(torch.cat, zip(*(drawn(i, 1.0) for i in (0, 3, 4)), strict=True)))
    onset, duration = torch.tensor([3.0, 5.0, 7.0]), torch.tensor([4.0, 6.0, 8.0])
    later = retimed(motion, onset, duration)
    assert_close(timing(later), (onset, duration), rtol=0, atol=0.5)
    assert_close(later.flow[:1], retimed(Motion(*(maps[:1] for maps in motion)), 3, 4).flow)
    after = retimed(motion, -40, 4)  # all over before the clip begins: its last frame is held
    assert_close(after.flow, motion.flow[:, :, -1:].expand_as(motion.flow))
    before = retimed(motion, 40, 4)
    assert not before.flow.any() and bool((before.occlusion == 1).all())


@pytest.mark.parametrize("onset, duration", [(0, 0), (1, -2), (math.nan, 3), (2, math.inf), (torch.zeros(3), 2)])
def test_impossible_timings_are_refused(onset, duration):
    with pytest.raises(ValueError, match=r"^onset=.*, duration=.*: give frames, duration above 0, .* each of 2$"):
        retimed(some_motion(), onset, duration)
    with pytest.raises(ValueError, match="has no time"):
        timing(Motion(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)))


@pytest.mark.parametrize("duration", [5e-324, 1e-46, 1e-40, 1e-3, 1e30, 1e300])
@pytest.mark.parametrize("onset", [-1e300, -3, 2, 2.5, 1e300])
def test_any_duration_above_0_makes_numbers_of_the_clip(onset, duration):
    motion = some_motion()
    moved = retimed(motion, onset, duration)
    assert bool(moved.flow.isfinite().all()) and moved.flow.norm(dim=1).max() <= motion.flow.norm(dim=1).max() + 1e-5
    if onset == 2.5 and duration < 0.1:  # it jumps: rest, then what it ends with
        assert not moved.flow[:, :, :3].any()
        assert_close(moved.flow[:, :, 3:], motion.flow[:, :, -1:].expand(-1, -1, 3, -1, -1))


# Where


def test_a_full_mask_changes_nothing_an_empty_one_leaves_rest_and_softness_keeps_both():
    motion = some_motion()
    for softness in (0, 0.7, 5):
        assert_close(only(motion, torch.ones(8, 8), softness), motion)
        assert_close(only(motion, torch.zeros(8, 8), softness), scaled(motion, 0))
    assert_close(only(motion, torch.full((8, 8), 0.3)), scaled(motion, 0.3))


def test_halves_add_up_and_lie_where_one_sees_them():
    left, right = mask_of("left_half", 6, 10), mask_of("right_half", 6, 10)
    assert_close(left + right, torch.ones(6, 10))
    assert bool(left[:, :5].all()) and not left[:, 5:].any()
    motion = Motion(some_motion().flow[..., :6, :], some_motion().occlusion[..., :6, :])
    halves = [only(motion, mask_of(name, 6, 8), 0) for name in ("left_half", "right_half")]
    assert_close(halves[0].flow + halves[1].flow, motion.flow)
    assert_close(halves[0].occlusion + halves[1].occlusion, motion.occlusion[:, :, :1] + motion.occlusion)
    assert mask_of((-0.5, -1.0, 0.5, 0.0), 4, 8).nonzero().amin(0).tolist() == [0, 2]
    assert mask_of((-0.5, -1.0, 0.5, 0.0), 4, 8).sum() == 2 * 4


def test_a_soft_border_is_made_by_the_gaussian_window():
    from scipy.ndimage import gaussian_filter

    mask = mask_of((-0.4, -0.3, 0.3, 0.5), 32, 48)
    motion = Motion(torch.ones(1, 2, 32, 48), torch.zeros(1, 1, 32, 48))
    blurred = gaussian_filter(mask.double().numpy(), 1.2, truncate=8)
    expected = torch.from_numpy((2 * blurred - 1).clip(0) * mask.double().numpy())
    assert_close(only(motion, mask, 1.2).flow[0, 0].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("softness", [0, 0.5, 1, 3])
def test_nothing_moves_outside_of_a_mask_however_soft_its_border(softness):
    motion, mask = some_motion(), mask_of((-0.5, -0.5, 0.8, 0.6), 8, 8)
    part = only(motion, mask, softness)
    assert not part.flow[..., mask == 0].any()
    rest = motion.occlusion[:, :, :1].expand_as(motion.occlusion)
    assert torch.equal(part.occlusion[..., mask == 0], rest[..., mask == 0])
    share = (part.flow / motion.flow)[0, 0, 0]
    assert bool((share <= mask + 1e-6).all())
    if softness == 1:  # along a row it rises inwards from one border, and falls to the other
        row = share[4, 2:7]
        assert row[0] < row[1] < row[2] and row[4] < row[3]


@pytest.mark.parametrize("part", ["brows", "eyes", "mouth"])
def test_the_boxes_of_a_face_hold_the_parts_that_they_are_called_by(part):
    faces = Faces("val", size=64, num_frames=16)
    shown = torch.stack([faces.part_map(i) for i in range(6)]) == faces.parts.index(part)
    inside = shown * mask_of(part, 64, 64)
    assert inside.sum() > 0.9 * shown.sum()
    assert mask_of(part, 64, 64).mean() < 0.26


def test_masks_and_places_that_cannot_be_are_refused():
    motion = some_motion()
    for mask, softness in [(torch.ones(4, 4), 1), (torch.full((8, 8), 1.1), 1), (torch.ones(8, 8), -1)]:
        with pytest.raises(ValueError, match=r"^a mask of .*give a mask of \(8, 8\).*softness of 0 or more$"):
            only(motion, mask, softness)
    for place in ("ear", "", "abcd", (0.5, 0.0, 0.1, 1.0), (math.nan, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, math.inf)):
        with pytest.raises(ValueError, match=r"^place .*: give one of left_half, right_half, brows, eyes, mouth"):
            mask_of(place, 8, 8)
    for place in ((0.0, 0.0, 0.001, 0.001), (10.0, 40.0, 50.0, 60.0)):  # between the pixels; in pixels
        with pytest.raises(ValueError, match=r"holds no pixel of maps of 8x8, which span -1 to 1: give a larger one$"):
            mask_of(place, 8, 8)
    for softness in (1e-46, 1e-30):  # sharp, whatever the precision makes of it
        mask = mask_of("left_half", 8, 8)
        assert_close(only(motion, mask, softness), only(motion, mask, 0))


# Of what mixture


def test_mixtures_are_linear_and_of_one_motion_that_motion():
    one, two = some_motion(1), some_motion(2)
    assert_close(mixed([one], [1]), one)
    assert_close(mixed([one, two], [0.0, 1.0]), two)
    assert_close(mixed([one, two], [0.3, 0.7]), mixed([two, one], [0.7, 0.3]))
    assert_close(mixed([one, scaled(one, 0)], [0.4, 0.6]), scaled(one, 0.4))


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5], [1.0], [float("nan"), 1.0]])
def test_weights_that_are_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="^weights .*one weight each, >= 0 and 1 in sum$"):
        mixed([some_motion(1), some_motion(2)], weights)
    with pytest.raises(ValueError, match="give equal shapes"):
        mixed([some_motion(frames=3), some_motion(frames=4)], [0.5, 0.5])


class Gaussians:
    """The perfect denoiser of one number, whose mean is the label's and whose deviation is 0.4 for all."""

    null_label = 3
    means = torch.tensor([-1.0, 0.5, 2.0, 0.2])

    def __init__(self, diffusion: GaussianDiffusion) -> None:
        self.diffusion, self.told = diffusion, []

    def __call__(self, x, t, features, label, *numbers):
        self.told.append((label, *numbers))
        (alpha, sigma), mean = self.diffusion.at(t, x), self.means[label].view(-1, 1, 1, 1, 1)
        x0 = mean + alpha * 0.16 / (alpha**2 * 0.16 + sigma**2) * (x - alpha * mean)
        return self.diffusion.target(x0, (x - alpha * x0) / sigma, t)


@pytest.mark.parametrize("parameterization", ["eps", "v", "x0"])
def test_composed_labels_draw_from_the_composed_distribution(parameterization):
    diffusion = GaussianDiffusion(DiffusionConfig(parameterization=parameterization))
    count, weights, scale = 2000, (0.7, 0.6), 1.5
    labels = torch.tensor([[0, 2]]).expand(count, -1)
    denoise = composed(Gaussians(diffusion), torch.zeros(count, 1, 1, 1), labels, weights, scale)
    x = sample(
        diffusion,
        denoise,
        (count, 1, 1, 1, 1),
        steps=25,
        generator=torch.Generator().manual_seed(0),
        progress=False,
    )
    # Of Gaussians of one variance, p_u prod (p_i / p_u)^(s w_i) is a Gaussian again, of the shifted mean.
    mean = 0.2 + scale * (0.7 * (-1.0 - 0.2) + 0.6 * (2.0 - 0.2))
    assert x.mean().item() == pytest.approx(mean, abs=0.05)
    assert x.std().item() == pytest.approx(0.4, abs=0.03)


def test_one_label_of_weight_one_is_guidance_and_weight_given_to_one_label_alone_too():
    diffusion = GaussianDiffusion(DiffusionConfig())
    x, t = torch.randn(2, 1, 2, 1, 1, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700])
    features, labels = torch.zeros(2, 1, 1, 1), torch.tensor([[0, 1], [2, 0]])
    numbers = torch.tensor([[1.2], [float("nan")]])
    network = Gaussians(diffusion)
    expected = guided(network, features, labels[:, 0], 1.7, numbers)(x, t)
    network.told.clear()
    assert_close(composed(network, features, labels[:, :1], [1], 1.7, numbers)(x, t), expected)
    told = {tuple(label.tolist()): given for label, given in network.told}
    assert_close(told[0, 2], numbers, equal_nan=True)
    assert told[3, 3].isnan().all()
    assert_close(composed(network, features, labels, [1.0, 0.0], 1.7, numbers)(x, t), expected)
    equal = labels[:, :1].expand(-1, 2)
    assert_close(composed(network, features, equal, [0.4, 0.6], 1.7, numbers)(x, t), expected)
    for weights in ([1.0], [1.0, float("inf")]):
        with pytest.raises(ValueError, match="^weights .* of 2 labels: give one finite number for each label$"):
            composed(network, features, labels, weights)


def test_a_wish_that_is_exaggerated_goes_as_much_farther_and_guidance_is_a_case_of_it():
    diffusion = GaussianDiffusion(DiffusionConfig())
    network, features, count = Gaussians(diffusion), torch.zeros(2000, 1, 1, 1), 2000
    label = lambda k: torch.full((count,), k)
    plain, asked, none = (guided(network, features, label(k), s) for k, s in ((0, 1.0), (1, 1.0), (1, 0.0)))
    x, t = torch.randn(count, 1, 2, 1, 1, generator=torch.Generator().manual_seed(0)), torch.full((count,), 600)
    assert_close(exaggerated(plain, asked, 0)(x, t), plain(x, t))
    assert_close(exaggerated(plain, asked, 1)(x, t), asked(x, t))
    assert_close(exaggerated(none, asked, 1.7)(x, t), guided(network, features, label(1), 1.7)(x, t))
    generator = torch.Generator().manual_seed(1)
    options = dict(steps=25, generator=generator, progress=False)
    drawn = sample(diffusion, exaggerated(plain, asked, 2.0), (count, 1, 1, 1, 1), **options)
    assert drawn.mean().item() == pytest.approx(-1.0 + 2 * (0.5 + 1.0), abs=0.05)  # twice as far, from mean to mean
    assert drawn.std().item() == pytest.approx(0.4, abs=0.03)  # and no wider
    with pytest.raises(ValueError, match=r"^weight=inf: give a finite number"):
        exaggerated(plain, asked, math.inf)


# With the shipped model


def test_strength_0_repeats_the_picture_as_well_as_the_model_keeps_it():
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))
    picture = Faces("val", size=64, num_frames=1)[1]["video"][:, 0]
    made = model.generate(picture, "surprise", steps=4, seed=0, progress=False)
    motion = Motion(made.flow, made.occlusion)

    def psnr(video: torch.Tensor) -> float:
        return float(-10 * (video - picture[None, :, None]).square().mean().log10())

    with torch.no_grad():
        kept = psnr(model.autoencoder.reconstruct(picture[None, :, None]))
        rest, half, full = (psnr(model.autoencoder.decode(made.source, scaled(motion, s))) for s in (0, 0.5, 1))
    assert rest > kept - 3
    assert rest > half + 1 and half > full + 1, (kept, rest, half, full)


# A point that is dragged, and longer clips


class Correlated:
    """A perfect denoiser of clips whose flow is Gaussian: of one variance everywhere, all places correlated alike."""

    null_label, mean, spread, together = 3, 0.3, 1.0, 0.6

    def __init__(self, diffusion: GaussianDiffusion, size: int) -> None:
        self.diffusion = diffusion
        count = 2 * size * size  # x and y are apart
        block = torch.full((size * size, size * size), self.together) + (1 - self.together) * torch.eye(size * size)
        self.covariance = self.spread**2 * torch.block_diag(block, block)
        assert self.covariance.shape == (count, count)

    def __call__(self, x, t):
        alpha, sigma = self.diffusion.at(t, x)
        flow = x[:, :2].transpose(1, 2).flatten(2)  # b t n
        a, s = float(alpha.flatten()[0]), float(sigma.flatten()[0])
        gain = a * self.covariance @ torch.linalg.inv(a * a * self.covariance + s * s * torch.eye(len(self.covariance)))
        x0 = self.mean + (flow - a * self.mean) @ gain.T
        x0 = torch.cat([x0.unflatten(2, (2, *x.shape[-2:])).transpose(1, 2), x[:, 2:] * 0], dim=1)
        return self.diffusion.target(x0, (x - alpha * x0) / sigma, t)


@pytest.mark.parametrize("parameterization", ["v", "x0"])
def test_a_pulled_point_goes_where_it_is_asked_and_the_rest_follows_as_the_data_do(parameterization):
    config = DiffusionConfig(parameterization=parameterization, flow_std=(0.1, 0.1), motion="scaled")
    diffusion = GaussianDiffusion(config)
    size, count = 3, 400
    start = torch.tensor([[0.15, 0.0]])
    end = torch.zeros(1, 2)  # the pixel in the middle: flow (0.15, 0) there, 1.5 and 0 in the model's units
    denoise = pulled(diffusion, Correlated(diffusion, size), 1, start, end, tolerance=1e-4)
    generator = torch.Generator().manual_seed(0)
    x = sample(diffusion, denoise, (count, 3, 2, size, size), steps=40, generator=generator, progress=False)
    flow = x[:, :2]
    assert_close(flow[:, :, 1, 1, 1], torch.tensor([1.5, 0.0]).expand(count, 2), rtol=0, atol=0.05)
    # given the middle, the mean of every other place is mean + correlation (given - mean), in that frame alone
    corner = flow[:, :, 1, 0, 0].mean(dim=0)
    assert_close(corner, 0.3 + 0.6 * (torch.tensor([1.5, 0.0]) - 0.3), rtol=0, atol=0.15)
    assert_close(flow[:, :, 0].mean(dim=(0, 2, 3)), torch.full((2,), 0.3), rtol=0, atol=0.1)


def test_a_point_has_a_place_in_each_of_several_frames():
    diffusion = GaussianDiffusion(DiffusionConfig(flow_std=(0.1, 0.1), motion="scaled"))
    start, end = torch.tensor([[0.15, 0.0], [0.0, -0.1]]), torch.zeros(2, 2)
    denoise = pulled(diffusion, Correlated(diffusion, 3), (1, 2), start, end, tolerance=1e-4)
    generator = torch.Generator().manual_seed(0)
    x = sample(diffusion, denoise, (50, 3, 3, 3, 3), steps=40, generator=generator, progress=False)
    assert_close(x[:, :2, 1:, 1, 1].transpose(1, 2), (10 * start).expand(50, 2, 2), rtol=0, atol=0.1)


def test_impossible_handles_are_refused():
    diffusion, point, two = GaussianDiffusion(DiffusionConfig()), torch.zeros(1, 2), torch.zeros(2, 2)
    frames = [(0, point, point), (-1, point, point), ((1, 2), point, point), ((1, 2, 3), two, two)]
    places = [(3, point, two), (3, point, point + 2), (3, point, point * math.nan), (3, point[:0], point[:0])]
    for given in (*frames, *places, *((3, point, point, wide) for wide in (0, -1.0, math.nan, math.inf))):
        with pytest.raises(ValueError, match="^frame=.*: give a frame from 1, as many ends as starts"):
            pulled(diffusion, lambda x, t: x, *given)
    beyond = pulled(diffusion, lambda x, t: x, (1, 4), two, two)
    with pytest.raises(ValueError, match=r"^frame=\(1, 4\): a clip of 4 frames has them from 0 to 3$"):
        beyond(torch.zeros(1, 3, 4, 2, 2), torch.tensor([5]))


def test_windows_answer_in_the_middle_of_those_that_see_a_frame():
    frame_of = lambda x, t: torch.arange(x.shape[2]).float().view(1, 1, -1, 1, 1).expand_as(x)  # noqa: E731
    x, t = torch.zeros(2, 3, 7, 1, 1), torch.zeros(2, dtype=torch.long)
    answer = windowed(frame_of, 4, 2)(x, t)[0, 0, :, 0, 0]  # windows from 0, 2 and 3
    assert_close(answer, torch.tensor([0, 1, (2 + 0) / 2, (3 + 1 + 0) / 3, (2 + 1) / 2, (3 + 2) / 2, 3]))
    assert_close(windowed(frame_of, 4, 2)(x[:, :, :4], t), frame_of(x[:, :, :4], t))
    assert_close(windowed(frame_of, 9, 2)(x, t), frame_of(x, t))
    for length, step in ((0, 1), (4, 5), (4, 0)):
        with pytest.raises(ValueError, match="^length=.*, step=.*: give a length"):
            windowed(frame_of, length, step)


def test_motions_are_drawn_as_generate_draws_them():
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))
    picture = Faces("val", size=64, num_frames=1)[1]["video"][:, 0]
    made = model.generate(picture, "surprise", steps=2, seed=3, strength=0.8, progress=False)
    told, label = torch.tensor([[0.8, math.nan]]), torch.tensor([5])
    denoise = guided(model.unet, model.autoencoder.encode(picture[None]), label, model.guidance_scale, told)
    motion = draw_motion(model, denoise, 1, steps=2, seed=3)
    assert_close(motion, Motion(made.flow, made.occlusion), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(num_frames=0), "num_frames is 0; expected a whole number at least 1"),
        (dict(count=0), "count is 0; expected a whole number at least 1"),
        (dict(steps=0), "steps is 0; expected a whole number from 1 to"),
        (dict(sampler="euler"), "sampler 'euler' is not one of: ddpm, ddim, dpm"),
        (dict(seed=[1, 2, 3]), "got 3 seeds and 2 clips: give one seed, or as many as clips"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(options, said):
    model = tiny_model()
    with pytest.raises(ValueError, match=f"^{said}"):
        draw_motion(model, lambda x, t: x, **{"count": 2, "steps": 1} | options)


def test_a_list_of_seeds_draws_each_clip_as_if_alone():
    model = tiny_model()
    denoise = lambda x, t: 0.3 * x  # noqa: E731
    both = draw_motion(model, denoise, 2, steps=2, seed=[4, 9])
    for i, seed in enumerate((4, 9)):
        assert_close(both.flow[i : i + 1], draw_motion(model, denoise, 1, steps=2, seed=seed).flow)
    assert_close(both.flow[:1].expand(2, -1, -1, -1, -1), draw_motion(model, denoise, 2, steps=2, seed=[4]).flow)

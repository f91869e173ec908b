"""What can be asked for beside an image: labels and numbers, given or not; and motion finer than the latent."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from lfdm_lite import LFDM, GaussianDiffusion, LatentFlowAutoencoder, UNet3D
from lfdm_lite.attention import sinusoids
from lfdm_lite.cli import main
from lfdm_lite.conditions import NumberEmbedding, NumberEmbeddings, NumberRange, drop
from lfdm_lite.data import Faces, Sketches
from lfdm_lite.data.drawn.acting.expressions import Acting
from lfdm_lite.diffusion import DiffusionConfig
from lfdm_lite.files.media import write_image
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.inputs import number_values
from lfdm_lite.samplers import guided, sample
from lfdm_lite.training.presets import PRESETS
from lfdm_lite.unet3d import UNet3DConfig

from .test_pipeline import LABELS, run
from .test_unet3d import SMALL, inputs, network

STRENGTH, TURN = NumberRange("strength", 0.4, 1.6), NumberRange("turn", -0.25, 0.25)
WIDE = Acting(strength=(0.5, 1.45), turn=0.2)
KNOWING = replace(SMALL, numbers=(STRENGTH, TURN))
NAN = math.nan
STEPS = 800


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- dropping


def dropped(null: float, alone: float, count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether label and numbers of many examples were dropped."""
    label, numbers = drop(torch.zeros(count, dtype=torch.long), torch.ones(count, 2), 6, null, alone, seeded())
    assert set(label.tolist()) <= {0, 6} and (numbers.isnan() | (numbers == 1)).all()
    return label == 6, numbers.isnan()


def test_all_is_dropped_together_and_each_number_by_itself():
    label, numbers = dropped(0.1, 0.5)
    nothing = label & numbers.all(dim=1)
    assert nothing.float().mean() == pytest.approx(0.1 + 0.9 * 0.1 * 0.25, abs=0.01)
    assert label.float().mean() == pytest.approx(0.1 + 0.9 * 0.1, abs=0.01)
    assert numbers.float().mean(dim=0).tolist() == pytest.approx([0.55, 0.55], abs=0.015)
    with_label = numbers[~label]
    for pattern in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (with_label == torch.tensor(pattern, dtype=torch.bool)).all(dim=1).float().mean()
        assert share == pytest.approx(0.25, abs=0.015), f"numbers dropped {pattern} beside a label"


def test_never_is_never_and_always_is_always():
    label, numbers = dropped(0.0, 0.0, 200)
    assert not label.any() and not numbers.any()
    label, numbers = dropped(1.0, 0.0, 200)
    assert label.all() and numbers.all()
    label, numbers = dropped(0.0, 1.0, 200)
    assert not label.any() and numbers.all()


def test_without_numbers_labels_are_dropped_by_the_same_dice_as_before_there_were_any():
    label = torch.arange(500) % 6
    (found,) = drop(label, None, 6, 0.3, 0.9, seeded(4))
    assert torch.equal(found, torch.where(torch.rand(500, generator=seeded(4)) < 0.3, 6, label))


def test_shares_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"number_null_probability=1.5: must be between 0 and 1"):
        DiffusionConfig(number_null_probability=1.5)


# ---------------------------------------------------------------- the network


def test_a_number_that_is_not_given_has_a_vector_of_its_own_and_spoils_no_gradient():
    embed = NumberEmbedding(STRENGTH, 8)
    torch.nn.init.normal_(embed.not_given)
    vectors = embed(torch.tensor([NAN, 0.4, 1.6, NAN]))
    assert torch.equal(vectors[0], embed.not_given) and torch.equal(vectors[3], embed.not_given)
    assert_close(vectors[1:3], embed.layers(torch.tensor([[-1.0], [1.0]])))
    vectors.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in embed.parameters())


def test_a_network_that_is_told_nothing_is_the_network_that_knows_no_numbers():
    """So checkpoints from before there were numbers load, name by name, and answer bit by bit as they did."""
    torch.manual_seed(0)
    plain, knowing, given = network(SMALL), network(KNOWING), inputs()
    assert not any(name.startswith("numbers") for name in plain.state_dict())
    missing, unexpected = knowing.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(name.startswith("numbers.") for name in missing)
    nothing = torch.full((2, 2), NAN)
    assert torch.equal(plain(**given), knowing(**given))
    assert torch.equal(plain(**given), knowing(**given, numbers=nothing))
    assert (plain(**given) - knowing(**given, numbers=torch.ones(2, 2))).abs().max() > 1e-4


@pytest.mark.parametrize("column", [0, 1])
def test_every_number_matters_and_so_does_whether_it_is_given(column):
    unet, given = network(KNOWING), inputs()
    torch.nn.init.normal_(unet.numbers[column].not_given)
    low, high, none = (torch.tensor([[1.0, 0.0]] * 2) for _ in range(3))
    high[:, column] += 0.2
    none[:, column] = NAN
    answers = [unet(**given, numbers=numbers) for numbers in (low, high, none)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (answers[a] - answers[b]).abs().max() > 1e-3


def test_numbers_of_one_clip_do_not_reach_another():
    unet, given = network(KNOWING), inputs()
    one = unet(**given, numbers=torch.tensor([[0.5, 0.0], [1.0, 0.1]]))
    other = unet(**given, numbers=torch.tensor([[0.5, 0.0], [NAN, -0.2]]))
    assert_close(one[0], other[0], atol=1e-5, rtol=1e-5)
    assert (one[1] - other[1]).abs().max() > 1e-3


def test_gradients_reach_every_parameter_of_the_numbers():
    unet = network(KNOWING).train()
    unet(**inputs(), numbers=torch.tensor([[0.5, NAN], [NAN, 0.1]])).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in unet.numbers.parameters())


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="got 1 numbers beside the label; the network knows: strength, turn"):
        network(KNOWING)(**inputs(), numbers=torch.ones(2, 1))
    with pytest.raises(ValueError, match="got 1 numbers beside the label; the network knows: none"):
        network(SMALL)(**inputs(), numbers=torch.ones(2, 1))
    with pytest.raises(ValueError, match="two have the same name"):
        replace(SMALL, numbers=(STRENGTH, STRENGTH))
    with pytest.raises(ValueError, match="number 'turn' is from 1 to 1: needs a name and a range"):
        NumberRange("turn", 1.0, 1.0)


# ---------------------------------------------------------------- finer motion


def test_a_patch_of_pixels_is_the_channels_of_one_place_on_the_way_in_and_out():
    """The network on unshuffled pixels is the network of more channels; shuffled back, pixels lie where they lay."""
    fine = network(replace(SMALL, patch=2))
    coarse = network(replace(SMALL, channels=12))
    coarse.load_state_dict(fine.state_dict())
    given = inputs(size=8)
    x = torch.randn(2, 3, 4, 16, 16, generator=seeded(1))
    folded = F.pixel_unshuffle(x.transpose(1, 2), 2).transpose(1, 2)
    expected = F.pixel_shuffle(coarse(**given | {"x": folded}).transpose(1, 2), 2).transpose(1, 2)
    answer = fine(**given | {"x": x})
    assert answer.shape == x.shape and answer.std() > 0.1
    assert torch.equal(answer, expected)
    assert torch.equal(fine.conv_in(x, given["features"]), coarse.conv_in(folded, given["features"]))


def test_a_patch_and_its_place_lie_one_above_the_other():
    """A poked pixel changes the entrance most where its patch is."""
    unet, features = network(replace(SMALL, patch=2, init_kernel=3)), torch.zeros(1, 5, 8, 8)
    x = torch.zeros(1, 3, 1, 16, 16)
    before = unet.conv_in(x, features)
    x[0, 0, 0, 5, 10] = 1.0  # row 5 and column 10 belong to row 2 and column 5 of the features
    changed = (unet.conv_in(x, features) - before)[0].abs().sum(dim=0)
    rows, columns = changed.nonzero().unbind(dim=1)
    assert rows.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3] and columns.tolist() == [4, 5, 6] * 3


def test_of_a_latent_that_is_finer_than_its_places_the_network_sees_the_mean():
    unet = network(replace(SMALL, patch=2))
    given = inputs(size=8) | {"x": torch.randn(2, 3, 4, 16, 16, generator=seeded(1))}
    finer = given["features"].repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    checks = torch.ones(16, 16)
    checks[::2, ::2] = checks[1::2, 1::2] = -1  # what is added evens out over every place
    torch.testing.assert_close(unet(**given | {"features": finer + checks}), unet(**given), atol=1e-5, rtol=1e-4)


def test_motion_that_does_not_fit_the_latent_is_refused_with_advice():
    unet = network(replace(SMALL, patch=2))
    with pytest.raises(ValueError, match="multiples of 4"):
        unet.check_size(torch.zeros(2, 3, 4, 10, 10), torch.zeros(2, 5, 5, 5))
    for size in (4, 12):
        with pytest.raises(ValueError, match=f"features are {size}x{size}, the motion is 16x16: they must have 8x8 pl"):
            unet.check_size(torch.zeros(2, 3, 4, 16, 16), torch.zeros(2, 5, size, size))
    with pytest.raises(ValueError, match="features are 16x8"):
        unet.check_size(torch.zeros(2, 3, 4, 16, 16), torch.zeros(2, 5, 16, 8))
    with pytest.raises(ValueError, match="patch=0: must be at least 1"):
        UNet3DConfig(patch=0)


# ---------------------------------------------------------------- learning


class Echo:
    """Remembers what it was told."""

    null_label = 6

    def __call__(self, x, t, features, *asked):
        self.asked = asked
        return torch.zeros_like(x)


def test_guidance_leads_away_from_what_is_told_nothing_at_all():
    echo, x = Echo(), torch.zeros(2, 3, 2, 4, 4)
    label, numbers = torch.tensor([0, 1]), torch.tensor([[0.5, 0.1], [NAN, 0.2]])
    guided(echo, x[:, :, 0], label, 2.0, numbers)(x, torch.tensor([5, 5]))
    told, values = echo.asked
    assert told.tolist() == [0, 1, 6, 6]
    assert_close(values, torch.cat([numbers, torch.full((2, 2), NAN)]), equal_nan=True)
    guided(echo, x[:, :, 0], label, 0.0, numbers)(x, torch.tensor([5, 5]))
    assert echo.asked[0].tolist() == [6, 6] and echo.asked[1].isnan().all()
    guided(echo, x[:, :, 0], label, 1.0, numbers)(x, torch.tensor([5, 5]))
    assert_close(echo.asked[1], numbers, equal_nan=True)
    guided(echo, x[:, :, 0], label, 1.0)(x, torch.tensor([5, 5]))
    assert len(echo.asked) == 1


def test_the_loss_tells_the_network_numbers_and_drops_some():
    echo, x0 = Echo(), torch.zeros(4000, 1, 1, 1, 1)
    process, label = GaussianDiffusion(DiffusionConfig()), torch.zeros(4000, dtype=torch.long)
    process.loss(echo, x0, x0[:, :, 0], label, seeded(), torch.ones(4000, 2))
    told, values = echo.asked
    assert 0.17 < (told == 6).float().mean() < 0.21 and 0.52 < values.isnan().float().mean() < 0.58


class Pixel(nn.Module):
    """A denoiser of one number, told what `UNet3D` is told in the way in which it is told."""

    null_label = 2

    def __init__(self, width: int = 48):
        super().__init__()
        self.label, self.numbers = nn.Embedding(3, width), NumberEmbeddings((STRENGTH,), width)
        self.layers = nn.Sequential(
            nn.Linear(1 + 16 + width, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1)
        )

    def forward(self, x, t, features, label, numbers=None):
        asked = self.numbers(self.label(label), numbers)
        return self.layers(torch.cat([x.flatten(1), sinusoids(t, 16), asked], dim=1)).reshape(x.shape)


def test_training_with_numbers_dropped_teaches_to_obey_strength_with_a_label_and_without():
    """Data: a flow to the left for label 0, to the right for label 1, as far as the strength says."""
    torch.manual_seed(0)
    network, diffusion, generator = Pixel(), GaussianDiffusion(DiffusionConfig(null_probability=0.3)), seeded()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        label = torch.randint(2, (256,), generator=generator)
        strength = STRENGTH.low + (STRENGTH.high - STRENGTH.low) * torch.rand(256, 1, generator=generator)
        x0 = ((2 * label - 1) * strength[:, 0]).view(256, 1, 1, 1, 1)
        optimizer.zero_grad()
        diffusion.loss(network, x0, x0[:, :, 0], label, generator, strength).backward()
        optimizer.step()
        schedule.step()

    def reached(label: int, strength: float, scale: float = 1.0) -> torch.Tensor:
        """Where 200 draws end."""
        x, labels = torch.zeros(200, 1, 1, 1, 1), torch.full((200,), label)
        denoise = guided(network, x[:, :, 0], labels, scale, torch.full((200, 1), strength))
        return sample(diffusion, denoise, x.shape, steps=20, generator=seeded(1), progress=False).flatten()

    for label, strength in itertools.product((0, 1), (0.5, 1.0, 1.5)):
        ends = (2 * label - 1) * reached(label, strength)
        assert ends.mean() == pytest.approx(strength, abs=0.08) and ends.std() < 0.25, (label, strength)
    either = reached(1, NAN)
    assert either.mean() == pytest.approx(1.0, abs=0.1) and either.std() == pytest.approx(1.2 / 12**0.5, abs=0.08)
    weak, strong = (reached(network.null_label, strength) for strength in (0.5, 1.5))
    assert 0.3 < (strong > 0).float().mean() < 0.7, "without a label, to either side"
    assert strong.abs().median() > 1.4 * weak.abs().median()
    assert reached(1, 0.5, scale=0.0).std() > 0.8, "without guidance it goes anywhere"


# ---------------------------------------------------------------- what clips say


def test_drawn_faces_say_how_strongly_they_act_and_how_far_heads_turn():
    faces = Faces("val", size=32, num_frames=4)
    said = [faces.told(i) for i in range(60)]
    assert all(0.8 <= one["strength"] <= 1.15 and abs(one["turn"]) < 0.25 for one in said)
    assert len({one["strength"] for one in said}) == 60 == len({one["turn"] for one in said})
    item = faces[7]
    assert {name: item[name] for name in ("strength", "turn")} == faces.told(7) == Sketches("val").told(7)
    assert all(type(value) is float for value in faces.told(7).values())


def test_wider_acting_changes_strength_and_turn_alone():
    usual, wide = Faces("val", size=32, num_frames=4), Faces("val", size=32, num_frames=4, acting=WIDE)
    assert torch.equal(usual[3]["video"][:, 0], wide[3]["video"][:, 0])
    strengths, turns = zip(*((wide.told(i)["strength"], wide.told(i)["turn"]) for i in range(300)), strict=True)
    assert 0.5 <= min(strengths) < 0.56 and 1.39 < max(strengths) <= 1.45
    assert np.mean(strengths) == pytest.approx(np.mean([usual.told(i)["strength"] for i in range(300)]), abs=0.04)
    assert 0.15 < max(turns) < 0.45 and -0.45 < min(turns) < -0.15
    usual_place, wide_place = (np.interp(f.told(3)["strength"], f.acting.strength, (0, 1)) for f in (usual, wide))
    assert usual_place == pytest.approx(wide_place), "the same dice"


def test_the_strength_scales_the_motion():
    weak, strong = (Faces("val", 32, 5, acting=Acting(strength=(s, s)))[5] for s in (0.4, 1.2))
    assert weak["strength"] == 0.4 and strong["strength"] == 1.2
    assert strong["flow"].norm(dim=0).mean() > 1.5 * weak["flow"].norm(dim=0).mean()


def test_the_turn_is_the_angle_by_which_the_true_flow_turns_the_head():
    """Between the eyes the flow is that of a rigid head; looking backward it turns the other way."""
    for index in (0, 1, 4):
        item = Faces("val", 64, 5, acting=Acting(strength=(0.0, 0.0), turn=0.4))[index]
        patch = item["flow"][:, -1, 28:37, 28:37]
        step = 2 / 64
        curl = (patch[1, :, 1:] - patch[1, :, :-1]).median() / step - (patch[0, 1:] - patch[0, :-1]).median() / step
        assert -math.asin((curl / 2).item()) == pytest.approx(item["turn"], abs=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": (1.2, 0.8)}, r"strength is \(1.2, 0.8\); give the least and the largest, 0 or more"),
        ({"strength": (-0.1, 1.0)}, "strength is"),
        ({"strength": (0.5, NAN)}, "strength is"),
        ({"turn": -0.1}, "turn is -0.1; give radians from 0 to 1.57"),
        ({"turn": NAN}, "turn is nan"),
    ],
)
def test_acting_that_nobody_can_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Acting(**options)


# ---------------------------------------------------------------- generating


def model_of(motion_stride: int | None = None, numbers: tuple[NumberRange, ...] = (STRENGTH, TURN)) -> LFDM:
    """A model of random weights that was told numbers, and whose motion may be finer than its latent."""
    tiny = PRESETS["tiny"]
    autoencoder = replace(tiny.autoencoder.model, motion_stride=motion_stride)
    patch = autoencoder.latent_stride // autoencoder.flow_stride
    torch.manual_seed(0)
    unet = UNet3D(replace(tiny.diffusion.unet, patch=patch, numbers=numbers))
    parts = LatentFlowAutoencoder(autoencoder), unet, GaussianDiffusion(tiny.diffusion.diffusion)
    model = LFDM(*parts, labels=LABELS, image_size=32)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return model_of(motion_stride=2)


@pytest.fixture
def image():
    return torch.rand(3, 40, 50, generator=seeded(1))


def test_a_model_of_finer_motion_sees_it_as_it_makes_it(model, image):
    made = run(model, image, "fear", strength=0.5)
    assert made.flow.shape == (1, 2, 4, 16, 16) and made.video.shape == (1, 3, 4, 32, 32)
    assert model.autoencoder.estimate_motion(made.source, made.video).flow.shape == made.flow.shape
    assert model.autoencoder.encode(made.source).shape[-2:] == (8, 8)


def test_a_clip_is_of_the_strength_and_turn_that_were_asked(model, image):
    usual, asked = run(model, image, "fear"), run(model, image, "fear", strength=0.5, turn=-0.1)
    assert not torch.allclose(usual.flow, asked.flow, atol=1e-4)
    assert usual.numbers == {"strength": [None], "turn": [None]} and usual.captions == ["fear"]
    assert asked.numbers == {"strength": [0.5], "turn": [-0.1]}
    assert asked.captions == ["fear (strength 0.5, turn -0.1)"] and "(strength 0.5, turn -0.1); seed 0" in repr(asked)
    assert not torch.allclose(asked.flow, run(model, image, "fear", strength=1.5, turn=-0.1).flow, atol=1e-4)


def test_without_guidance_nothing_that_is_asked_matters(model, image):
    free = [run(model, image, "fear", strength=s, guidance_scale=0).flow for s in (0.5, 1.5, None)]
    assert torch.equal(free[0], free[1]) and torch.equal(free[0], free[2])


def test_several_strengths_make_a_batch(model, image):
    made = run(model, image, "fear", strength=[0.5, None, np.float32(1.5)], turn=0.1)
    assert made.numbers == {"strength": [0.5, None, 1.5], "turn": [0.1] * 3} and len(made) == 3
    alone = run(model, image, "fear", strength=0.5, turn=0.1)
    assert_close(made.video[:1], alone.video, atol=1e-4, rtol=1e-4)
    part = made[[2, 0]]
    assert part.numbers == {"strength": [1.5, 0.5], "turn": [0.1, 0.1]}
    assert part.captions == ["fear (strength 1.5, turn 0.1)", "fear (strength 0.5, turn 0.1)"]
    with pytest.raises(ValueError, match="got 2 labels and 3 numbers: give one of each, or as many of all"):
        run(model, image, ["fear", "anger"], strength=[0.5, 0.6, 0.7])
    with pytest.raises(ValueError, match="got 3 values of strength and 2 values of turn: give one of each"):
        run(model, image, "fear", strength=[0.5, 0.6, 0.7], turn=[0.1, 0.2])


def test_what_was_asked_stands_in_files_and_notebooks(model, image, tmp_path):
    made = run(model, image, ["fear", "anger"], strength=[0.5, 1.5])
    assert "anger (strength 1.5)</figcaption>" in made._repr_html_()
    plain = replace(made, numbers={})
    for suffix in (".gif", ".png"):
        told, untold = (part.save(tmp_path / f"{name}{suffix}") for part, name in ((made, "a"), (plain, "b")))
        assert told.read_bytes() != untold.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.3}, "strength is 0.3; expected a number from 0.4 to 1.6, between which this model was trained"),
        ({"strength": 1.61}, "strength is 1.61; expected a number from 0.4 to 1.6"),
        ({"strength": "strong"}, "strength is 'strong'; expected a number"),
        ({"strength": NAN}, "strength is nan; expected a number"),
        ({"strength": True}, "strength is True; expected a number"),
        ({"strength": []}, "no strength was given; leave it out, or give a number"),
        ({"turn": [0.1, 0.5]}, "turn is 0.5; expected a number from -0.25 to 0.25"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(model, image, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        run(model, image, "fear", **options)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_know_a_number_says_what_it_knows(image):
    with pytest.raises(ValueError, match="strength is 0.5; this model was trained with labels alone: leave strength"):
        run(model_of(numbers=()), image, "fear", strength=0.5)
    with pytest.raises(ValueError, match="turn is 0.1; this model knows strength: leave turn out"):
        run(model_of(numbers=(STRENGTH,)), image, "fear", turn=0.1)


def test_numbers_may_be_of_whatever_make():
    expected = torch.tensor([[0.5, NAN], [1.0, NAN]], dtype=torch.float64)
    for given in ([0.5, 1], (np.float64(0.5), torch.tensor(1.0)), np.array([0.5, 1]), torch.tensor([0.5, 1.0])):
        assert_close(number_values((STRENGTH, TURN), {"strength": given}), expected, equal_nan=True)
    for given in (0.5, np.float64(0.5), torch.tensor(0.5), np.array([0.5])):
        assert number_values((STRENGTH,), {"strength": given, "turn": None}).tolist() == [[0.5]]
    assert number_values((), {"strength": None}).shape == (1, 0)


def test_a_model_that_knows_numbers_is_read_back_as_it_was(model, image, tmp_path):
    folder = model.save_pretrained(tmp_path / "model")
    back = LFDM.from_pretrained(folder)
    assert back.unet.config == model.unet.config and back.unet.config.numbers == (STRENGTH, TURN)
    asked = {"strength": 0.7, "turn": 0.1}
    assert torch.equal(run(back, image, "fear", **asked).video, run(model, image, "fear", **asked).video)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"high": 1.6', '"high": 0.1'))
    with pytest.raises(CheckpointError, match="number 'strength' is from 0.4 to 0.1"):
        LFDM.from_pretrained(folder)


def test_parts_whose_motions_differ_are_refused(model):
    parts = model_of().unet, model.diffusion
    with pytest.raises(ValueError, match="holds 1 pixels of motion a side; .* holds 2: patch must be that"):
        LFDM(model.autoencoder, *parts, labels=LABELS, image_size=32)


def test_the_command_asks_for_strength_and_turn(model, tmp_path, capsys):
    folder, picture = model.save_pretrained(tmp_path / "model"), tmp_path / "face.png"
    write_image(picture, torch.rand(3, 32, 32, generator=seeded()))
    words = f"generate {picture} --label fear --seed 0 --steps 2 --checkpoint {folder} --out {tmp_path / 'out.gif'}"
    assert main([*words.split(), "--strength", "0.5", "--turn", "-0.1"]) == 0
    told = (tmp_path / "out.gif").read_bytes()
    assert main(words.split()) == 0 and (tmp_path / "out.gif").read_bytes() != told
    capsys.readouterr()
    assert main([*words.split(), "--strength", "3"]) == 2
    assert capsys.readouterr().err == "lfdm: error: --strength is 3; expected a number from 0 (rest) to 1.5\n"
    assert main([*words.split(), "--turn", "3"]) == 2
    assert ", between which this model was trained\n" in capsys.readouterr().err
    assert main(["info", str(folder)]) == 0
    said = capsys.readouterr().out
    assert all(line in said for line in ("name: strength", "low: 0.4", "high: 1.6", "patch: 2"))

"""What is true of LaMD: a motion image without a time axis, frames painted from it, a denoiser that never sees time."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from lfdm_lite import cli
from lfdm_lite.baselines.discriminator import PatchDiscriminator, adversarial_losses
from lfdm_lite.baselines.lamd import LaMDCodec, LaMDConfig
from lfdm_lite.baselines.ldm import kl_to_standard_normal
from lfdm_lite.baselines.rivals import Rival, load_codec
from lfdm_lite.baselines.unet2d import CrossAttention, UNet2D, UNet2DConfig, places
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.training import PRESETS, both_stages
from lfdm_lite.training.rivals import LaMDCodecRun
from lfdm_lite.training.stages import rivals as stages
from lfdm_lite.unet3d import UNet3D, UNet3DConfig

SMALL = LaMDConfig(motion_channels=2, num_frames=4, width=8, feature_channels=16, motion_width=8, num_residual=1)
DENOISER = UNet2DConfig(
    feature_channels=16, num_labels=3, channels=2, dim=16, dim_mults=(1, 2), heads=2, head_dim=8
)  # fmt: skip


def codec(config: LaMDConfig = SMALL) -> LaMDCodec:
    """A small one whose zero-initialized last layer is opened, so that frames depend on all inputs."""
    torch.manual_seed(0)
    network = LaMDCodec(config)
    torch.nn.init.normal_(network.to_image.weight, std=0.02)
    return network.eval()


def denoiser(config: UNet2DConfig = DENOISER) -> UNet2D:
    """A small network whose zero-initialized head is opened, so that its output depends on its input."""
    torch.manual_seed(0)
    network = UNet2D(config)
    torch.nn.init.normal_(network.head.weight)
    return network.eval()


def clip(b: int = 2, t: int = 4, size: int = 16, seed: int = 0) -> torch.Tensor:
    """A bright square on grey that moves to the right, to another end in each clip."""
    g = torch.Generator().manual_seed(seed)
    video = 0.3 + 0.02 * torch.rand(b, 3, 1, size, size, generator=g).expand(b, 3, t, size, size).clone()
    for i, (row, end) in enumerate(zip(torch.randint(size - 6, (b,), generator=g), range(b), strict=True)):
        for k in range(t):
            left = round(k * (2 + 4 * end) * size / 16 / max(t - 1, 1) / max(b - 1, 1))
            video[i, :, k, row : row + 6, left : left + 6] = 0.9
    return video


def inputs(b: int = 2, size: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return dict(
        x=torch.randn(b, 2, size, size, generator=g),
        t=torch.randint(1000, (b,), generator=g),
        features=torch.randn(b, 16, size, size, generator=g),
        label=torch.randint(3, (b,), generator=g),
    )


def multiply_adds(compute) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute()
    return counter.get_total_flops() // 2


# ---------------------------------------------------------------- stage one


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("frames", [4, 8, 11])
def test_the_motion_image_has_no_time_axis(channels, frames):
    network = codec(replace(SMALL, motion_channels=channels))
    packed = network.pack(clip(t=frames))
    assert packed.shape == (2, channels, 4, 4)
    assert packed.shape[1:] == network.shape(frames, 16)


@pytest.mark.parametrize("trained", [2, 5, 16])
def test_time_is_halved_away_for_any_number_of_trained_frames(trained):
    network = codec(replace(SMALL, num_frames=trained))
    assert network.pack(clip(t=trained)).shape == (2, 2, 4, 4)


def test_a_longer_clip_is_seen_at_as_many_frames_evenly_spread():
    network = codec()
    long = clip(t=4).repeat_interleave(2, dim=2)  # frames 0, 2, 5, 7 of eight are the four
    assert_close(network.pack(long), network.pack(clip(t=4)))


def test_any_number_of_frames_is_painted_and_common_times_look_the_same():
    network, source, motion = codec(), clip()[:, :, 0], torch.randn(2, 2, 4, 4)
    few, many = (network.unpack(motion, source, count) for count in (3, 33))
    assert few.shape == (2, 3, 3, 16, 16)
    assert many.shape == (2, 3, 33, 16, 16)
    assert_close(many[:, :, ::16], few, atol=1e-5, rtol=0)


def test_frames_painted_in_pieces_are_those_painted_at_once(monkeypatch):
    network, source, motion = codec(), clip()[:, :, 0], torch.randn(2, 2, 4, 4)
    with torch.no_grad():
        whole = network.unpack(motion, source, 8)
        monkeypatch.setattr("lfdm_lite.memory.FRAMES_PIECE", 1)
        assert_close(network.unpack(motion, source, 8), whole, atol=1e-5, rtol=0)


def test_every_input_of_the_decoder_matters():
    network = codec()
    source, motion, times = clip()[:, :, 0], torch.randn(2, 2, 4, 4), torch.tensor([[0.2], [0.7]])
    painted = network.decode(source, motion, times)
    assert (network.decode(1 - source, motion, times) - painted).abs().max() > 1e-4
    assert (network.decode(source, -motion, times) - painted).abs().max() > 1e-4
    assert (network.decode(source, motion, 1 - times) - painted).abs().max() > 1e-4


def test_an_untrained_decoder_repeats_frame_0_or_paints_grey():
    source, motion = clip()[:, :, 0], torch.randn(2, 2, 4, 4)
    repeated = LaMDCodec(SMALL).eval().unpack(motion, source, 3)
    assert_close(repeated, source[:, :, None].expand_as(repeated))
    grey = LaMDCodec(replace(SMALL, difference=False)).eval().unpack(motion, source, 3)
    assert (grey - 0.5).abs().max() < 0.4


def test_the_order_of_frames_changes_the_motion_image():
    network = codec()
    video = clip()
    backwards = torch.cat([video[:, :, :1], video[:, :, 1:].flip(2)], dim=2)
    assert (network.pack(backwards) - network.pack(video)).abs().max() > 1e-4


def test_clips_of_a_batch_do_not_see_each_other():
    network, video = codec(), clip(b=3)
    order = torch.tensor([2, 0, 1])
    assert_close(network.pack(video[order]), network.pack(video)[order], atol=1e-5, rtol=1e-5)
    motion, source = network.pack(video), video[:, :, 0]
    shuffled = network.unpack(motion[order], source[order], 4)
    assert_close(shuffled, network.unpack(motion, source, 4)[order], atol=1e-5, rtol=0)


def test_the_divergence_is_that_of_torch():
    g = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 3, 4, 4, generator=g), torch.randn(2, 3, 4, 4, generator=g)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean()
    assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_a_training_step_draws_from_the_gaussian_that_it_reports(monkeypatch):
    network, video, times = codec(), clip(), torch.tensor([[0.5, 1.0], [0.0, 0.3]])
    torch.manual_seed(3)
    painted, mean, log_variance = network(video, times)
    torch.manual_seed(3)
    draw = Normal(mean, (log_variance / 2).exp()).rsample()
    assert_close(painted, network.decode(video[:, :, 0], draw, times), atol=1e-5, rtol=0)


def test_a_few_steps_teach_the_codec_moving_squares():
    torch.manual_seed(0)
    network = LaMDCodec(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    video, times = clip(b=4), torch.linspace(0, 1, 4).expand(4, -1)
    losses = []
    for _ in range(150):
        painted, mean, log_variance = network(video, times)
        loss = F.l1_loss(painted, video) + 1e-3 * kl_to_standard_normal(mean, log_variance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    network.eval()
    with torch.no_grad():
        error = F.l1_loss(network.unpack(network.pack(video), video[:, :, 0], 4), video).item()
        exchanged = F.l1_loss(network.unpack(network.pack(video).flip(0), video[:, :, 0], 4), video).item()
    frame_0 = F.l1_loss(video[:, :, :1].expand_as(video), video).item()
    assert error < frame_0, "painting should beat frame 0 repeated"
    assert exchanged > 1.5 * error, "the motion image of another clip should paint another motion"


def test_the_codec_comes_back_from_disk(tmp_path):
    network = codec()
    network.measure([clip(seed=seed) for seed in range(3)])
    network.save(tmp_path / "codec")
    again = load_codec(tmp_path / "codec", "LaMD")
    assert again.config == network.config
    assert_close(again.pack(clip()), network.pack(clip()))
    with pytest.raises(CheckpointError):
        load_codec(tmp_path / "codec", "LDM")


@pytest.mark.parametrize("wrong", [{"feature_channels": 12}, {"motion_channels": 0}, {"num_frames": 0}])
def test_sizes_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SMALL, **wrong)


# ---------------------------------------------------------------- stage two


def test_an_untrained_denoiser_answers_zero():
    assert UNet2D(DENOISER)(**inputs()).abs().max() == 0


@pytest.mark.parametrize("name", ["x", "t", "features", "label"])
def test_every_input_of_the_denoiser_matters(name):
    network, a, b = denoiser(), inputs(), inputs(seed=1)
    a["label"], b["label"] = torch.zeros_like(a["label"]), torch.ones_like(b["label"])
    assert (network(**a) - network(**(a | {name: b[name]}))).abs().max() > 1e-4


def test_the_given_image_is_seen_by_cross_attention_alone_too():
    network, a, b = denoiser(replace(DENOISER, features_at_input=False)), inputs(), inputs(seed=1)
    assert (network(**a) - network(**(a | {"features": b["features"]}))).abs().max() > 1e-4


def test_maps_of_a_batch_do_not_see_each_other():
    network, both = denoiser(), inputs()
    alone = {name: value[:1] for name, value in both.items()}
    assert_close(network(**both)[:1], network(**alone), atol=1e-4, rtol=1e-4)


def test_cross_attention_does_not_mind_the_order_of_tokens_and_equal_tokens_say_the_same_everywhere():
    torch.manual_seed(0)
    attention, x, tokens = CrossAttention(8, 6, 2, 4, 8), torch.randn(2, 8, 4, 4), torch.randn(2, 16, 6)
    assert_close(attention(x, tokens.flip(1)), attention(x, tokens), atol=1e-5, rtol=1e-5)
    added = attention(x, tokens[:, :1].expand(-1, 5, -1)) - x
    assert_close(added, added[:, :, :1, :1].expand_as(added), atol=1e-5, rtol=1e-5)


def test_every_place_has_a_code_of_its_own():
    code = places(8, 8, 16, torch.device("cpu"))
    assert code.shape == (64, 16)
    assert torch.cdist(code, code).add(10 * torch.eye(64)).min() > 0.1


def test_sizes_that_do_not_fit_are_refused():
    network = denoiser()
    with pytest.raises(ValueError, match="multiples of 2"):
        network(**inputs(size=7))
    with pytest.raises(ValueError, match="features are 8x8"):
        network(**(inputs(size=6) | {"features": inputs(size=8)["features"]}))


def test_it_holds_as_many_numbers_as_the_denoiser_of_lfdm():
    own, other = (
        sum(p.numel() for p in network.parameters())
        for network in (UNet2D(UNet2DConfig()), UNet3D(UNet3DConfig(dim=32, dim_mults=(1, 2, 4))))
    )
    assert abs(own / other - 1) < 0.05


def rival() -> Rival:
    return Rival(codec(), denoiser(), GaussianDiffusion(DiffusionConfig()), ["a", "b", "c"], 16, 4)


def test_a_denoising_step_costs_the_same_for_any_number_of_frames():
    model, given = rival(), {name: value for name, value in inputs(size=4).items() if name != "x"}

    def cost(frames: int) -> int:
        x = torch.zeros(2, *model.codec.shape(frames, 16))
        return multiply_adds(lambda: model.denoiser(x, **given))

    assert cost(16) == cost(128) > 100_000


def test_painting_costs_more_with_every_frame():
    model, source = rival(), clip()[:, :, 0]

    def cost(frames: int) -> int:
        x = torch.zeros(2, *model.codec.shape(frames, 16))
        return multiply_adds(lambda: model.codec.unpack(x, source, frames))

    assert 6 < cost(128) / cost(16) < 8.1


@pytest.mark.parametrize("frames", [4, 32])
def test_clips_of_any_length_are_generated_and_the_seed_decides(frames, tmp_path):
    model, image = rival(), clip(b=1)[:, :, 0]
    how = dict(num_frames=frames, steps=3, seed=5, progress=False)
    made = model.generate(image, "b", **how).video
    assert made.shape == (1, 3, frames, 16, 16)
    model.save(tmp_path / "lamd")
    assert_close(Rival.load(tmp_path / "lamd").generate(image, "b", **how).video, made, atol=1e-5, rtol=0)
    other = model.generate(image, "b", **(how | {"seed": 6})).video
    assert (other - made).abs().max() > 1e-5


def test_the_denoiser_learns_which_motion_goes_with_a_label():
    torch.manual_seed(0)
    network, diffusion = UNet2D(DENOISER), GaussianDiffusion(DiffusionConfig())
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    motions, g = torch.randn(3, 2, 4, 4), torch.Generator().manual_seed(0)
    for _ in range(60):
        label = torch.randint(3, (12,), generator=g)
        loss = diffusion.loss(network, motions[label], torch.zeros(12, 16, 4, 4), label, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    label, t = torch.arange(3), torch.full((3,), 900)
    given = motions, t, torch.randn(motions.shape, generator=g), torch.zeros(3, 16, 4, 4)
    with torch.no_grad():
        right, wrong = (diffusion.loss_at(network, *given, asked) for asked in (label, label.roll(1)))
    assert right < 0.5
    assert wrong > 2 * right


# ---------------------------------------------------------------- training


def test_neither_side_of_the_contest_gives_the_other_a_gradient():
    torch.manual_seed(0)
    judge, source, real = PatchDiscriminator(8), torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    painted = torch.rand(2, 3, 16, 16, requires_grad=True)
    of_painter, of_judge = adversarial_losses(judge, source, painted, real)
    of_judge.backward()
    assert painted.grad is None
    assert all(p.grad is not None for p in judge.parameters())
    assert sum(p.grad.abs().sum() for p in judge.parameters()) > 0
    judge.zero_grad()
    of_painter.backward()
    assert painted.grad.abs().max() > 0
    assert all(p.grad is None for p in judge.parameters())


def test_a_discriminator_learns_to_tell_grey_from_noise():
    torch.manual_seed(0)
    judge = PatchDiscriminator(8)
    optimizer = torch.optim.Adam(judge.parameters(), 2e-3)
    source, grey = torch.rand(4, 3, 16, 16), torch.full((4, 3, 16, 16), 0.5)
    for _ in range(30):
        _, loss = adversarial_losses(judge, source, grey, torch.rand(4, 3, 16, 16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert judge(source, torch.rand(4, 3, 16, 16)).mean() > 0 > judge(source, grey).mean()


def test_the_preset_gives_lamd_what_lfdm_has():
    run, preset = both_stages("lamd", PRESETS["rivals64"]), PRESETS["rivals64"]
    assert run.first.data == run.second.data == preset.autoencoder.data
    assert run.first.perceptual_weight == preset.autoencoder.perceptual_weight
    assert run.first.model == LaMDConfig()
    assert run.second.denoiser == UNet2DConfig(dim=32, dim_mults=(1, 2, 4))


def test_an_example_is_a_clip_and_some_of_its_frames_once_each():
    video = torch.arange(6).view(1, 6, 1, 1).expand(3, 6, 2, 2).to(torch.uint8)
    example = stages.draw_frames({"video": video}, torch.Generator().manual_seed(0), 4)
    assert len(set(example["frames"].tolist())) == 4
    assert torch.equal(example["video"], video)  # mirrored or not


def test_the_loss_compares_frames_at_their_own_times(monkeypatch):
    network = codec()
    objective = stages.MotionImageObjective(network, LaMDCodecRun(model=SMALL))
    asked = []
    monkeypatch.setattr(network, "forward", lambda video, times: asked.append(times) or right(video, times))

    def right(video, times):
        index = (times * 3).round().long()
        painted = torch.stack([v[:, i] for v, i in zip(video, index, strict=True)])
        return painted, torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4)

    video = (clip() * 255).round().to(torch.uint8)
    found = objective({"video": video, "frames": torch.tensor([[0, 2], [3, 1]])})
    assert_close(asked[0], torch.tensor([[0, 2 / 3], [1, 1 / 3]]))
    assert found["loss"] == 0


TINY = "train lamd --preset tiny --first.adversarial-weight 0.1 --first.adversarial-from 1 --out".split()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of both stages at toy size, with a discriminator."""
    folder = tmp_path_factory.mktemp("finished") / "lamd"
    assert cli.main([*TINY, str(folder)]) == 0
    return folder


def test_one_command_leaves_a_rival_without_its_discriminator(finished):
    model = Rival.load(finished)
    assert not hasattr(model.codec, "discriminator")
    assert (model.codec.std != 1).all()
    assert "discriminator" in (finished / "lamd-codec" / "log.csv").read_text().splitlines()[0]
    assert_close(load_codec(finished / "lamd-codec", "LaMD").std, model.codec.std)


def test_a_run_that_was_interrupted_gives_the_same_weights(finished, monkeypatch):
    out, found = finished.parent / "interrupted", stages.codec_psnr

    def once(*arguments):
        if list((out / "lamd-codec" / "checkpoints").glob("step_*")):  # of step 4
            raise KeyboardInterrupt
        return found(*arguments)

    monkeypatch.setattr(stages, "codec_psnr", once)
    assert cli.main([*TINY, str(out)]) == 130
    monkeypatch.undo()
    assert cli.main([*TINY, str(out), "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_it_makes_a_longer_film_and_says_what_it_is(finished, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (32, 32), "teal").save(tmp_path / "face.png")
    words = ["generate", str(tmp_path / "face.png"), "--label", "fear", "--checkpoint", str(finished), "--steps", "2"]
    assert cli.main([*words, "--num-frames", "9", "--seed", "0", "--quiet", "--out", str(tmp_path / "out.gif")]) == 0
    assert Image.open(tmp_path / "out.gif").n_frames == 9
    assert cli.main(["info", str(finished)]) == 0
    assert "LaMD, format" in capsys.readouterr().out

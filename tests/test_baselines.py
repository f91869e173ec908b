"""Rivals of LFDM: what they denoise, that they are as large, and that they are made by the same loop and budget."""

import csv
import json
import math
import re
import shutil
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lfdm_lite import LFDM, cli
from lfdm_lite.baselines.ldm import LDMCodec, LDMConfig, kl_to_standard_normal
from lfdm_lite.baselines.rivals import PARTS, Rival, load_codec
from lfdm_lite.baselines.trivial import mean_motion, nearest_clips, repeat_frame_0
from lfdm_lite.baselines.unet2d import UNet2DConfig
from lfdm_lite.baselines.vdm import VDMCodec, VDMConfig
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.models.weights import WithoutMemory
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.files.variants import construct
from lfdm_lite.geometry import warp
from lfdm_lite.pipeline import clip_generators
from lfdm_lite.training import PRESETS, both_stages, train_both, train_judge
from lfdm_lite.training.rivals import LDMRun
from lfdm_lite.training.stages import both
from lfdm_lite.training.stages import rivals as stages
from lfdm_lite.training.stages.finished import load_autoencoder
from lfdm_lite.training.stages.rehearsal import rehearse
from lfdm_lite.training.stages.stage_two import fitting
from lfdm_lite.unet3d import UNet3DConfig

from .quick import quick_figures

TINY = PRESETS["tiny"]
LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
CODECS = {
    "VDM": lambda: VDMCodec(VDMConfig()),
    "VDM, differences": lambda: VDMCodec(VDMConfig(difference=True)),
    "LDM": lambda: lively(LDMCodec(LDMConfig(width=8, max_width=16, num_residual=1))),
}


def lively(codec):
    """One whose pictures depend on its maps, as a trained one's do."""
    torch.nn.init.normal_(codec.to_moments.weight, std=0.5)
    torch.nn.init.normal_(codec.to_image.weight, std=0.5)
    return codec.eval()


def clips_of_noise(count=2, frames=4, size=32, seed=0):
    return torch.rand(count, 3, frames, size, size, generator=torch.Generator().manual_seed(seed))


def rival(name, parameterization="x0"):
    """A small one, with weights that answer something."""
    torch.manual_seed(0)
    codec = CODECS[name]()
    codec.measure([clips_of_noise(4)])
    denoiser = construct(codec.fit(UNet3DConfig(dim=8, dim_mults=(1, 2), num_frames=4), 6))
    torch.nn.init.normal_(denoiser.head.weight, std=0.1)
    diffusion = GaussianDiffusion(DiffusionConfig(parameterization=parameterization))
    return Rival(codec, denoiser, diffusion, LABELS, image_size=32, num_frames=4).eval().requires_grad_(False)


# ---------------------------------------------------------------- codecs


def test_mean_and_deviation_of_no_clips_are_refused():
    codec = VDMCodec(VDMConfig())
    with pytest.raises(ValueError, match="no clips came"):
        codec.measure([])
    assert codec.mean.isfinite().all() and codec.std.isfinite().all()



@pytest.mark.parametrize("name", CODECS)
@torch.no_grad()
def test_what_is_denoised_has_the_shape_that_the_codec_says_and_unit_spread(name):
    codec, clips = CODECS[name](), clips_of_noise(3)
    codec.measure([clips[:2], clips[2:]])
    x0 = codec.pack(clips)
    assert x0.shape == (3, *codec.shape(4, 32)) and x0.shape[1] == codec.channels
    assert codec.encode(clips[:, :, 0]).shape == (3, codec.feature_channels, 8, 8)
    each = x0.transpose(0, 1).flatten(1)
    torch.testing.assert_close(each.mean(1), torch.zeros(len(each)), atol=1e-4, rtol=0)
    torch.testing.assert_close(each.std(1, correction=0), torch.ones(len(each)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["VDM", "VDM, differences"])
def test_pixels_come_back_as_they_were(name):
    codec, clips = CODECS[name](), clips_of_noise()
    codec.measure([clips])
    torch.testing.assert_close(codec.unpack(codec.pack(clips), clips[:, :, 0], 4), clips, atol=1e-6, rtol=0)


def test_a_place_of_the_given_image_knows_all_of_its_pixels():
    """Not their mean alone, which is what the denoiser would make of a finer map."""
    image = clips_of_noise(1)[:, :, 0]
    told = VDMCodec(VDMConfig(patch=4)).encode(image)
    assert sorted(told[0, :, 3, 5].tolist()) == sorted((2 * image[0, :, 12:16, 20:24] - 1).flatten().tolist())


@torch.no_grad()
def test_ldm_sees_each_frame_by_itself_however_many_there_are(monkeypatch):
    codec, clips = CODECS["LDM"](), clips_of_noise(2, frames=5)
    whole = codec.pack(clips), codec.unpack(codec.pack(clips), clips[:, :, 0], 5)
    turned = codec.pack(clips.flip(2))
    torch.testing.assert_close(turned.flip(2), whole[0], atol=1e-5, rtol=0)
    monkeypatch.setattr("lfdm_lite.memory.FRAMES_PIECE", 3 * 8 * 32 * 32)
    pieces = codec.pack(clips), codec.unpack(codec.pack(clips), clips[:, :, 0], 5)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    torch.testing.assert_close(codec.encode(clips[:, :, 0]), whole[0][:, :, 0], atol=1e-5, rtol=0)


def test_the_divergence_from_a_standard_normal_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


# ---------------------------------------------------------------- as large as LFDM, and made from the same preset


def denoisers(preset):
    """Of LFDM and each rival, as a run of the preset makes it, without memory."""
    labels = 6
    lfdm = fitting(preset.diffusion.unet, preset.autoencoder.model, labels, ())
    runs = {name: both_stages(name, preset) for name in ("vdm", "ldm")}
    with WithoutMemory():
        codecs = {"vdm": construct(runs["vdm"].second.pixels), "ldm": construct(runs["ldm"].first.model)}
        networks = {name: construct(codecs[name].fit(run.second.denoiser, labels)) for name, run in runs.items()}
        return networks | {"lfdm": construct(lfdm)}


def test_the_denoisers_hold_as_many_numbers_within_five_per_cent():
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in denoisers(PRESETS["rivals64"]).items()}
    for name, count in counts.items():
        assert abs(count / counts["lfdm"] - 1) < 0.05, f"{name} {count:,} against {counts['lfdm']:,}"


def test_a_rival_gets_the_clips_losses_and_steps_that_lfdm_gets():
    preset = PRESETS["rivals64"]
    ldm, vdm = both_stages("ldm", preset), both_stages("vdm", preset)
    one, two = preset.autoencoder, preset.diffusion
    for name in ("data", "optim", "loop", "perceptual_weight", "features", "depths", "scales", "gradient_weight"):
        assert getattr(ldm.first, name) == getattr(one, name)
    for run in (ldm.second, vdm.second):
        assert (run.data, run.optim, run.loop, run.diffusion) == (two.data, two.optim, two.loop, two.diffusion)
    assert not preset.diffusion.numbers and preset.diffusion.data.acting == type(preset.diffusion.data)().acting


def test_two_stages_on_different_clips_are_refused():
    run = both_stages("ldm", TINY)
    with pytest.raises(ValueError, match=r"first\.data and second\.data differ"):
        replace(run, first=replace(run.first, data=replace(run.first.data, seed=1)))


@pytest.mark.parametrize("name", ["lfdm", "vdm", "ldm", "lamd"])
def test_a_preset_passes_its_rehearsal_without_touching_the_randomness(name):
    before = torch.random.get_rng_state()
    rehearse(both_stages(name, TINY))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("lfdm", {"unet": {"dim_mults": (1,) * 7, "spatial_attention": ("none",) * 7}}, "image_size is 32; these"),
        ("vdm", {"pixels": {"patch": 3}}, "patch=3 must divide the height and width"),
        ("ldm", {"denoiser": {"patch": 3}}, ""),
        ("lamd", {"denoiser": {"dim_mults": (1,) * 6}}, "data of 8x8 places: height and width must be multiples of 32"),
        ("lamd", {"denoiser": {"init_kernel": 2}}, ""),  # an even kernel makes another size of it
    ],
)
def test_stages_that_do_not_fit_are_refused_before_the_first_one_learns(name, change, said, tmp_path, monkeypatch):
    """The first stage may take hours, and what is wrong with the second is known without it."""
    learned = []
    monkeypatch.setattr(both, "TRAINERS", dict.fromkeys(both.TRAINERS, lambda *given: learned.append(given)))
    run = both_stages(name, TINY)
    ((part, values),) = change.items()
    second = replace(run.second, **{part: replace(getattr(run.second, part), **values)})
    with pytest.raises(ValueError, match=f"^these networks and clips of 32 pixels do not fit together: .*{said}"):
        train_both(replace(run, second=second), tmp_path / "run")
    assert not learned and not (tmp_path / "run").exists()


def test_each_stage_needs_some_of_the_minutes():
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"^share={share:g}: must be above 0 and below 1, so that either stage"):
            replace(both_stages("ldm", TINY), share=share)
    for minutes in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"^cpu_minutes={minutes:g}: must be "):
            replace(both_stages("vdm", TINY), cpu_minutes=minutes)
    assert replace(both_stages("vdm", TINY), share=1.0).share == 1  # there is one stage alone


@pytest.mark.parametrize(
    "config, values",
    [
        *((UNet2DConfig, {name: 0}) for name in ("dim", "norm_groups", "blocks", "heads", "head_dim", "init_kernel")),
        *((UNet2DConfig, {"dim_mults": mults}) for mults in ((), (1, 0), (-1,))),
        (UNet3DConfig, {"norm_groups": 0}),
        *((LDMConfig, {name: -1}) for name in ("num_down", "num_residual")),
    ],
)
def test_sizes_that_no_network_has_are_refused_by_name(config, values):
    ((name, value),) = values.items()
    with pytest.raises(ValueError, match=re.escape(f"{name}={value}")):
        config(**values)


# ---------------------------------------------------------------- generating, saving, loading


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_a_clip_depends_on_its_seed_alone_and_not_on_the_batch(name, parameterization):
    model, images = rival(name, parameterization), clips_of_noise(3)[:, :, 0]
    how = dict(steps=3, progress=False)
    three = model.generate(images, [0, 1, 2], seed=5, **how)
    assert three.video.shape == (3, 3, 4, 32, 32) and 0 <= three.video.min() and three.video.max() <= 1
    assert three.flow is None and three[1:].occlusion is None and three.label_names == LABELS[:3]
    torch.testing.assert_close(model.generate(images[:1], 0, seed=5, **how).video, three.video[:1], atol=1e-4, rtol=0)
    other = model.generate(images[:1], 0, seed=6, **how).video
    assert (other - three.video[:1]).abs().max() > 1e-3


def test_guidance_counts_in_as_many_steps_as_are_asked():
    model, passes = rival("VDM"), []
    model.denoiser.register_forward_pre_hook(lambda network, given: passes.append(len(given[0])))
    image = clips_of_noise()[:1, :, 0]
    model.generate(image, 0, steps=4, guidance_scale=2.0, guided_steps=1, seed=0, progress=False)
    assert passes == [2, 1, 1, 1]


def test_the_noise_is_that_which_lfdm_would_draw(monkeypatch):
    seen = []
    monkeypatch.setattr("lfdm_lite.baselines.rivals.sample", lambda *a, generator, **_: seen.append(generator) or a[2])
    with pytest.raises(AttributeError):  # what came is no clip
        rival("VDM").generate(clips_of_noise(2)[:, :, 0], 0, seed=11, steps=2, progress=False)
    ((first, second),) = seen
    assert [g.initial_seed() for g in (first, second)] == [g.initial_seed() for g in clip_generators(11, 2)]


@pytest.mark.parametrize("name", CODECS)
def test_what_is_saved_makes_the_same_clips(name, tmp_path):
    model, image = rival(name), clips_of_noise(1)[:, :, 0]
    model.save(tmp_path / "rival")
    back = Rival.load(tmp_path / "rival")
    assert (back.labels, back.image_size, back.num_frames, back.codec.config) == (LABELS, 32, 4, model.codec.config)
    made = [m.generate(image, "fear", seed=0, steps=2, progress=False).video for m in (model, back)]
    assert torch.equal(*made)


def test_longer_clips_can_be_asked_for():
    assert (
        rival("LDM").generate(clips_of_noise(1)[:, :, 0], 0, num_frames=7, steps=1, progress=False).video.shape[2] == 7
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda config: config.pop("num_frames"), "lacks the field 'num_frames'"),
        (lambda config: config.update(kind="GAN"), "expected one of: VDM, LDM"),
        (lambda config: config.update(num_frames="many"), "must be numbers"),
        (lambda config: config["codec"].update(patch=0), "patch is 0, expected a number from 1"),
        (lambda config: config["denoiser"].update(dim=9), "does not fit UNet3DConfig"),
        (lambda config: config["labels"].pop(), "expected 6 different ones"),
    ],
)
def test_a_folder_that_is_no_rival_gets_one_line(damage, said, tmp_path):
    rival("VDM").save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    damage(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said) as caught:
        Rival.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_labels_that_the_denoiser_does_not_have_are_refused():
    model = rival("VDM")
    with pytest.raises(ValueError, match="expected 6 different names"):
        Rival(model.codec, model.denoiser, model.diffusion, LABELS[:5])


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def finished(tmp_path_factory, drawn):
    """LFDM and both rivals, finished, at toy size."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "cache").symlink_to(drawn)
    for name in ("lfdm", "vdm", "ldm"):
        train_both(both_stages(name, TINY), folder / name)
    return folder


def recipe(folder):
    return json.loads((folder / "recipe.json").read_text())


def test_one_command_leaves_the_model_and_says_what_each_stage_took(finished):
    assert isinstance(LFDM.from_pretrained(finished / "lfdm"), LFDM)
    load_autoencoder(finished / "lfdm" / "autoencoder")
    load_codec(finished / "ldm" / "ldm-codec", "LDM")
    for name, stages_of in {"vdm": ["vdm-diffusion"], "ldm": ["ldm-codec", "ldm-diffusion"]}.items():
        model = Rival.load(finished / name)
        assert model.labels == LABELS and (model.codec.std != 1).all()
        effort = recipe(finished / name)["effort"]
        assert list(effort) == stages_of and all(part["steps"] == 8 for part in effort.values())
        assert all(part["processor_seconds"] > 0 and part["seconds"] > 0 for part in effort.values())
        assert (finished / name / stages_of[-1] / "log.csv").is_file()


def test_clips_are_shared_and_what_a_first_stage_sees_is_kept_for_the_second(finished, drawn):
    assert len(list(drawn.glob("faces-train-*"))) == 1
    assert len(list(drawn.glob("ldm-codec-*/motions-train-*"))) == 1
    assert not list(drawn.glob("vdm*"))


def test_a_first_stage_of_another_rival_is_refused(finished):
    with pytest.raises(CheckpointError, match="expected 'LDM codec'"):
        load_codec(finished / "lfdm" / "autoencoder", "LDM")


def test_a_run_that_was_interrupted_gives_the_same_weights(finished, runs, monkeypatch):
    config, found = both_stages("ldm", TINY), stages.validation_loss

    def once(*arguments):
        if list((runs / "ldm" / "ldm-diffusion" / "checkpoints").glob("step_*")):  # of step 4
            raise KeyboardInterrupt
        return found(*arguments)

    monkeypatch.setattr(stages, "validation_loss", once)
    with pytest.raises(KeyboardInterrupt):
        train_both(config, runs / "ldm")
    monkeypatch.undo()
    assert not (runs / "ldm" / "model.safetensors").exists()
    with pytest.raises(ValueError, match="use --resume"):
        train_both(config, runs / "ldm")
    with pytest.raises(ValueError, match="--share 0.5 -> 0.4"):
        train_both(replace(config, share=0.4), runs / "ldm", resume=True)
    train_both(config, runs / "ldm", resume=True)
    both = [(folder / "ldm" / "model.safetensors").read_bytes() for folder in (finished, runs)]
    assert both[0] == both[1]


@pytest.mark.parametrize("name", ["vdm", "ldm"])
def test_a_budget_of_processor_minutes_is_kept_and_the_rate_ends_with_it(name, runs):
    config = replace(both_stages(name, TINY), cpu_minutes=0.1, share=0.4)
    train_both(config, runs / name)
    found = recipe(runs / name)
    assert 4.2 < found["processor_seconds"] < 6.9, "0.1 minutes are 6 seconds"
    if name == "ldm":
        assert 1.4 < found["effort"]["ldm-codec"]["processor_seconds"] < 3.0, "its share is 2.4 seconds"
    with open(runs / name / config.second.stage / "log.csv", newline="") as file:
        rates = [float(row["rate"]) for row in csv.DictReader(file)]
    assert found["effort"][config.second.stage]["steps"] == len(rates) > 8
    assert rates[-1] < 0.1 * max(rates)


def test_a_second_stage_may_begin_with_a_first_one_that_is_finished(finished, runs):
    config = both_stages("ldm", TINY)
    given = replace(config.second, codec=str(finished / "ldm" / "ldm-codec"))
    train_both(replace(config, second=given), runs / "again")
    assert not (runs / "again" / "ldm-codec").exists()
    both = [(folder / "model.safetensors").read_bytes() for folder in (finished / "ldm", runs / "again")]
    assert both[0] == both[1]
    spent = recipe(finished / "ldm")["effort"]["ldm-codec"]["processor_seconds"]
    with pytest.raises(ValueError, match=r"the first stage took .*; give both more"):
        train_both(replace(config, second=given, cpu_minutes=spent / 120), runs / "short")


@pytest.mark.parametrize("name", ["VDM", "VDM, differences", "LDM"])
def test_a_rival_learns_more_than_to_answer_zero(name):
    model = rival(name).requires_grad_(True)
    torch.nn.init.zeros_(model.denoiser.head.weight)
    clips = torch.arange(8.0).div(8).view(8, 1, 1, 1, 1) * torch.linspace(0, 1, 4).view(1, 1, 4, 1, 1)
    clips = clips.expand(8, 3, 4, 16, 16).contiguous()  # each brightens by itself
    model.codec.requires_grad_(False).measure([clips])
    x0, features, label = model.codec.pack(clips), model.codec.encode(clips[:, :, 3]), torch.arange(8) % 6
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(model.denoiser.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = model.diffusion.loss(model.denoiser, x0, features, label, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(x0.square().mean().item(), rel=1e-4), "a fresh one answers zero"
    assert sum(losses[-15:]) / 15 < 0.5 * losses[0]


# ---------------------------------------------------------------- what learns nothing


def test_the_nearest_clip_is_of_the_label_and_comes_as_it_is():
    train, label = clips_of_noise(4, seed=1), torch.tensor([0, 0, 1, 1])
    image = (train[2, :, 0] + 0.01)[None]  # most like a clip of the other label
    assert torch.equal(nearest_clips(image, torch.tensor([1]), train, label), train[2:3])
    found = nearest_clips(image, torch.tensor([0]), train, label)
    assert any(torch.equal(found, train[i : i + 1]) for i in (0, 1))
    with pytest.raises(ValueError, match="of label 2 there is no training clip"):
        nearest_clips(image, torch.tensor([2]), train, label)


def test_everyone_moves_as_the_mean_of_the_label_does():
    flow, label = (
        0.1 * torch.randn(3, 2, 4, 32, 32, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 0, 1]),
    )
    image = clips_of_noise(2)[:, :, 0]
    found = mean_motion(image, torch.tensor([1, 0]), flow, label)
    torch.testing.assert_close(found[0], warp(image[:1], flow[2:])[0])
    torch.testing.assert_close(found[1], warp(image[1:], flow[:2].mean(0, keepdim=True))[0])
    with pytest.raises(ValueError, match="of label 3 there is no training clip"):
        mean_motion(image, torch.tensor([3, 0]), flow, label)


def test_nothing_moves_where_frame_0_is_repeated():
    image = clips_of_noise(2)[:, :, 0]
    still = repeat_frame_0(image, 5)
    assert still.shape == (2, 3, 5, 32, 32) and torch.equal(still[:, :, 4], image)


# ---------------------------------------------------------------- commands


def test_options_of_both_stages_reach_the_run(monkeypatch):
    from lfdm_lite import training

    seen = []
    monkeypatch.setattr(training, "train_both", lambda *arguments: seen.append(arguments))
    words = "train ldm --preset tiny --out x --cpu-minutes 40 --share 0.3 --first.model.latent-channels 4"
    assert cli.main([*words.split(), "--second.optim.learning-rate", "1e-3"]) == 0
    ((config, out, resume),) = seen
    assert isinstance(config, LDMRun) and (config.cpu_minutes, config.share) == (40, 0.3)
    assert config.first.model.latent_channels == 4 and config.second.optim.learning_rate == 1e-3
    assert cli.main(["train", "vdm", "--out", "x"]) == 0
    assert seen[1][0] == both_stages("vdm", PRESETS["rivals64"]), "rivals64 is their usual preset"


@pytest.mark.parametrize("name", ["vdm", "ldm"])
def test_a_rival_makes_a_film_and_says_what_it_is(name, finished, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (32, 32), "teal").save(tmp_path / "face.png")
    words = ["generate", str(tmp_path / "face.png"), "--label", "fear", "--checkpoint", str(finished / name)]
    words += ["--steps", "2", "--seed", "0", "--quiet", "--out", str(tmp_path / "out.gif")]
    assert cli.main([*words, "--sheet", str(tmp_path / "out.png")]) == 0
    assert Image.open(tmp_path / "out.gif").n_frames == 4 and Image.open(tmp_path / "out.png").size[0] > 32
    assert cli.main([*words, "--strength", "0.5"]) == 2
    assert "trained with labels alone" in capsys.readouterr().err
    assert cli.main(["info", str(finished / name)]) == 0
    said = capsys.readouterr().out
    assert name.upper() in PARTS and f"{name.upper()}, format" in said and "effort" in said


def test_info_knows_a_first_stage_and_names_what_it_does_not(finished, tmp_path, capsys):
    assert cli.main(["info", str(finished / "ldm" / "ldm-codec")]) == 0
    assert "LDM codec" in capsys.readouterr().out
    shutil.copytree(finished / "vdm", tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text()) | {"kind": "GAN"}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(config))
    assert cli.main(["info", str(tmp_path / "odd")]) == 2
    assert "known are LFDM" in capsys.readouterr().err


@pytest.fixture(scope="module")
def judge(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("judged")
    (folder / "cache").symlink_to(drawn)
    train_judge(TINY.judge, folder / "judge")
    return folder / "judge"


def evaluated(folder, judge, out, *words):
    """The figures of `lfdm evaluate`, few of everything."""
    common = ["--judge", str(judge), "--clips", "8", "--train-clips", "12", "--steps", "1", "--quiet"]
    assert cli.main(["evaluate", str(folder), *common, "--out", str(out), *words]) == 0
    return json.loads(out.read_text())["videos"]


def test_rivals_and_what_learns_nothing_have_the_same_figures(finished, judge, tmp_path, monkeypatch):
    quick_figures(monkeypatch)
    rows = {
        "vdm": evaluated(finished / "vdm", judge, tmp_path / "vdm.json"),
        "mean": evaluated(finished / "lfdm", judge, tmp_path / "mean.json", "--against", "mean_motion"),
    }
    assert rows["vdm"].keys() >= rows["mean"].keys()
    for name in ("read_as_asked_judge", "psnr_frame_0", "frechet_motion", "nearest_train_picture"):
        assert all({"value", "low", "high"} <= row[name].keys() for row in rows.values())
        controls = {json.dumps(row.get(f"{name}_of_frame_0")) for row in rows.values()}
        assert len(controls) == 1, "controls are of the clips alone"
    assert rows["vdm"]["psnr_frame_0"]["value"] < rows["mean"]["psnr_frame_0"]["value"] == pytest.approx(58.9)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("vdm", ["--stage", "two"], "whose videos alone are measured"),
        ("vdm", ["--tell-numbers"], "trained with labels alone"),
        ("vdm", ["--against", "nearest", "--train-clips", "0"], "give some by --train-clips"),
        ("lfdm", ["--against", "frame_0", "--stage", "one"], "has no stages; leave one of them out"),
        ("ldm/ldm-codec", ["--against", "frame_0"], "this command knows"),
        ("vdm", ["--train-clips", "-1"], "expected at least 0"),
        ("vdm", ["--precision", "bf16"], "--fast and --precision are of latent flow diffusion models"),
        ("vdm", ["--steps", "0"], "steps is 0; expected a whole number from 1 to"),
        ("vdm", ["--fast"], "--fast and --precision are of latent flow diffusion models"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(name, words, said, finished, judge, tmp_path, capsys):
    common = ["--judge", str(judge), "--clips", "2", "--out", str(tmp_path / "x.json"), "--quiet"]
    assert cli.main(["evaluate", str(finished / name), *common, *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("lfdm: error") == 1
    assert not (tmp_path / "x.json").exists()


def test_a_rival_without_a_judge_is_not_sent_to_stages_that_it_does_not_have(finished, tmp_path, capsys):
    assert cli.main(["evaluate", str(finished / "vdm"), "--clips", "2", "--out", str(tmp_path / "x.json")]) == 2
    err = capsys.readouterr().err
    assert "name one by --judge FOLDER" in err and "--stage" not in err

"""What is true of the fast network: it answers in one pass what its teacher takes several for, and a model keeps it."""

import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from lfdm_lite import LFDM, CheckpointError, DiffusionConfig, GaussianDiffusion, NumberRange, UNet3D, UNet3DConfig, cli
from lfdm_lite.distillation import distillation_loss, follow, one_step_target, student_config, student_of
from lfdm_lite.files.fast import FastDenoiser, fingerprint_of
from lfdm_lite.samplers import ddim_step, guided, sample, timesteps
from lfdm_lite.training import PRESETS, train_few_steps
from lfdm_lite.training.engine.loop import Stopped
from lfdm_lite.training.stages.few_steps import DistillationObjective, draw_step
from tests.test_pipeline import tiny_model

MU, S = 0.7, 0.4  # mean and standard deviation of the Gaussian whose perfect denoiser is known
SCALES = (0.5, 4.0)
TINY = PRESETS["tiny"].few_steps


def process(parameterization: str = "x0") -> GaussianDiffusion:
    return GaussianDiffusion(DiffusionConfig(parameterization=parameterization))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perfect_network(diffusion: GaussianDiffusion):
    """The best possible answer if the data are N(MU, S^2)."""

    def denoise(x, t):
        alpha, sigma = diffusion.at(t, x)
        x0 = MU + alpha * S**2 / (alpha**2 * S**2 + sigma**2) * (x - alpha * MU)
        return diffusion.target(x0, (x - alpha * x0) / sigma, t)

    return denoise


def small_unet(numbers: tuple[NumberRange, ...] = ()) -> UNet3D:
    """A network of random weights whose every input matters."""
    torch.manual_seed(0)
    sizes = dict(feature_channels=4, num_labels=3, dim=8, dim_mults=(1, 2), num_frames=4)
    unet = UNet3D(UNet3DConfig(**sizes, numbers=numbers))
    for parameter in unet.parameters():
        nn.init.normal_(parameter, std=0.1)
    return unet.eval().requires_grad_(False)


def clip_of(batch: int):
    """Noisy motion, steps, features and labels."""
    x = torch.randn(batch, 3, 4, 8, 8, generator=seeded(1))
    features, label = torch.randn(batch, 4, 8, 8, generator=seeded(2)), torch.arange(batch) % 3
    return x, torch.tensor([999, 500, 30, 700][:batch]), features, label


# ---------------------------------------------------------------- guidance in one pass


def test_guidance_may_have_a_scale_for_each_example():
    unet, (x, t, features, label) = small_unet(), clip_of(4)
    scales = torch.tensor([0.0, 1.0, 1.5, 3.0])
    together = guided(unet, features, label, scales)(x, t)
    for i, scale in enumerate(scales.tolist()):
        alone = guided(unet, features[i, None], label[i, None], scale)(x[i, None], t[i, None])
        assert_close(together[i, None], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("numbers", [(), (NumberRange("strength", 0.5, 1.5),)])
def test_a_student_begins_as_its_teacher_without_guidance_whatever_scale_it_is_told(numbers):
    teacher, (x, t, features, label) = small_unet(numbers), clip_of(3)
    student = student_of(teacher, SCALES).eval()
    assert student.config == replace(teacher.config, numbers=(*numbers, NumberRange("guidance_scale", *SCALES)))
    told = torch.full((3, 1), 0.9) if numbers else None
    plain = guided(teacher, features, label, 1.0, told)(x, t)
    for scale in (0.5, 1.5, 4.0):
        answer = FastDenoiser(student, 4, "").at_scale(features, label, scale, told)(x, t)
        assert_close(answer, plain, atol=1e-6, rtol=0)
    assert (plain - guided(teacher, features, label, 4.0, told)(x, t)).abs().max() > 1e-2


class ExactStudent(nn.Module):
    """What a student would be that has learned all: it answers the guided answer at the scale that it is told."""

    null_label = 3

    def __init__(self, teacher: UNet3D):
        super().__init__()
        self.teacher, self.passes = teacher, 0

    def forward(self, x, t, features, label, numbers):
        self.passes += 1
        return guided(self.teacher, features, label, numbers[:, -1])(x, t)


def batch_of(objective: DistillationObjective, path: list[int], parts: int, scales=SCALES) -> dict:
    """Four examples as training draws them."""
    clip = {
        "flow": torch.randn(2, 4, 8, 8, generator=seeded(3)),
        "occlusion": torch.rand(1, 4, 8, 8, generator=seeded(4)),
        "features": torch.randn(4, 8, 8, generator=seeded(5)),
        "label": torch.tensor(1),
    }
    drawn = [draw_step(clip, seeded(i), objective.diffusion, path, parts, scales) for i in range(4)]
    return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}


def test_the_exact_student_has_no_loss_in_guidance_and_another_has():
    teacher, diffusion, path = small_unet(), process(), [*timesteps(1000, 8), -1]
    exact, plain = ExactStudent(teacher), student_of(teacher, SCALES)
    objective = DistillationObjective(exact, diffusion, teacher, told=False)
    batch = batch_of(objective, path, 1)
    assert objective(batch)["loss"] < 1e-8
    assert DistillationObjective(plain, diffusion, teacher, told=False)(batch)["loss"] > 1e-5


def test_sampling_with_the_exact_student_is_guided_sampling_in_half_of_the_passes():
    teacher, diffusion, (_, _, features, label) = small_unet(), process(), clip_of(2)
    exact = ExactStudent(teacher)
    way = dict(steps=5, progress=False)
    told = guided(exact, features, label, 1.0, torch.full((2, 1), 2.5))
    ours = sample(diffusion, told, (2, 3, 4, 8, 8), generator=seeded(), **way)
    assert exact.passes == 5
    theirs = sample(diffusion, guided(teacher, features, label, 2.5), (2, 3, 4, 8, 8), generator=seeded(), **way)
    assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_scales_in_training_fill_their_range_and_steps_are_those_of_the_student():
    objective = DistillationObjective(small_unet(), process(), small_unet(), told=False)
    path = [*timesteps(1000, 8), -1]
    batches = [batch_of(objective, path, 2, scales) for scales in [SCALES]]
    scales = batches[0]["numbers"][:, -1]
    assert ((scales >= SCALES[0]) & (scales <= SCALES[1])).all() and len(scales.unique()) == 4
    coarse = [*timesteps(1000, 4), -1]
    for t, half, s in batches[0]["steps"].tolist():
        assert (t, s) in pairwise(coarse) and path.index(half) == path.index(t) + 1


# ---------------------------------------------------------------- steps in one


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_following_a_list_of_steps_is_sampling_with_ddim(parameterization):
    diffusion, x = process(parameterization), torch.randn(2, 5, generator=seeded())
    denoise, path = perfect_network(diffusion), [*timesteps(1000, 6), -1]
    ends = follow(diffusion, denoise, x, [torch.full((2,), t) for t in path])
    way = dict(sampler="ddim", steps=6, min_alpha_bar=0.0, noise=iter([x]), progress=False)
    assert_close(ends, sample(diffusion, denoise, x.shape, **way), atol=1e-5, rtol=1e-4)


def test_every_second_step_of_twice_as_many_is_a_step_of_the_student():
    for steps in (1, 2, 3, 5, 8):
        assert timesteps(1000, 2 * steps)[::2] == timesteps(1000, steps)


@pytest.mark.parametrize("t, s", [(999, 749), (499, 249), (249, -1), (999, -1)])
def test_one_step_with_the_target_lands_where_the_teachers_steps_do(t, s):
    diffusion, x_t, x_s = process(), *torch.randn(2, 3, 4, generator=seeded()).double()
    alpha_bar = [*diffusion.exact_alpha_bar().tolist(), 1.0]
    x0 = one_step_target(diffusion, x_t, x_s, torch.full((3,), t), torch.full((3,), s))
    eps = (x_t - alpha_bar[t] ** 0.5 * x0) / (1 - alpha_bar[t]) ** 0.5
    assert_close(ddim_step(x0, eps, alpha_bar[t], alpha_bar[s], 0.0, x_t), x_s, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
def test_the_loss_is_nothing_for_the_answer_that_stands_for_the_target(parameterization):
    diffusion, x_t, x0 = process(parameterization), *torch.randn(2, 3, 4, generator=seeded())
    t = torch.tensor([900, 500, 30])
    alpha, sigma = diffusion.at(t, x_t)
    answer = diffusion.target(x0, (x_t - alpha * x0) / sigma, t)
    assert distillation_loss(diffusion, lambda x, t: answer, x_t, t, x0) < 1e-9
    assert distillation_loss(diffusion, lambda x, t: answer + 0.5, x_t, t, x0).item() == pytest.approx(0.25, rel=1e-4)


def halved(diffusion, teacher, steps: int):
    """The best student of `steps` steps: for Gaussian data a straight line at each step, fitted by least squares."""
    lines, fine = {}, [*timesteps(1000, 2 * steps), -1]
    for i in range(steps):
        path = [torch.full((50,), t) for t in fine[2 * i : 2 * i + 3]]
        x_t = torch.randn(50, 1, generator=seeded(i))
        target = one_step_target(diffusion, x_t, follow(diffusion, teacher, x_t, path), path[0], path[-1])
        ones = torch.cat([x_t, torch.ones(50, 1)], dim=1).double()
        lines[fine[2 * i]] = torch.linalg.lstsq(ones, target.double()).solution.float().flatten().tolist()

    def student(x, t):
        slope, height = lines[int(t[0])]
        return slope * x + height

    return student


def test_halved_again_and_again_one_step_lands_where_32_do():
    """Of the 2-D mixture, where networks are students, chapter 10 tells."""
    diffusion, x = process(), torch.randn(1, 40, generator=seeded())
    teacher, way = perfect_network(diffusion), dict(sampler="ddim", min_alpha_bar=0.0, progress=False)
    many = sample(diffusion, teacher, x.shape, steps=32, noise=iter([x]), **way)
    one = sample(diffusion, teacher, x.shape, steps=1, noise=iter([x]), **way)
    assert_close(many, MU + S * x, atol=0.1, rtol=0)  # the flow's own end, in closed form
    assert_close(one, torch.full_like(x, MU), atol=1e-3, rtol=0)  # the teacher's one step: the mean, whatever the noise
    student = teacher
    for steps in (16, 8, 4, 2, 1):
        student = halved(diffusion, student, steps)
        few = sample(diffusion, student, x.shape, steps=steps, noise=iter([x]), **way)
        assert_close(few, many, atol=1e-4, rtol=0)


def test_a_network_that_is_told_a_scale_already_has_no_place_for_another():
    config = student_config(small_unet().config, SCALES)
    with pytest.raises(ValueError, match="two have the same name"):
        student_config(config, SCALES)
    with pytest.raises(ValueError, match="needs a name and a range"):
        student_config(small_unet().config, (2.0, 2.0))


# ---------------------------------------------------------------- a model and its fast network


@pytest.fixture(scope="module")
def fast_folder(tmp_path_factory):
    """A saved model of random weights, and in it a fast network that answers something else."""
    model = tiny_model()
    student = student_of(model.unet, SCALES)
    torch.manual_seed(1)
    for parameter in student.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.fast = FastDenoiser(student.eval().requires_grad_(False), 3, fingerprint_of(model.unet))
    return model.save_pretrained(tmp_path_factory.mktemp("fast") / "model")


@pytest.fixture
def image():
    return torch.rand(3, 32, 32, generator=seeded(1))


def test_a_saved_model_makes_fast_clips_that_the_scale_changes(fast_folder, image):
    model = LFDM.from_pretrained(fast_folder)
    clip = model.generate(image, "fear", fast=True, seed=0, progress=False)
    assert clip.video.shape == (1, 3, 4, 32, 32) and clip.video.dtype == torch.float32
    told = dict(steps=3, sampler="ddim", guidance_scale=model.guidance_scale)
    assert model.generate(image, "fear", fast=True, seed=0, progress=False, **told).video.equal(clip.video)
    other = model.generate(image, "fear", fast=True, seed=0, progress=False, guidance_scale=4.0)
    slow = model.generate(image, "fear", sampler="ddim", steps=3, seed=0, progress=False)
    for differs in (other, slow):
        assert (differs.flow - clip.flow).abs().max() > 1e-3


def test_the_fast_network_is_read_when_asked_for_and_moves_with_its_model(fast_folder, image, tmp_path):
    model = LFDM.from_pretrained(fast_folder)
    model.generate(image, "fear", steps=1, seed=0, progress=False)
    assert not model._fast and model.has_fast
    assert not any("fast" in name for name, _ in model.named_parameters())
    again = LFDM.from_pretrained(model.save_pretrained(tmp_path / "again"))
    assert again.fast.steps == 3 and again.fast.scales == SCALES
    for ours, theirs in zip(again.fast.unet.parameters(), model.fast.unet.parameters(), strict=True):
        assert ours.dtype == torch.float32 and ours.equal(theirs)
    half = LFDM.from_pretrained(model.save_pretrained(tmp_path / "half", dtype=torch.float16))
    half.generate(image, "fear", fast=True, seed=0, progress=False)  # the teacher is the same in half precision


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(steps=5), "steps is 5; the fast network takes 3: leave steps out, or fast"),
        (dict(sampler="ddpm"), "sampler is 'ddpm'; the fast network takes 'ddim'"),
        (dict(guidance_scale=0.2), "guidance_scale is 0.2; the fast network was trained from 0.5 to 4: choose"),
        (dict(guidance_scale=4.5), "guidance_scale is 4.5; the fast network was trained from 0.5 to 4: choose"),
        (dict(guided_steps=1), "answers with guidance built in: leave guided_steps out, or fast"),
        (dict(spacing=1.5), "has learned evenly spaced steps: leave spacing out, or fast"),
        (dict(precision="fp8"), "precision is 'fp8'; expected 'bf16', or None for float32"),
    ],
)
def test_what_the_fast_network_has_not_learned_is_refused(fast_folder, image, options, said):
    with pytest.raises(ValueError, match=said):
        LFDM.from_pretrained(fast_folder).generate(image, "fear", fast=True, progress=False, **options)


def test_a_model_without_a_fast_network_says_how_to_make_one(image, tmp_path):
    model = tiny_model()
    for one in (model, LFDM.from_pretrained(model.save_pretrained(tmp_path / "plain"))):
        assert not one.has_fast
        with pytest.raises(ValueError, match="has no fast network .* lfdm train few-steps makes one; or leave fast"):
            one.generate(image, "fear", fast=True)


def test_a_fast_network_that_other_weights_taught_is_refused_and_kept(fast_folder, image, tmp_path):
    model = LFDM.from_pretrained(fast_folder)
    model.unet.head.bias.data += 0.1
    for one in (model, LFDM.from_pretrained(model.save_pretrained(tmp_path / "learned_more"))):
        with pytest.raises(ValueError, match="taught by other weights than this model has: train it again"):
            one.generate(image, "fear", fast=True)


def stored_as_change(folder, place, kept):
    """A model whose fast network is stored as its change from the denoiser."""
    model = LFDM.from_pretrained(folder)
    model.fast = replace(model.fast, kept=kept)
    return model.save_pretrained(place)


def test_a_fast_network_is_stored_as_what_it_learned_beyond_its_teacher(fast_folder, image, tmp_path):
    way = dict(fast=True, seed=0, progress=False)
    whole = LFDM.from_pretrained(fast_folder)
    clips = {None: whole.generate(image, "fear", **way).video}
    size = (fast_folder / "fast" / "model.safetensors").stat().st_size
    for kept in (10**7, 30_000, 3_000):
        folder = stored_as_change(fast_folder, tmp_path / str(kept), kept)
        model = LFDM.from_pretrained(folder)
        assert model.fast.kept <= kept and model.fast.teacher == whole.fast.teacher
        clips[kept] = model.generate(image, "fear", **way).video
        again = LFDM.from_pretrained(model.save_pretrained(tmp_path / f"{kept} again"))
        assert again.fast.kept == model.fast.kept
        assert again.generate(image, "fear", **way).video.equal(clips[kept]), "what was read is written as it was"
    assert (folder / "fast" / "model.safetensors").stat().st_size < min(size, 2 * 3_000 + 50_000)
    with pytest.warns(UserWarning, match="kept=3 holds less than half"):
        stored_as_change(fast_folder, tmp_path / "little", 3)
    off = [(clips[kept] - clips[None]).abs().mean().item() for kept in (10**7, 30_000, 3_000)]
    assert off[0] < 2e-3 and off[0] < off[1] < off[2], off


@pytest.mark.parametrize(
    "ranks, said",
    [
        (3, "ranks is 3, expected a list of whole numbers"),
        ([1.5], "ranks is .*expected a list of whole numbers"),
        ([1], "ranks does not .*1 ranks for [0-9]+ tensors"),
        ([], "ranks does not .*0 ranks for [0-9]+ tensors"),
        (None, "model.safetensors"),  # as if the whole network were stored
    ],
)
def test_a_broken_change_is_named(fast_folder, tmp_path, ranks, said):
    folder = stored_as_change(fast_folder, tmp_path / "model", 3_000)
    path = folder / "fast" / "config.json"
    config = json.loads(path.read_text())
    config = {name: value for name, value in config.items() if name != "ranks"} if ranks is None else config
    path.write_text(json.dumps(config | ({} if ranks is None else {"ranks": ranks})))
    with pytest.raises(CheckpointError, match=said):
        _ = LFDM.from_pretrained(folder).fast


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda config: config["unet"]["numbers"].clear(), "not the config of the model"),
        (lambda config: config.update(steps=0), "steps 0 or sampler"),
        (lambda config: config.update(sampler="euler"), "sampler 'euler' is none that can be taken"),
        (lambda config: config.update(teacher=3), "teacher is 3, expected a fingerprint"),
        (lambda config: config.pop("steps"), "lacks the field 'steps'"),
    ],
)
def test_a_broken_fast_network_is_named(fast_folder, tmp_path, change, said):
    folder = shutil.copytree(fast_folder, tmp_path / "model")
    path = folder / "fast" / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        _ = LFDM.from_pretrained(folder).fast


def test_bfloat16_makes_nearly_the_same_clip(fast_folder, image):
    model = LFDM.from_pretrained(fast_folder)
    for fast in (False, True):
        way = dict(steps=3, sampler="ddim", seed=0, progress=False, fast=fast)
        full, half = (model.generate(image, "fear", precision=precision, **way) for precision in (None, "bf16"))
        assert half.video.dtype == half.flow.dtype == torch.float32
        assert not half.video.equal(full.video)
        assert (half.video - full.video).abs().mean() < 0.02


def test_the_command_generates_fast(fast_folder, tmp_path, capsys):
    Image.new("RGB", (40, 40), (90, 120, 60)).save(tmp_path / "picture.png")
    command = f"generate {tmp_path}/picture.png --label fear --checkpoint {fast_folder} --seed 0 --quiet --fast"
    assert cli.main([*command.split(), "--out", str(tmp_path / "fast.gif")]) == 0
    assert (tmp_path / "fast.gif").stat().st_size > 100
    assert cli.main([*command.split(), "--steps", "7", "--out", str(tmp_path / "not.gif")]) == 2
    assert "the fast network takes 3" in capsys.readouterr().err and not (tmp_path / "not.gif").exists()


@pytest.mark.parametrize("kept", [0, 10**7])
def test_parts_that_are_compiled_change_neither_what_is_read_nor_what_is_stored(fast_folder, image, tmp_path, kept):
    way = dict(fast=True, seed=0, progress=False)
    folder = stored_as_change(fast_folder, tmp_path / "model", kept)
    plain = LFDM.from_pretrained(folder).generate(image, "fear", **way).video
    model = LFDM.from_pretrained(folder)
    model.unet.label = torch.compile(model.unet.label, backend="eager")
    assert model.generate(image, "fear", **way).video.equal(plain)
    model.fast.unet.label = torch.compile(model.fast.unet.label, backend="eager")
    again = LFDM.from_pretrained(model.save_pretrained(tmp_path / "again"))
    assert again.generate(image, "fear", **way).video.equal(plain)


@pytest.mark.parametrize("kept", [0, 3_000])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_fast_network_that_is_none_is_refused_before_anything_is_written(fast_folder, tmp_path, kept, bad):
    model = LFDM.from_pretrained(fast_folder)
    model.fast = replace(model.fast, kept=kept)
    next(model.fast.unet.parameters()).data.view(-1)[0] = bad
    with pytest.raises(CheckpointError, match="the fast network: tensor .* holds (nan|inf) in 1 of"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_change_belongs_to_the_weights_that_it_was_counted_from(fast_folder, tmp_path):
    folder = stored_as_change(fast_folder, tmp_path / "model", 3_000)
    model = LFDM.from_pretrained(folder)  # its fast network is not read yet
    model.unet.head.bias.data += 0.1
    with pytest.raises(CheckpointError, match="is a change of other weights than this model has"):
        _ = model.fast
    with pytest.warns(UserWarning, match="change of other weights.*; saving without the fast network"):
        assert not (model.save_pretrained(tmp_path / "learned") / "fast").exists()
    assert LFDM.from_pretrained(tmp_path / "learned").unet.head.bias.equal(model.unet.head.bias)
    learned = LFDM.from_pretrained(folder)
    _ = learned.fast
    learned.unet.head.bias.data += 0.1
    learned.save_pretrained(folder)  # whole, for there is nothing to count it from
    assert LFDM.from_pretrained(folder).fast.kept == 0


def test_a_fast_network_that_cannot_be_read_does_not_stand_in_the_way(fast_folder, tmp_path):
    Image.new("RGB", (40, 40), (90, 120, 60)).save(tmp_path / "picture.png")
    folder = shutil.copytree(fast_folder, tmp_path / "model")
    (folder / "fast" / "model.safetensors").write_bytes(b"damaged")
    command = f"generate {tmp_path}/picture.png --label fear --checkpoint {folder} --seed 0 --quiet --num-frames 2"
    with pytest.warns(UserWarning, match="damaged.*; going on without the fast network"):
        assert cli.main([*command.split(), "--out", str(tmp_path / "clip.gif")]) == 0
    assert cli.main([*command.split(), "--fast", "--out", str(tmp_path / "not.gif")]) == 2


def test_the_command_takes_the_fast_network_where_it_serves(fast_folder, tmp_path):
    Image.new("RGB", (40, 40), (90, 120, 60)).save(tmp_path / "picture.png")
    clips = {}
    ways = {"default": "", "fast": "--fast", "long": "--steps 20", "beyond": "--guidance-scale 5"}
    ways["another sampler"] = "--sampler ddim"
    for name, way in ways.items():
        command = f"generate {tmp_path}/picture.png --label fear --checkpoint {fast_folder} --seed 0 --quiet {way}"
        assert cli.main([*command.split(), "--out", str(tmp_path / f"{name}.gif")]) == 0
        clips[name] = (tmp_path / f"{name}.gif").read_bytes()
    assert clips["default"] == clips["fast"], "nothing was asked for that it has not learned"
    assert len({clips[name] for name in ways if name != "fast"}) == 4, "20 steps of the denoiser, else"


def test_the_command_tells_of_a_fast_network(fast_folder, tmp_path, capsys):
    assert cli.main(["info", str(fast_folder)]) == 0
    assert "a network of 3 passes, guidance 0.5 to 4\n" in capsys.readouterr().out
    small = stored_as_change(fast_folder, tmp_path / "model", 3_000)
    assert cli.main(["info", str(small)]) == 0
    assert "guidance 0.5 to 4, stored as its change from unet, 2,9" in capsys.readouterr().out
    (small / "fast" / "model.safetensors").write_bytes(b"damaged")
    assert cli.main(["info", str(small)]) == 2
    assert "fast/model.safetensors" in capsys.readouterr().err


def test_a_fast_network_of_other_weights_does_not_stand_in_the_way(fast_folder, tmp_path):
    Image.new("RGB", (40, 40), (90, 120, 60)).save(tmp_path / "picture.png")
    model = LFDM.from_pretrained(fast_folder)
    model.unet.head.bias.data += 0.1
    folder = model.save_pretrained(tmp_path / "learned_more")
    command = f"generate {tmp_path}/picture.png --label fear --checkpoint {folder} --seed 0 --quiet --num-frames 2"
    assert cli.main([*command.split(), "--out", str(tmp_path / "clip.gif")]) == 0
    assert cli.main([*command.split(), "--fast", "--out", str(tmp_path / "not.gif")]) == 2


# ---------------------------------------------------------------- training


def losses(folder) -> list[str]:
    """Of each step, as the log has them."""
    return [row.split(",")[1] for row in (folder / "log.csv").read_text().splitlines()[1:]]


def test_a_student_is_taught_interrupted_resumed_and_halved(tmp_path, image, monkeypatch):
    checkpoint = tiny_model().save_pretrained(tmp_path / "model")
    guidance = replace(TINY, checkpoint=str(checkpoint), student_steps=4, teacher_steps=4)
    whole = train_few_steps(guidance, tmp_path / "whole")
    brief = replace(guidance, loop=replace(guidance.loop, max_hours=1e-9))
    with pytest.raises(Stopped):
        train_few_steps(brief, tmp_path / "parts")
    parts = train_few_steps(guidance, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 8
    for ours, theirs in zip(parts.fast.unet.parameters(), whole.fast.unet.parameters(), strict=True):
        assert_close(ours, theirs, rtol=0, atol=0)
    assert whole.fast.sampler == "dpm++" and whole.fast.steps == 4

    halving = replace(TINY, checkpoint=str(tmp_path / "whole"), student_steps=2)
    train_few_steps(halving, tmp_path / "halved")
    model = LFDM.from_pretrained(tmp_path / "halved")
    assert (model.fast.steps, model.fast.sampler, model.fast.scales) == (2, "ddim", (1.0, 3.0))
    assert model.generate(image, "fear", fast=True, seed=0, progress=False).video.isfinite().all()

    anew = train_few_steps(replace(guidance, checkpoint=str(tmp_path / "whole"), kept=2_000), tmp_path / "anew")
    assert losses(tmp_path / "anew") == losses(tmp_path / "whole"), "no fewer steps: the denoiser teaches"
    assert LFDM.from_pretrained(tmp_path / "anew").fast.kept <= 2_000 == anew.fast.kept


def test_what_cannot_be_taught_is_refused_before_anything_is_written(fast_folder, tmp_path):
    checkpoint = tiny_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="student_steps=3: the teacher takes 8 steps"):
        train_few_steps(replace(TINY, checkpoint=str(checkpoint), student_steps=3), tmp_path / "run")
    model = LFDM.from_pretrained(fast_folder)
    model.unet.head.bias.data += 0.1
    changed = replace(TINY, checkpoint=str(model.save_pretrained(tmp_path / "changed")), student_steps=1)
    with pytest.raises(ValueError, match="taught by other weights than this model has"):
        train_few_steps(changed, tmp_path / "run")
    with pytest.raises(ValueError, match="number 'scales' is from 3 to 1: needs a name and a range"):
        replace(TINY, scales=(3.0, 1.0))
    assert not (tmp_path / "run").exists()

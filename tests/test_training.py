"""Training at toy size: it learns, it resumes exactly, and nothing on disk is ever half-written."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from lfdm_lite.data.drawn.acting.expressions import Acting
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.training import PRESETS, train_autoencoder, train_diffusion, train_judge
from lfdm_lite.training.engine.core import Engine
from lfdm_lite.training.engine.randomness import step_indices
from lfdm_lite.training.engine.saving import newest_state, save_state
from lfdm_lite.training.engine.schedules import learning_rate
from lfdm_lite.training.stages.clips import cached_clips
from lfdm_lite.training.stages.finished import start_from, thinned
from lfdm_lite.training.stages.shards import sharded_clips

from .patience import HUNG

TINY = PRESETS["tiny"]


def losses(folder):
    with open(folder / "log.csv", newline="") as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}


def assert_same_weights(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda m, name=name: f"{name}: {m}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "cache").symlink_to(drawn)
    return folder, train_autoencoder(TINY.autoencoder, folder / "ae")


def test_a_run_leaves_its_model_log_and_recipe(undisturbed):
    folder, _ = undisturbed
    recipe = json.loads((folder / "ae" / "recipe.json").read_text())
    assert recipe["config"]["optim"]["steps"] == 8 and recipe["seconds"] > 0 and "torch" in recipe["versions"]
    assert list(losses(folder / "ae")) == list(range(1, 9))
    assert sorted(p.name for p in (folder / "ae" / "checkpoints").iterdir()) == ["step_0000004", "step_0000008"]


def test_killed_in_the_middle_of_a_write_it_goes_on_from_the_last_whole_checkpoint(undisturbed, runs):
    folder, expected = undisturbed
    code = """
import os, signal, sys
import lfdm_lite.training.engine.saving as saving
from lfdm_lite.training import PRESETS, train_autoencoder
save, calls = saving.torch.save, []
def half_a_save(state, file):
    calls.append(1)
    if len(calls) == 2:
        file.write(b"half of a checkpoint"); file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, file)
saving.torch.save = half_a_save
train_autoencoder(PRESETS["tiny"].autoencoder, __import__("pathlib").Path(sys.argv[1]))
"""
    run = subprocess.run([sys.executable, "-c", code, str(runs / "ae")], capture_output=True, timeout=HUNG)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert list((runs / "ae" / "checkpoints").glob(".writing-*")), "the kill came too early to test anything"
    resumed = train_autoencoder(TINY.autoencoder, runs / "ae", resume=True)
    assert_same_weights(resumed, expected)
    assert losses(runs / "ae") == pytest.approx(losses(folder / "ae"))
    assert not list((runs / "ae" / "checkpoints").glob(".writing-*"))


def test_asked_to_stop_it_saves_and_says_how_to_go_on(undisturbed, runs):
    folder, expected = undisturbed
    code = """
import os, pathlib, signal, sys
import lfdm_lite.training.engine.loop as loop
from lfdm_lite.training import PRESETS, train_autoencoder
check, calls = loop.check_finite, []
def ask_to_stop(*args):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    check(*args)
loop.check_finite = ask_to_stop
try:
    train_autoencoder(PRESETS["tiny"].autoencoder, pathlib.Path(sys.argv[1]))
except loop.Stopped as stop:
    print(stop)
"""
    command = [sys.executable, "-c", code, str(runs / "ae")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=HUNG)
    assert "stopped after step 3 of 8; go on with --resume" in run.stdout, run.stderr
    assert_same_weights(train_autoencoder(TINY.autoencoder, runs / "ae", resume=True), expected)
    assert losses(runs / "ae") == pytest.approx(losses(folder / "ae"))


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(undisturbed):
    folder, _ = undisturbed
    with pytest.raises(ValueError, match="holds a run already; use --resume"):
        train_autoencoder(TINY.autoencoder, folder / "ae")
    with pytest.raises(ValueError, match=r"other options \(--from-rest 0.5 -> 0.1\); leave them out"):
        train_autoencoder(replace(TINY.autoencoder, from_rest=0.1), folder / "ae", resume=True)


def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys):
    save_state(tmp_path, 1, {"step": 1}, keep=3)
    path = save_state(tmp_path, 2, {"step": 2}, keep=3)
    with open(path / "state.pt", "ab") as file:
        file.write(b"damage")
    assert newest_state(tmp_path) == {"step": 1}
    assert "step_0000002 is damaged" in capsys.readouterr().err


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    for step in range(5):
        save_state(tmp_path, step, {"step": step}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_0000003", "step_0000004"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_state(tmp_path, 1, {"step": 1}, keep=1)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_state(tmp_path, 2, {"step": 2}, keep=1)
    assert newest_state(tmp_path) == {"step": 1}


def test_both_stages_and_the_judge_train_and_the_model_generates(undisturbed, tmp_path):
    folder, _ = undisturbed
    config = replace(TINY.diffusion, autoencoder=str(folder / "ae"))
    model = train_diffusion(config, folder / "dm")
    clip = model.generate(torch.rand(3, 40, 40), "surprise", steps=2, seed=0, progress=False)
    assert clip.video.shape == (1, 3, 4, 32, 32)
    judge = train_judge(TINY.judge, folder / "judge")
    assert judge(clip.video).shape == (1, 6)


def test_motions_on_the_fly_and_from_the_cache_train_alike(undisturbed):
    folder, _ = undisturbed
    run = replace(TINY.diffusion, autoencoder=str(folder / "ae"))
    run = replace(run, diffusion=replace(run.diffusion, motion="residual"))  # the unit of "scaled" is that of its clips
    losses = []
    for name, cache in (("cached", True), ("fly", False)):
        train_diffusion(replace(run, cache=cache), folder / name)
        with open(folder / name / "log.csv", newline="") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert len(losses[0]) == TINY.diffusion.optim.steps
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # the cache is in half precision


def test_stage_two_learns_numbers_and_finer_motion_from_the_cache_and_on_the_fly_alike(tmp_path):
    optim = replace(TINY.autoencoder.optim, steps=2)
    data = replace(TINY.autoencoder.data, acting=Acting((0.5, 1.45), 0.2))
    finer = replace(TINY.autoencoder.model, motion_stride=2)
    train_autoencoder(replace(TINY.autoencoder, model=finer, data=data, optim=optim), tmp_path / "ae")
    run = replace(TINY.diffusion, autoencoder=str(tmp_path / "ae"), data=data, optim=optim)
    run = replace(run, diffusion=replace(run.diffusion, motion="residual"), numbers=("strength", "turn"))
    found = []
    for name, cache in (("cached", True), ("fly", False)):
        model = train_diffusion(replace(run, cache=cache), tmp_path / name)
        found.append(list(losses(tmp_path / name).values()))
    assert found[0] == pytest.approx(found[1], rel=2e-3)
    strength, turn = model.unet.config.numbers
    assert model.unet.config.patch == 2 and 0.5 <= strength.low < 0.8 and 1.15 < strength.high <= 1.45
    assert -0.45 < turn.low < -0.1 and 0.1 < turn.high < 0.45
    clip = model.generate(torch.rand(3, 40, 40), "fear", strength=1.0, turn=0.1, steps=2, seed=0, progress=False)
    assert clip.flow.shape == (1, 2, 4, 16, 16) and clip.numbers == {"strength": [1.0], "turn": [0.1]}
    told = torch.tensor([[1.0, 0.1]])
    given = torch.randn(1, 3, 4, 16, 16), torch.tensor([500]), torch.randn(1, 16, 8, 8), torch.tensor([2])
    assert not torch.equal(model.unet(*given), model.unet(*given, told)), "two steps have moved something"


def test_a_cache_of_something_else_is_made_anew_and_said(tmp_path, capsys):
    for name, value in (("a", 1.0), ("b", 2.0), ("b", 3.0)):
        clips = sharded_clips(tmp_path, {"weights": name}, 3, lambda r, value=value: {"x": value + torch.zeros(3)}, "x")
    assert clips.whole("x").tolist() == [2.0] * 3, "what is whole is kept"
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lfdm: ")]
    assert len(said) == 1 and "(000000.safetensors: it was made from something else) and have been made anew" in said[0]


def test_an_interrupted_cache_goes_on(tmp_path):
    made = []

    def make(r):
        made.append(r.start)
        if len(made) == 2:
            raise KeyboardInterrupt
        return {"x": torch.arange(r.start, r.stop)}

    with pytest.raises(KeyboardInterrupt):
        sharded_clips(tmp_path, {}, 250, make, "x")
    assert torch.equal(sharded_clips(tmp_path, {}, 250, make, "x").whole("x"), torch.arange(250))
    assert made == [0, 100, 100, 200]


def test_the_clip_cache_holds_neither_flow_nor_visibility(tmp_path):
    clips = cached_clips(TINY.judge.data, "val", tmp_path)
    assert set(clips[0]) == {"video", "label", "strength", "turn"}
    video, label = clips.whole("video"), clips.whole("label")
    assert video.dtype == torch.uint8 and video.shape == (4, 3, 4, 32, 32) and label.shape == (4,)


def test_the_order_of_clips_is_a_function_of_the_step():
    a, b = step_indices(3, 10, 4, 0), step_indices(3, 10, 4, 5)
    ten = [next(a) for _ in range(10)]
    assert [next(b) for _ in range(5)] == ten[5:]
    assert sorted(sum(ten[:5], [])) == sorted([*range(10)] * 2), "two epochs see every clip twice"


def test_the_learning_rate_rises_then_falls_to_zero():
    optim = replace(TINY.autoencoder.optim, steps=100, warmup=10)
    rates = [learning_rate(step, optim) for step in range(101)]
    assert max(rates) == rates[10] == optim.learning_rate and rates[100] == pytest.approx(0)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_batch(runs):
    config = replace(TINY.autoencoder, gradient_weight=1e39)  # more than float32 holds
    with pytest.raises(FloatingPointError, match="is inf in step 0; the batch is in"):
        train_autoencoder(config, runs / "ae")
    assert os.path.getsize(runs / "ae" / "bad_batch.pt") > 0


def test_both_stages_train_on_a_folder_of_mp4_gif_and_frame_folders(tmp_path):
    from lfdm_lite.data import Faces
    from lfdm_lite.files.media import write_gif, write_image, write_mp4

    faces = Faces("train", size=32, num_frames=4, length=12)
    for i in range(12):
        item = faces[i]
        folder = tmp_path / "videos" / ("calm" if i % 2 else "lively")
        folder.mkdir(parents=True, exist_ok=True)
        if i % 3 == 0:
            write_mp4(folder / f"{i}.mp4", item["video"], scale=2)
        elif i % 3 == 1:
            write_gif(folder / f"{i}.gif", item["video"])
        else:
            (folder / f"{i}").mkdir()
            for t in range(4):
                write_image(folder / f"{i}" / f"{t:03d}.png", item["video"][:, t])
    data = replace(TINY.autoencoder.data, name="folder", root=str(tmp_path / "videos"))
    preset = TINY.with_data(data)
    train_autoencoder(preset.autoencoder, tmp_path / "ae")
    run = replace(preset.diffusion, autoencoder=str(tmp_path / "ae"), numbers=("strength",))  # which films do not know
    model = train_diffusion(run, tmp_path / "dm")
    assert model.labels == ["calm", "lively"] and model.unet.config.numbers == ()
    assert model.generate(torch.rand(3, 32, 32), "calm", steps=2, seed=0, progress=False).video.isfinite().all()


def test_a_run_may_start_from_the_weights_of_another_where_they_fit(undisturbed, runs, capsys):
    folder, finished = undisturbed
    slowly = replace(TINY.autoencoder.optim, steps=1, warmup=10**6)
    config = replace(TINY.autoencoder, init=str(folder / "ae"), optim=slowly)
    again = train_autoencoder(config, runs / "again")
    for name, value in finished.named_parameters():  # a rate of next to nothing, and the average of one step
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=1e-3)
    assert "starts from" not in capsys.readouterr().err, "all fits: there is nothing to say"
    assert "init" in json.loads((runs / "again" / "recipe.json").read_text())["clips"]

    wider = replace(config, model=replace(config.model, num_regions=4))
    train_autoencoder(wider, runs / "wider")
    said = capsys.readouterr().err
    assert "starts from" in said and "fresh stay" in said and "regions.to_logits" in said

    fresh = Engine(config, runs / "none")
    with pytest.raises(CheckpointError, match="no tensor of its autoencoder"):
        start_from(nn.Linear(3, 2), str(folder / "ae"), "autoencoder", fresh)
    with pytest.raises(CheckpointError, match="no denoiser"):
        start_from(nn.Linear(3, 2), str(folder / "ae"), "unet", fresh)


def test_a_narrower_network_keeps_the_same_channels_everywhere_and_as_many_of_each_group():
    wide, narrow, groups = 192, 160, 8
    kept = thinned(torch.arange(wide), torch.Size([narrow]))
    counted = torch.bincount(kept // (wide // groups))
    assert counted.tolist() == [narrow // groups] * groups and len(kept.unique()) == narrow
    joined = thinned(torch.arange(2 * wide), torch.Size([2 * narrow]))  # the input of a block that two maps meet in
    assert joined.tolist() == torch.cat([kept, kept + wide]).tolist()
    weight = torch.randn(wide, 2 * wide, 3, 3)
    assert torch.equal(thinned(weight, torch.Size([narrow, 2 * narrow, 3, 3])), weight[kept][:, joined])
    assert torch.equal(thinned(weight, weight.shape), weight)
    for other in ([narrow, 2 * narrow, 1, 1], [2 * wide, 2 * wide, 3, 3], [narrow, 2 * narrow]):
        assert thinned(weight, torch.Size(other)) is None


def test_a_narrower_network_computes_nearly_what_the_wider_one_did_where_channels_repeat():
    wide, narrow = nn.Linear(6, 8), nn.Linear(6, 4)
    with torch.no_grad():
        wide.weight[1::2], wide.bias[1::2] = wide.weight[::2], wide.bias[::2]  # each channel twice
    narrow.load_state_dict(
        {name: thinned(value, narrow.state_dict()[name].shape) for name, value in wide.state_dict().items()}
    )
    x = torch.randn(5, 6)
    torch.testing.assert_close(narrow(x), wide(x)[:, ::2])


def test_a_run_goes_on_without_the_folder_that_it_started_from(undisturbed, runs):
    shutil.copytree(undisturbed[0] / "ae", runs / "first")
    config = replace(TINY.autoencoder, init=str(runs / "first"))
    train_autoencoder(config, runs / "run")
    shutil.rmtree(runs / "first")
    longer = replace(config, optim=replace(config.optim, steps=10))
    train_autoencoder(longer, runs / "run", resume=True)
    assert list(losses(runs / "run"))[-1] == 10


def test_a_weight_of_nothing_and_numbers_that_nobody_knows_are_refused(undisturbed, tmp_path):
    weights = ("pixel", "perceptual", "gradient", "visibility", "warp", "stillness", "smoothness", "shift", "affine")
    with pytest.raises(ValueError, match="are 0: nothing would be learned"):
        replace(TINY.autoencoder, **{f"{name}_weight": 0.0 for name in weights})
    with pytest.raises(ValueError, match="need pictures of 64 pixels, data.size is 32: use fewer of either"):
        replace(TINY.autoencoder, perceptual_weight=1.0)
    run = replace(TINY.diffusion, autoencoder=str(undisturbed[0] / "ae"), numbers=("strenght",))
    with pytest.raises(ValueError, match="numbers: 'strenght' is not one of: strength, turn"):
        train_diffusion(run, tmp_path / "dm")


def test_halves_of_the_clips_hold_every_label_alike():
    from lfdm_lite.evaluation.tables import occurrence

    label = torch.arange(24) % 6
    half = occurrence(label) % 2 == 0
    assert torch.equal(label[half].bincount(), label[~half].bincount())

"""Training at toy size: it learns, it resumes exactly, and nothing on disk is ever half-written."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lfdm_lite.training import PRESETS, train_autoencoder, train_diffusion, train_judge
from lfdm_lite.training.engine.randomness import step_indices
from lfdm_lite.training.engine.saving import newest_state, save_state
from lfdm_lite.training.engine.schedules import learning_rate
from lfdm_lite.training.stages.clips import cached_clips
from lfdm_lite.training.stages.shards import sharded_clips

TINY = PRESETS["tiny"]


def losses(folder):
    with open(folder / "log.csv", newline="") as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}


def assert_same_weights(a, b):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda m, name=name: f"{name}: {m}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return folder, train_autoencoder(TINY.autoencoder, folder / "ae")


def test_a_run_leaves_its_model_log_and_recipe(undisturbed):
    folder, _ = undisturbed
    recipe = json.loads((folder / "ae" / "recipe.json").read_text())
    assert recipe["config"]["optim"]["steps"] == 8 and recipe["seconds"] > 0 and "torch" in recipe["versions"]
    assert list(losses(folder / "ae")) == list(range(1, 9))
    assert sorted(p.name for p in (folder / "ae" / "checkpoints").iterdir()) == ["step_0000004", "step_0000008"]


def test_killed_in_the_middle_of_a_write_it_goes_on_from_the_last_whole_checkpoint(undisturbed, tmp_path):
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
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "ae")], capture_output=True, timeout=300)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert list((tmp_path / "ae" / "checkpoints").glob(".writing-*")), "the kill came too early to test anything"
    resumed = train_autoencoder(TINY.autoencoder, tmp_path / "ae", resume=True)
    assert_same_weights(resumed, expected)
    assert losses(tmp_path / "ae") == pytest.approx(losses(folder / "ae"))
    assert not list((tmp_path / "ae" / "checkpoints").glob(".writing-*"))


def test_asked_to_stop_it_saves_and_says_how_to_go_on(undisturbed, tmp_path):
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
    command = [sys.executable, "-c", code, str(tmp_path / "ae")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "stopped after step 3 of 8; go on with --resume" in run.stdout, run.stderr
    assert_same_weights(train_autoencoder(TINY.autoencoder, tmp_path / "ae", resume=True), expected)
    assert losses(tmp_path / "ae") == pytest.approx(losses(folder / "ae"))


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
    assert set(clips[0]) == {"video", "label"}
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


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path):
    config = replace(TINY.autoencoder, gradient_weight=1e39)  # more than float32 holds
    with pytest.raises(FloatingPointError, match="is inf in step 0; the batch is in"):
        train_autoencoder(config, tmp_path / "ae")
    assert os.path.getsize(tmp_path / "ae" / "bad_batch.pt") > 0


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
    model = train_diffusion(replace(preset.diffusion, autoencoder=str(tmp_path / "ae")), tmp_path / "dm")
    assert model.labels == ["calm", "lively"]
    assert model.generate(torch.rand(3, 32, 32), "calm", steps=2, seed=0, progress=False).video.isfinite().all()


def test_halves_of_the_clips_hold_every_label_alike():
    from lfdm_lite.evaluation.tables import occurrence

    label = torch.arange(24) % 6
    half = occurrence(label) % 2 == 0
    assert torch.equal(label[half].bincount(), label[~half].bincount())

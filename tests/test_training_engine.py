"""The engine: one run in one process or several, whole or interrupted, gives one result."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lfdm_lite import LFDM, cli
from lfdm_lite.autoencoder import LatentFlowAutoencoder
from lfdm_lite.files.models.configs import make_config
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.training import (
    PRESETS,
    AutoencoderRun,
    DiffusionRun,
    load_autoencoder,
    train_autoencoder,
    train_decoder,
    train_diffusion,
    train_judge,
)
from lfdm_lite.training.configs import LoopConfig
from lfdm_lite.training.engine import saving
from lfdm_lite.training.engine.averaging import WeightAverage
from lfdm_lite.training.engine.computing import to_channels_last
from lfdm_lite.training.engine.core import Engine, Learner
from lfdm_lite.training.engine.randomness import BatchOrder, Examples, generator_of
from lfdm_lite.training.engine.recipes import read_run
from lfdm_lite.training.engine.records import Log
from lfdm_lite.training.engine.schedules import learning_rate
from lfdm_lite.training.engine.stopping import TIME_IS_UP, StopRequest
from lfdm_lite.training.stages import judge
from lfdm_lite.training.stages.clips import TensorClips
from lfdm_lite.training.stages.decoder import DECODER
from lfdm_lite.training.stages.stage_one import AutoencoderObjective, draw_pair

from .kills import kill_at_random
from .patience import HUNG, until
from .workers import run_command, start, train_together

ROOT = Path(__file__).parents[1]
TINY = PRESETS["tiny"]


def changed(config, **fields):
    """The config with fields of its optimizer, of its loop, or of its own set otherwise."""
    for part in ("optim", "loop"):
        known = {name: fields.pop(name) for name in list(fields) if hasattr(getattr(config, part), name)}
        config = replace(config, **{part: replace(getattr(config, part), **known)})
    return replace(config, **fields)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def worst(a, b, steps):
    return max(abs(a[step][name] - b[step][name]) for step in steps for name in a[step])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, drawn):
    """Both stages, finished, at toy size."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "cache").symlink_to(drawn)
    train_autoencoder(TINY.autoencoder, folder / "ae")
    train_diffusion(changed(TINY.diffusion, autoencoder=str(folder / "ae")), folder / "dm")
    return folder


# ---------------------------------------------------------------- processes


@pytest.mark.parametrize("stage", ["autoencoder", "diffusion"])
def test_two_processes_see_the_losses_of_one_and_either_goes_on_with_the_run_of_the_other(stage, runs):
    frozen = dict(steps=8, batch_size=4, batch_norm="frozen", save_every=4, validate_every=8)
    config = changed(getattr(TINY, stage), **frozen)
    if stage == "diffusion":
        train_together(1, "autoencoder", changed(TINY.autoencoder, steps=1), runs / "ae")  # weights in float64
        config = replace(config, autoencoder=str(runs / "ae"))
    one = train_together(1, stage, config, runs / "one")
    two = train_together(2, stage, config, runs / "two")
    assert json.loads((runs / "two" / "recipe.json").read_text())["versions"]["processes"] == "2"
    assert sorted(one) == list(range(1, 9)) and one[8]["loss"] != one[7]["loss"]
    assert worst(one, two, range(1, 9)) < 1e-6
    if stage == "autoencoder":
        return
    shutil.rmtree(runs / "two" / "checkpoints" / "step_0000008")
    alone = train_together(1, stage, config, runs / "two", resume=True)
    assert sorted(alone) == list(range(5, 9)) and worst(one, alone, alone) < 1e-6


def test_a_batch_in_parts_gives_the_losses_of_the_whole_batch(runs):
    config = changed(TINY.autoencoder, batch_size=4, batch_norm="frozen")
    train_autoencoder(config, runs / "whole")
    train_autoencoder(changed(config, accumulate=2), runs / "parts")
    for whole, parts in zip(rows(runs / "whole"), rows(runs / "parts"), strict=True):
        assert float(parts["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-3)
        assert float(parts["gradient"]) == pytest.approx(float(whole["gradient"]), rel=1e-2)


@pytest.mark.slow
def test_accelerate_launches_the_command_in_two_processes(runs):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--main_process_port", "0"]  # 0: one that is free
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "lfdm_lite.cli"]
    command = ["train", "judge", "--preset", "tiny", "--out", str(runs / "judge")]
    run = subprocess.run([*launch, *command], capture_output=True, text=True, timeout=HUNG, cwd=ROOT)
    assert run.returncode == 0 and run.stdout.count("done: ") == 1, run.stdout + run.stderr
    assert json.loads((runs / "judge" / "recipe.json").read_text())["versions"]["processes"] == "2"
    train_judge(TINY.judge, runs / "alone")
    together, alone = rows(runs / "judge"), rows(runs / "alone")
    assert [float(r["loss"]) for r in together] == pytest.approx([float(r["loss"]) for r in alone], rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(processes=st.integers(1, 4), parts=st.integers(1, 3), size=st.integers(1, 3), step=st.integers(0, 50))
def test_the_parts_of_all_processes_are_the_batch(processes, parts, size, step):
    order = BatchOrder(0, 7, processes * parts * size, processes, parts)
    shares = [list(order.of_process(process, step, step + 1)) for process in range(processes)]
    assert [place for share in shares for part in share for place in part] == order.places(step)


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"a batch of 2 cannot be cut .* 1 processes with 3 parts .* a multiple of 3"):
        train_autoencoder(changed(TINY.autoencoder, accumulate=3), tmp_path / "ae")
    assert not (tmp_path / "ae").exists()


# ---------------------------------------------------------------- randomness


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 999)), st.integers(0, 2), st.integers(1, 9))
def test_every_place_has_random_numbers_of_its_own_and_always_the_same(key, part, change):
    other = [value + change * (i == part) for i, value in enumerate(key)]
    first, again, elsewhere = (torch.rand(4, generator=generator_of(*k)) for k in (key, key, other))
    assert torch.equal(first, again) and not torch.equal(first, elsewhere)


def test_an_example_does_not_depend_on_its_batch():
    clips = TensorClips(video=torch.randint(0, 255, (6, 3, 4, 32, 32), dtype=torch.uint8))
    examples = Examples(clips, partial(draw_pair, from_rest=0.5), seed=0)
    places = BatchOrder(0, 6, 4).places(3)
    whole, half = examples.batch(places), examples.batch(places[2:])
    assert all(torch.equal(half[name], whole[name][2:]) for name in whole)


def test_pairs_start_at_rest_as_often_as_asked():
    video = torch.arange(8, dtype=torch.uint8).view(1, 8, 1, 1).expand(3, 8, 2, 2)
    draw = partial(draw_pair, {"video": video}, from_rest=0.5)
    sources = [int(draw(generator=generator_of(0, step, 0))["source"][0, 0, 0]) for step in range(2000)]
    assert sum(source == 0 for source in sources) / 2000 == pytest.approx(0.5 + 0.5 / 8, abs=0.04)
    assert set(sources) == set(range(8))


def test_batches_prepared_ahead_by_other_processes_are_the_same(runs):
    train_judge(TINY.judge, runs / "here")
    train_judge(changed(TINY.judge, workers=2), runs / "ahead")
    assert weights(runs / "here") == weights(runs / "ahead")


# ---------------------------------------------------------------- never lose work


def test_killed_at_random_moments_and_resumed_a_run_ends_as_if_undisturbed(runs):
    seed = int(time.time())
    outcome = kill_at_random(runs, kills=5, seed=seed, steps=18)
    assert outcome.kills == 5 and outcome.runs and not outcome.unreadable and not outcome.different, (outcome, seed)


def test_asked_to_stop_while_saving_a_run_loses_nothing(runs):
    outcome = kill_at_random(runs, kills=3, seed=1, number=signal.SIGTERM, slow_save=0.1, steps=12)
    assert outcome.kills == 3 and not outcome.unreadable and not outcome.different, outcome


def test_a_signal_to_all_processes_of_a_run_is_answered_by_the_one_that_trains(runs):
    command = f"train judge --preset tiny --steps 400 --workers 2 --out {runs / 'judge'}".split()
    process = start(lead_a_group, command, str(runs / "log.txt"))
    until(lambda: not process.is_alive() or saving.checkpoints(runs / "judge" / "checkpoints"))
    os.killpg(process.pid, signal.SIGTERM)
    process.join(HUNG)
    assert process.exitcode == 143, (runs / "log.txt").read_text()
    step = json.loads((saving.checkpoints(runs / "judge" / "checkpoints")[-1] / "manifest.json").read_text())["step"]
    said = (runs / "log.txt").read_text()
    assert f"stopped after step {step} of 400; go on with --resume" in said


def lead_a_group(command, log):
    os.setpgid(0, 0)
    run_command(command, 0.0, log)


def test_a_run_stops_in_time_says_how_to_go_on_and_goes_on(runs, capsys):
    command = f"train judge --preset tiny --out {runs / 'judge'} --steps 6".split()
    assert cli.main([*command, "--max-hours", "1e-9"]) == 0
    said = capsys.readouterr().out
    assert "the 1e-09 hours of --max-hours are over: stopped after step 1 of 6; go on with --resume" in said
    assert not (runs / "judge" / "config.json").exists()
    assert cli.main([*command, "--max-hours", "1", "--resume"]) == 0
    assert cli.main([*command[:-4], "--out", str(runs / "undisturbed"), "--steps", "6"]) == 0
    assert weights(runs / "judge") == weights(runs / "undisturbed")
    assert len(json.loads((runs / "judge" / "recipe.json").read_text())["resumed"]) == 1


def test_time_is_up_while_there_is_enough_of_it_for_another_reading_and_the_signal_goes_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with StopRequest(max_hours=1.0, began=0.0) as stop:
        looks = []
        for now[0] in (1000.0, 2000.0, 2700.0):
            looks.append(stop.look())
        assert looks == [0, 0, TIME_IS_UP], "another 1000 seconds do not fit into the hour"
        signal.raise_signal(signal.SIGINT)
        assert stop.reason == signal.SIGINT


def test_ctrl_c_again_ends_at_once_but_a_signal_that_a_launcher_passes_on_does_not(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with StopRequest(None, began=0.0) as stop:
        signal.raise_signal(signal.SIGINT)
        now[0] = 1.0
        signal.raise_signal(signal.SIGINT)
        now[0] = 60.0
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_full_disk_is_reported_before_anything_is_touched(tmp_path, monkeypatch):
    saving.save_state(tmp_path, 1, {"step": 1}, keep=1)
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 2_000_000))
    with pytest.raises(OSError, match=r"No space left.* needs 4.0 MB, 2.0 MB are free; older .* untouched"):
        saving.save_state(tmp_path, 2, {"step": 2, "x": torch.zeros(10**6)}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_0000001"]
    assert saving.newest_state(tmp_path) == {"step": 1}


def test_a_run_goes_on_while_the_disk_is_full_and_saves_when_it_is_not(runs, monkeypatch, capsys):
    check, calls = saving.check_room, []

    def full_for_a_while(folder, needed):
        calls.append(folder)
        check(folder, 10**18 if 2 <= len(calls) <= 3 else needed)

    monkeypatch.setattr(saving, "check_room", full_for_a_while)
    train_judge(TINY.judge, runs / "judge")
    assert "not saved after step 4, will try again" in capsys.readouterr().err
    steps = [path.name for path in saving.checkpoints(runs / "judge" / "checkpoints")]
    assert steps == ["step_0000006", "step_0000008"], "step 5 failed too, step 6 caught up"
    monkeypatch.setattr(saving, "check_room", lambda folder, needed: check(folder, 10**18))
    with pytest.raises(OSError, match="No space left"):
        train_judge(TINY.judge, runs / "other")


def test_the_newest_and_the_best_checkpoints_stay(tmp_path):
    for step, score in [(1, 3.0), (2, 9.0), (3, None), (4, 5.0), (5, None)]:
        saving.save_state(tmp_path, step, {"step": step}, keep=2, score=score)
    assert [path.name for path in saving.checkpoints(tmp_path)] == ["step_0000002", "step_0000004", "step_0000005"]
    assert saving.best_score(tmp_path) == 9.0


def test_the_finished_model_may_have_the_best_weights(runs, monkeypatch):
    worse_and_worse = iter((3.0, 2.0))
    fit = judge.fit

    def fit_with(*given, **others):
        return fit(*given, **others | {"score": lambda _: next(worse_and_worse)})

    monkeypatch.setattr(judge, "fit", fit_with)
    network = train_judge(changed(TINY.judge, final="best", keep=1), runs / "judge")
    best = saving.read_state(runs / "judge" / "checkpoints" / "step_0000004")["average"]
    last = saving.read_state(runs / "judge" / "checkpoints" / "step_0000008")["average"]
    name = "classify.weight"
    assert torch.equal(network.state_dict()[name], best[name]) and not torch.equal(best[name], last[name])


def test_where_every_checkpoint_is_damaged_a_run_does_not_start_over_unasked(tmp_path):
    path = saving.save_state(tmp_path, 1, {"step": 1}, keep=1)
    (path / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="no checkpoint in .* is whole"):
        saving.newest_state(tmp_path)


def test_checkpoints_without_a_recipe_are_not_taken_for_those_of_a_new_run(tmp_path):
    saving.save_state(tmp_path / "judge" / "checkpoints", 1, {"step": 1}, keep=1)
    with pytest.raises(ValueError, match="holds checkpoints of a run, but no recipe.json"):
        train_judge(TINY.judge, tmp_path / "judge")


def test_a_half_written_row_of_the_log_is_dropped(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n1,0.5\n2,0.4\n3")
    assert [row["step"] for row in Log(tmp_path / "log.csv", start=9).rows] == ["1", "2"]


# ---------------------------------------------------------------- a step


def test_channels_of_a_pixel_lie_together_in_the_weights_of_2d_and_3d_convolutions():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(3, 4, 3), torch.nn.Linear(3, 4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("before", [True, False])
def test_a_run_may_go_on_in_another_order_of_memory(runs, before):
    """A fused step pairs a weight with what is stored of it by its place in memory."""

    def learner(channels_last):
        config = changed(TINY.autoencoder, channels_last=channels_last)
        engine = Engine(config, runs / "ae")
        network = engine.build(lambda: LatentFlowAutoencoder(config.model))
        return Learner(AutoencoderObjective(network, config), engine)

    def steps(learner, numbers):
        for number in numbers:
            learner.step([examples.batch(places) for places in order.of_process(0, number, number + 1)], number)

    clips = TensorClips(video=torch.randint(0, 255, (4, 3, 4, 32, 32), dtype=torch.uint8))
    examples, order = Examples(clips, partial(draw_pair, from_rest=0.5), seed=0), BatchOrder(0, 4, 2)
    first, same, turned = learner(before), learner(before), learner(not before)
    steps(first, range(3))
    for other in (same, turned):
        other.restore(first.state())
    stored = [(w, v) for w, s in turned.optimizer.state.items() for v in s.values() if v.shape == w.shape]
    assert stored and all(value.stride() == weight.stride() for weight, value in stored)
    steps(same, [3]), steps(turned, [3])
    for a, b in zip(same.network.parameters(), turned.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


class CountsQuestions(TorchDispatchMode):
    """Counts how often a tensor's value is asked for: on a GPU each such question waits for all work before it."""

    asked = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.asked += "_local_scalar_dense" in str(function) or "nonzero" in str(function)
        return function(*args, **(kwargs or {}))


def test_nothing_in_a_step_waits_for_the_device(runs):
    config = changed(TINY.autoencoder, accumulate=2)
    engine = Engine(config, runs / "ae")
    learner = Learner(AutoencoderObjective(LatentFlowAutoencoder(config.model), config), engine)
    clips = TensorClips(video=torch.randint(0, 255, (4, 3, 4, 32, 32), dtype=torch.uint8))
    examples = Examples(clips, partial(draw_pair, from_rest=0.5), seed=0)
    order = BatchOrder(0, 4, 2, parts=2)
    parts = [examples.batch(places) for places in order.of_process(0, 0, 1)]
    with CountsQuestions() as counter:
        losses = learner.step(parts, 0)
    assert counter.asked == 0
    with counter:
        losses["loss"].item()
    assert counter.asked == 1, "the counter counts"


def test_a_loss_that_is_not_finite_is_found_at_the_next_reading_with_the_batch_of_its_step(runs, monkeypatch):
    forward, calls = AutoencoderObjective.forward, []

    def infinite_in_step_5(self, batch):
        calls.append(batch)
        losses = forward(self, batch)
        return losses | {"shift": losses["shift"] / (len(calls) != 6)}

    monkeypatch.setattr(AutoencoderObjective, "forward", infinite_in_step_5)
    config = changed(TINY.autoencoder, steps=12, log_every=10, save_every=3, validate_every=0)
    with pytest.raises(FloatingPointError, match="shift is inf in step 5; the batch is in"):
        train_autoencoder(config, runs / "ae")
    batch = torch.load(runs / "ae" / "bad_batch.pt")
    assert all(torch.equal(batch[name], calls[5][name]) for name in batch)
    assert [path.name for path in saving.checkpoints(runs / "ae" / "checkpoints")] == ["step_0000003"]


@pytest.mark.parametrize("stage", ["autoencoder", "judge"])
def test_weights_that_are_no_numbers_are_found_whatever_the_loss(stage, runs):
    config = changed(getattr(TINY, stage), learning_rate=1e30, warmup=0, clip=0.0, save_every=100, validate_every=0)
    with pytest.raises(FloatingPointError, match="is (nan|inf) in step .; the batch is in"):
        (train_autoencoder if stage == "autoencoder" else train_judge)(config, runs / "broken")
    assert (runs / "broken" / "bad_batch.pt").is_file()


def test_a_row_of_the_log_is_the_mean_since_the_row_before(runs):
    train_judge(TINY.judge, runs / "every")
    train_judge(changed(TINY.judge, log_every=4), runs / "fourth")
    every, fourth = ([float(r["loss"]) for r in rows(runs / name)] for name in ("every", "fourth"))
    assert fourth == pytest.approx([sum(every[:4]) / 4, sum(every[4:]) / 4], rel=1e-4)


@pytest.mark.parametrize("shown", [True, False])
def test_progress_bars_can_be_left_out(runs, capfd, shown):
    train_judge(changed(TINY.judge, progress=shown), runs / "judge")
    said = capfd.readouterr().err
    assert ("step/s" in said, "train clips" in said) == (shown, shown)


@settings(max_examples=25, deadline=None)
@given(decay=st.floats(0, 1))
def test_the_average_moves_by_its_share_and_follows_at_once_without_decay(decay):
    network = torch.nn.BatchNorm1d(3)
    average = WeightAverage(network)
    with torch.no_grad():
        network.weight.fill_(3.0)
    network.num_batches_tracked.fill_(7)
    average.update(decay)
    torch.testing.assert_close(average.module.weight, torch.full((3,), decay + 3 * (1 - decay)))
    assert average.module.num_batches_tracked == 7 and not average.module.training


def test_the_papers_rate_drops_twice_and_a_constant_one_stays():
    optim = replace(TINY.autoencoder.optim, steps=100, warmup=0, learning_rate=2e-4, schedule="drops")
    rates = [learning_rate(step, optim) for step in (0, 59, 60, 89, 90, 99)]
    assert rates == pytest.approx([2e-4, 2e-4, 2e-5, 2e-5, 2e-6, 2e-6])
    assert {learning_rate(step, replace(optim, schedule="constant")) for step in range(100)} == {2e-4}


def test_keeping_less_for_the_backward_pass_changes_nothing(finished):
    config = changed(TINY.diffusion, autoencoder=str(finished / "ae"), checkpointing=True)
    model = train_diffusion(config, finished / "checkpointed")
    assert model.unet.state_dict().keys() == LFDM.from_pretrained(finished / "dm").unet.state_dict().keys()
    losses = [[float(row["loss"]) for row in rows(finished / name)] for name in ("dm", "checkpointed")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------- the decoder alone


@pytest.mark.parametrize("checkpoint", ["ae", "dm"])
def test_finetuning_the_decoder_changes_the_decoder_alone(finished, checkpoint):
    config = changed(TINY.decoder, checkpoint=str(finished / checkpoint))
    config = replace(config, data=replace(config.data, seed=5))
    train_decoder(config, finished / f"decoder_{checkpoint}")
    load = load_autoencoder if checkpoint == "ae" else lambda folder: LFDM.from_pretrained(folder).autoencoder
    before, after = (load(finished / name).state_dict() for name in (checkpoint, f"decoder_{checkpoint}"))
    for name in before:
        learns = name.split(".")[0] in DECODER
        assert torch.equal(before[name], after[name]) != learns, name
    if checkpoint == "dm":
        pair = (LFDM.from_pretrained(finished / name) for name in ("dm", "decoder_dm"))
        a, b = (m.generate(torch.full((3, 32, 32), 0.4), "fear", steps=2, seed=0, progress=False) for m in pair)
        assert torch.equal(a.flow, b.flow) and not torch.equal(a.video, b.video)


# ---------------------------------------------------------------- configs, records


@pytest.mark.parametrize(("cls", "stage"), [(AutoencoderRun, "autoencoder"), (DiffusionRun, "diffusion")])
def test_recipes_of_earlier_versions_are_read(tmp_path, cls, stage):
    recipe = json.loads((ROOT / "tests/data/recipe_first_edition.json").read_text())[stage]
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    run = read_run(cls, tmp_path / "recipe.json")
    assert run.optim.steps == recipe["config"]["optim"]["steps"] and run.loop.tracker == "tensorboard"
    recipe["config"]["loop"]["trackers"] = False
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    assert read_run(cls, tmp_path / "recipe.json").loop.tracker == "none"
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(CheckpointError, match="recipe.json is not valid JSON"):
        read_run(cls, tmp_path / "recipe.json")


def test_how_a_run_is_carried_out_may_change_when_it_is_resumed_but_not_what_it_learns(runs):
    train_judge(TINY.judge, runs / "judge")
    train_judge(changed(TINY.judge, keep=1, workers=1, max_hours=5.0), runs / "judge", resume=True)
    with pytest.raises(ValueError, match=r"other options \(--steps 8 -> 7, --seed 0 -> 1\); leave them out"):
        train_judge(changed(TINY.judge, steps=7, seed=1), runs / "judge", resume=True)


def test_every_option_of_the_loop_is_explained(capsys):
    assert cli.main("train autoencoder --preset tiny --help".split()) == 0
    said = capsys.readouterr().out
    for name in ("accumulate", "precision", "fused", "compile", "max-hours", "tracker", "schedule", "batch-norm"):
        assert f"--{name}" in said
    assert "hours after which the run saves and stops" in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("gpu", "known", "expected"),
    [
        (True, {}, "bf16"),
        (False, {"avx2": True, "avx512_f": True}, "no"),  # bfloat16 would be emulated, many times slower
        (False, {"avx512_bf16": True}, "bf16"),
        (False, {"amx_bf16": True}, "bf16"),
        (False, {"neon": True, "bf16": True}, "bf16"),
        (False, {}, "no"),
    ],
)
def test_convolutions_are_computed_in_what_this_machine_is_fast_in(monkeypatch, gpu, known, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert LoopConfig().precision == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as before torch 2.10 or so
    assert LoopConfig().precision == ("bf16" if gpu else "no")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "fp16"}, "precision fp16 needs a GPU; choose --precision bf16 or no"),
        ({"tracker": "smoke_signals"}, "tracker 'smoke_signals' is not one of: .*tensorboard.*, none"),
        ({"tracker": "wandb"}, "tracker 'wandb' is not installed: pip install wandb, or choose --tracker none"),
        ({"keep": 0}, "keep=0: must be at least 1"),
        ({"max_hours": 0.0}, "max_hours=0: must be above 0"),
        ({"ema": 1.0}, "ema=1: must be at least 0 and below 1"),
        ({"clip": -1.0}, "clip=-1: must be at least 0"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path, monkeypatch, fields, message):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["tensorboard"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        train_judge(changed(TINY.judge, **fields), tmp_path / "judge")


def test_tensorboard_shows_losses_and_samples(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_autoencoder(changed(TINY.autoencoder, tracker="tensorboard", sample_every=5), runs / "ae")
    assert [p.name for p in sorted((runs / "ae" / "samples").iterdir())] == ["step_000005.png", "step_000008.png"]
    events = EventAccumulator(str(runs / "ae" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))
    assert [event.step for event in events.Images("samples")] == [5, 8]
    assert events.Scalars("val_psnr")


def test_configs_survive_json():
    for stage in ("autoencoder", "diffusion", "decoder", "judge"):
        config = getattr(TINY, stage)
        values = json.loads(json.dumps(asdict(config)))
        assert make_config(type(config), values, "x") == config


# ---------------------------------------------------------------- launching


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.s*")), ids=lambda path: path.name)
def test_launch_scripts_are_bash(path):
    run = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.s*")), ids=lambda path: path.name)
def test_launch_scripts_say_what_they_need(path):
    run = subprocess.run(["bash", str(path), "x"], capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("usage: ")


def test_accelerate_reads_the_launch_configuration():
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "launch" / "several_gpus.yaml"))
    assert config.distributed_type == "MULTI_GPU" and config.num_processes == 4


def test_every_option_that_the_page_on_launching_names_exists(capsys):
    known = " --resume --help --kills --slow-save --num_processes --config_file --nproc-per-node --logdir "
    for command in (["train", "autoencoder"], ["train", "diffusion"], ["train", "decoder"], ["plan"]):
        assert cli.main([*command, "--help"]) == 0
        known += capsys.readouterr().out
    page = (ROOT / "chapters" / "launching.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(--[a-z][\w.-]*)", page))
    assert len(named) > 20 and not [name for name in named if not re.search(rf"{name}\b", known)]

"""A run that ends at a moment: in time, finished, with its schedule at its end, the same in one process or two."""

import json
import time
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from lfdm_lite import cli
from lfdm_lite.training import PRESETS, train_autoencoder, train_judge
from lfdm_lite.training.configs import LoopConfig, OptimConfig, moment
from lfdm_lite.training.engine import loop
from lfdm_lite.training.engine import pace as pacing
from lfdm_lite.training.engine.core import Learner
from lfdm_lite.training.engine.pace import Pace
from lfdm_lite.training.stages import growing as growing_module
from lfdm_lite.training.stages import shards
from lfdm_lite.training.stages.clips import cached_clips
from lfdm_lite.training.stages.growing import growing_clips

from .test_training_engine import changed, rows, weights  # noqa: F401 (fixtures)
from .workers import train_together

TINY = PRESETS["tiny"]


def at(seconds: float) -> str:
    """A moment, so many seconds from now."""
    return datetime.fromtimestamp(time.time() + seconds).astimezone().isoformat()


class Clock:
    """Stands in for an engine and for the time that its steps take."""

    def __init__(self, monkeypatch, until: float, steps: int = 1000):
        self.now, self.main, self.steps, self.aims = 0.0, True, steps, []
        loop = SimpleNamespace(until=until, cpu_minutes=None)
        self.config = SimpleNamespace(loop=loop, optim=OptimConfig(steps=steps))
        monkeypatch.setattr(pacing, "time", SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(pacing, "moment", lambda seconds: seconds)

    def from_main(self, value):
        return value

    def aim(self, steps):
        self.steps = steps
        self.aims.append(steps)

    def run(self, seconds_of_step, reading: float = 0.0) -> int:
        """Steps until the run ends, which reads its losses after every tenth step; a reading takes `reading`."""
        pace, done = Pace(self, 0), 0
        while done < pace.most:
            done += 1
            self.now += seconds_of_step(done)
            if done % 10 == 0 or done == self.steps:
                pace.look(done)
                self.now += reading
                pace.rest()
                if done == self.steps:
                    break
        return done


def test_at_an_even_speed_the_number_of_steps_is_known_from_the_second_reading_on(monkeypatch):
    clock = Clock(monkeypatch, until=100.0)
    assert clock.run(lambda step: 0.125) == 800
    assert set(clock.aims[1:]) == {800} and clock.now == 100


def test_a_run_that_goes_on_aims_at_once_by_the_speed_it_had(monkeypatch):
    clock = Clock(monkeypatch, until=100.0)
    clock.now, clock.seconds_before = 40.0, 30.0  # 240 steps in the 30 seconds before it was stopped
    pace = Pace(clock, 240)
    assert clock.steps == 240 + 8 * 60, "no step is made with the rate of another schedule"
    clock.now += 1.25
    pace.look(250)
    assert clock.steps == pytest.approx(240 + 8 * 60, abs=1)


def test_a_slow_beginning_is_forgotten(monkeypatch):
    clock = Clock(monkeypatch, until=100.0)
    done = clock.run(lambda step: 30.0 if step == 1 else 0.1)
    assert done == pytest.approx(701, abs=2) and 98 < clock.now <= 100.1
    assert clock.aims[1] == pytest.approx(701, abs=12), "found early, so that the schedule is right from there on"


@pytest.mark.parametrize("reading", [0.0, 2.0])
def test_whatever_becomes_of_the_speed_the_run_ends_in_time_and_leaves_room_to_validate_and_save(monkeypatch, reading):
    for later in (0.05, 0.4):
        clock = Clock(monkeypatch, until=100.0)
        clock.run(lambda step, later=later: 0.1 if step < 300 else later, reading)
        assert 93 < clock.now <= 100 + 10 * 0.4, "at most the steps of one reading late"


def test_a_moment_that_has_passed_is_refused_unless_there_is_something_to_finish(monkeypatch):
    clock = Clock(monkeypatch, until=-1.0)
    with pytest.raises(ValueError, match="until=-1.0 has passed and no step was made; choose a later moment"):
        Pace(clock, 0)
    assert Pace(clock, 7).most == clock.steps == 7


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01T00:00", "", "99999-01-01"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ValueError, match="must be a moment such as 2026-11-29T07:30"):
        LoopConfig(until=text)
    assert moment("2026-11-29T07:30+01:00") == moment("2026-11-29T06:30+00:00")


def test_a_run_with_a_moment_ends_then_with_a_model_and_a_rate_near_zero(runs, monkeypatch):
    """A step takes an eighth of a second here, and nothing else any time: how fast the machine is does not matter."""
    began, steps, step = time.time(), [], Learner.step
    clock = lambda: began + len(steps) / 8
    monkeypatch.setattr(Learner, "step", lambda *given: steps.append(1) or step(*given))
    monkeypatch.setattr(pacing, "time", SimpleNamespace(time=clock, process_time=time.process_time))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock))
    config = changed(TINY.judge, steps=10**6, until=at(5), log_every=2, validate_every=20, save_every=10**6)
    config = changed(config, save_minutes=0.01, keep=1000)
    train_judge(config, runs / "judge")
    assert 38 <= len(steps) <= 42, "of 5 seconds; at most a reading late"
    log, recipe = rows(runs / "judge"), json.loads((runs / "judge" / "recipe.json").read_text())
    assert recipe["steps"] == int(log[-1]["step"]) == len(steps) and weights(runs / "judge")
    assert float(log[-1]["rate"]) < 0.1 * config.optim.learning_rate == 0.1 * max(float(row["rate"]) for row in log)
    assert "val_accuracy" in log[-1] and log[-1]["val_accuracy"]
    assert len(list((runs / "judge" / "checkpoints").glob("step_*"))) > 2, "saved every 0.6 seconds"


def test_what_was_interrupted_is_finished_by_a_moment_that_has_passed(runs, capsys):
    train_judge(changed(TINY.judge, steps=6), runs / "judge")
    before = weights(runs / "judge")
    (runs / "judge" / "model.safetensors").unlink()
    command = f"train judge --resume --no-progress --out {runs / 'judge'} --until {at(-5)}"
    assert cli.main(command.split()) == 0
    assert weights(runs / "judge") == before and int(rows(runs / "judge")[-1]["step"]) == 6
    fresh = f"train judge --preset tiny --no-progress --out {runs / 'new'} --until {at(-5)}"
    assert cli.main(fresh.split()) == 2
    assert "has passed and no step was made" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["autoencoder", "judge"])
def test_two_processes_end_when_the_first_says_and_get_the_weights_of_one(stage, runs):
    config = changed(getattr(TINY, stage), steps=10, batch_size=4, batch_norm="frozen", until=at(3600), log_every=2)
    one = train_together(1, stage, config, runs / "one")
    two = train_together(2, stage, config, runs / "two")
    assert sorted(one) == sorted(two) == list(range(1, 17))
    assert max(abs(one[step][name] - two[step][name]) for step in one for name in one[step]) < 1e-9
    a, b = (load_file(runs / name / "model.safetensors") for name in ("one", "two"))
    assert a.keys() == b.keys() and not any(torch.equal(a[k], torch.zeros_like(a[k])) for k in a if "weight" in k)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-7)


# ---------------------------------------------------------------- clips that are still being drawn


def test_clips_that_are_there_stand_in_for_those_to_come(tmp_path, monkeypatch):
    for module in (shards, growing_module):
        monkeypatch.setattr(module, "SHARD", 10)
    data = replace(TINY.autoencoder.data, train_clips=23)
    growing = growing_clips(data, tmp_path)
    growing.patience = 0.1
    with pytest.raises(TimeoutError, match="no clips came to .* within 0 seconds"):
        growing[0]
    whole = cached_clips(data, "train", tmp_path)
    last = growing.folder / "000020.safetensors"
    last.rename(tmp_path / "later")
    early = growing_clips(data, tmp_path)
    assert len(early) == 23 and early.labels == whole.labels
    assert torch.equal(early[19]["video"], whole[19]["video"])
    assert torch.equal(early[22]["video"], whole[2]["video"]), "of 20 that are there"
    (tmp_path / "later").rename(last)
    early.looked = 0.0
    for index in (0, 15, 22):
        assert torch.equal(early[index]["video"], whole[index]["video"])
        assert early[index]["label"] == whole[index]["label"]


def test_stage_one_learns_on_clips_that_are_still_being_drawn(runs):
    config = changed(TINY.autoencoder, steps=2)
    train_autoencoder(config, runs / "meanwhile", clips=growing_clips(config.data, runs / "cache"))
    train_autoencoder(config, runs / "ae")
    assert weights(runs / "meanwhile") == weights(runs / "ae"), "all were there"
    assert "meanwhile" in json.loads((runs / "meanwhile" / "recipe.json").read_text())["clips"]["train"]

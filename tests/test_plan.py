"""What a run will cost: measured in a trial, and then found in the run itself."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from lfdm_lite import cli
from lfdm_lite.files.models.configs import make_config
from lfdm_lite.training import PRESETS, AutoencoderRun, train_autoencoder
from lfdm_lite.training.engine import measuring
from lfdm_lite.training.engine.measuring import matrix_rate
from lfdm_lite.training.planning import plans as planning
from lfdm_lite.training.planning.plans import StagePlan, describe, divisors, line, plan_stage, with_switches
from lfdm_lite.training.planning.trial import OutOfMemory, Trial, count_flops, try_here, try_steps

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
TINY = PRESETS["tiny"]
LFAE = TINY.autoencoder.model


def trial(part: int, seconds: float = 1.0, peak: int = 10**9) -> Trial:
    return Trial(part, seconds, peak, 10**9 * part, "cpu", 1000, 1e12)


def costing(base: int, each: int, asked: list | None = None):
    """Stands in for a trial whose memory grows with the examples at once."""

    def try_steps(run, part, autoencoder, steps=3, profile=None):
        if asked is not None:
            asked.append(part)
        return trial(part, 0.1 * part, base + each * part)

    return try_steps


def with_batch(size: int):
    return replace(TINY.diffusion, optim=replace(TINY.diffusion.optim, batch_size=size))


# ---------------------------------------------------------------- measuring


def test_the_peak_of_memory_is_that_of_the_block_and_not_what_is_left():
    """In a process of its own: one that has trained keeps what it freed, and then takes less that is new."""
    code = """
import torch
from lfdm_lite.training.engine.measuring import PeakMemory
from tests.patience import until
with PeakMemory(torch.device("cpu")) as empty:
    pass
looks = []
with PeakMemory(torch.device("cpu"), every=0.001) as memory:
    numbers = torch.ones(50_000_000)  # 200 MB
    wait = memory.stop.wait
    memory.stop.wait = lambda seconds: looks.append(seconds) or wait(seconds)
    until(lambda: len(looks) > 2)  # the watching thread has looked while they are held
    del numbers
print(memory.peak - empty.peak)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(found.stdout) == pytest.approx(2e8, rel=0.15)


def test_operations_of_a_product_and_of_a_convolution_are_counted():
    a, b = torch.randn(30, 40), torch.randn(40, 50)
    assert count_flops(lambda: a @ b) == 2 * 30 * 40 * 50
    conv, image = nn.Conv2d(3, 8, 3, padding=1), torch.randn(2, 3, 16, 16)
    assert count_flops(lambda: conv(image)) == 2 * 2 * 16 * 16 * 8 * 3 * 9


@pytest.mark.parametrize(("slow", "side"), [(256, 256), (1024, 1024), (8192, 2048)])
def test_the_rate_of_matrix_products_is_that_of_the_fastest_of_several(monkeypatch, slow, side):
    """By a clock of the test's own: how fast this machine is does not matter. Products below `slow` are fast."""
    seconds, products = [4.0, 2.0, 0.5, 1.0, 8.0, 0.75], []

    def seconds_of(work, device):
        a, b = work.args
        products.append(count_flops(lambda: torch.empty_like(a, device="meta") @ torch.empty_like(b, device="meta")))
        return seconds[(len(products) - 1) % 6] * (1 if len(a) >= slow else 1e-3)

    monkeypatch.setattr(measuring, "seconds_of", seconds_of)
    rate = matrix_rate(CPU, "no")
    assert rate == products[-1] / (0.5 if side == slow else 0.5e-3) and products[-1] == 2 * side**3
    assert len(products) == 6 * (1 + [256, 512, 1024, 2048].index(side))


@pytest.mark.parametrize("stage", ["autoencoder", "diffusion"])
def test_a_trial_is_of_the_network_that_the_run_trains_and_imports_nothing_from_the_folder_one_stands_in(
    stage, tmp_path, monkeypatch
):
    for name in ("heapq.py", "statistics.py", "lfdm_lite/__init__.py", "torch/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    found = try_steps(getattr(TINY, stage), 2, LFAE, steps=1, profile=tmp_path / "profile")
    assert found.parameters == {"autoencoder": 55_194, "diffusion": 70_355}[stage]
    assert found.seconds > 0 and found.flops > 1e6 and found.device
    assert "aten::" in (tmp_path / "profile" / "profile.txt").read_text()
    assert (tmp_path / "profile" / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "ran").exists()


def test_a_trial_counts_operations_uncompiled_and_times_what_is_compiled(monkeypatch):
    calls = []

    class Compiled(nn.Module):
        def __init__(self, module):
            super().__init__()
            self._orig_mod = module

        def forward(self, batch):
            assert not _get_current_dispatch_mode(), "torch would leave uncompiled what it first sees being counted"
            calls.append(1)
            return self._orig_mod(batch)

    monkeypatch.setattr(torch, "compile", lambda module, **_: Compiled(module))
    run = replace(TINY.diffusion, loop=replace(TINY.diffusion.loop, compile=True))
    found = try_here(run, 1, 3, LFAE)
    assert len(calls) == 4 and found.first > 0
    assert found.flops == try_here(TINY.diffusion, 1, 1, LFAE).flops > 1e6


def test_a_trial_that_fails_says_why():
    broken = replace(TINY.diffusion, unet=replace(TINY.diffusion.unet, num_frames=3))
    broken = replace(broken, data=replace(broken.data, size=30))  # 7 latent pixels: the levels do not fit
    with pytest.raises(RuntimeError, match="the trial of the diffusion with 1 at once failed: .*"):
        try_steps(broken, 1, LFAE)


@pytest.mark.slow
def test_the_run_takes_the_memory_that_was_planned(tmp_path):
    """Of a narrow network on many pixels: much memory, and little to compute."""
    run, batch = TINY.autoencoder, 24
    run = replace(run, data=replace(run.data, size=128, train_clips=4, val_clips=2))
    run = replace(run, optim=replace(run.optim, steps=2, warmup=1, batch_size=batch))
    (tmp_path / "run.json").write_text(json.dumps(asdict(run)))
    planned, real = 0, 0
    for turn in range(3):  # what comes late to look on a busy machine sees less than there was, never more
        planned = max(planned, try_steps(run, batch, run.model, steps=1).peak)
        code = f"from tests.test_plan import train_from_json; train_from_json({str(tmp_path)!r}, 'run{turn}')"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
        real = max(real, json.loads((tmp_path / f"run{turn}" / "recipe.json").read_text())["peak_memory"])
        if planned == pytest.approx(real, rel=0.15):
            break
    assert planned == pytest.approx(real, rel=0.15)
    assert real > 6e8  # of which the interpreter is less than a half


def train_from_json(folder, name):
    """Train the run that lies in a folder: in a process of its own, whose memory nothing else has filled."""
    values = json.loads((Path(folder) / "run.json").read_text())
    train_autoencoder(make_config(AutoencoderRun, values, "run.json"), Path(folder) / name)


# ---------------------------------------------------------------- choosing


@given(st.integers(1, 500))
def test_divisors_divide_and_none_is_missing(number):
    assert divisors(number) == [d for d in range(1, number + 1) if number / d == number // d]


@given(st.floats(0, 10), st.floats(0, 10), st.sets(st.integers(1, 64), min_size=2, max_size=4), st.integers(1, 64))
def test_what_grows_on_a_line_is_found_between_and_beyond_the_trials(base, each, parts, part):
    trials = tuple(trial(p, base + each * p) for p in sorted(parts))
    assert line(trials, part, lambda t: t.seconds) == pytest.approx(base + each * part, abs=1e-6)


def test_between_two_trials_the_line_is_the_one_through_both():
    """However far away: what is measured on both sides bounds what lies between."""
    trials = (trial(2, 1.8), trial(4, 2.4), trial(32, 23.6))
    assert [line(trials, part, lambda t: t.seconds) for part in (18, 3)] == pytest.approx([13.0, 2.1])
    assert line(trials[:2], 32, lambda t: t.seconds) == pytest.approx(10.8)


def test_a_plan_says_how_wrong_the_line_was_about_the_largest_trial():
    trials = trial(1, 1.0, 10**9), trial(2, 2.0, 2 * 10**9), trial(16, 32.0, 8 * 10**9)
    plan = StagePlan("diffusion", with_batch(16), 16, trials, 16, 10**11)
    assert plan.foretold() == pytest.approx((16e9, 16.0))
    said = "without its trial 16 would read 16.00 GB, 16 s: it takes 0.5 times that memory, 2.0 times that time"
    assert any(said in text for text in describe(plan, None, 1))
    assert not any("without its trial" in text for text in describe(replace(plan, trials=trials[:2], part=2), None, 1))


def test_a_smaller_part_that_is_clearly_faster_is_told_and_what_it_costs_stage_one():
    trials = trial(2, 1.0), trial(4, 1.6), trial(8, 8.0)
    plan = StagePlan("diffusion", with_batch(8), 8, trials, 8, 10**10)
    assert plan.faster == trials[1] and plan.hours_of(4) == pytest.approx(plan.hours * 0.4)
    (said,) = (text for text in describe(plan, None, 1) if "faster" in text)
    assert "faster: --accumulate 2, 3.2 s a step" in said and "batch norms" not in said
    one = replace(plan, run=replace(PRESETS["faces64"].autoencoder, optim=plan.run.optim))
    assert any("faster" in text and "batch norms" in text for text in describe(one, None, 1))
    assert replace(plan, trials=(trial(2, 1.0), trial(4, 2.1), trial(8, 4.2))).faster is None


@pytest.mark.parametrize(("memory", "part"), [(10**12, 16), (9 * 10**9, 4), (4 * 10**9, 2), (2 * 10**9, 1)])
def test_the_largest_part_that_fits_is_suggested(monkeypatch, memory, part):
    monkeypatch.setattr(planning, "try_steps", costing(base=5 * 10**8, each=10**9))
    plan = plan_stage("diffusion", with_batch(16), LFAE, CPU, memory=memory)
    assert (plan.part, plan.accumulate) == (part, 16 // part)
    assert plan.peak_of(part) <= memory


def test_a_part_that_runs_out_of_memory_is_not_suggested(monkeypatch):
    def try_steps(run, part, autoencoder, steps=3, profile=None):
        if part > 4:
            raise OutOfMemory("no")
        return trial(part, 0.1, 10**8)

    monkeypatch.setattr(planning, "try_steps", try_steps)
    assert plan_stage("diffusion", with_batch(16), LFAE, CPU, memory=10**10).part == 4


def test_a_run_that_fits_nowhere_is_told_so(monkeypatch):
    monkeypatch.setattr(planning, "try_steps", costing(base=10**10, each=10**9))
    plan = plan_stage("diffusion", with_batch(16), LFAE, CPU, memory=10**9)
    assert plan.part == 0 and plan.hours == float("inf")
    assert "not even the smallest part fits into 1.00 GB" in next(describe(plan, None, 1))


def test_a_part_that_would_take_long_is_neither_tried_nor_suggested(monkeypatch):
    asked = []
    monkeypatch.setattr(planning, "try_steps", costing(10**8, 10**8, asked))
    monkeypatch.setattr(planning, "PATIENCE", 1.0)
    plan = plan_stage("diffusion", with_batch(16), LFAE, CPU, memory=10**12)
    assert asked == [1, 2] and plan.part == 2
    assert any("16" in text and "from those" in text for text in describe(plan, None, 1))


def test_more_at_once_is_never_said_to_take_less_than_fewer_took():
    plan = StagePlan("diffusion", with_batch(16), 16, (trial(1, peak=3 * 10**9), trial(2, peak=2 * 10**9)), 2, 10**10)
    assert [plan.peak_of(part) for part in (1, 2, 4, 16)] == [3e9, 3e9, 3e9, 3e9]


def test_stage_one_is_never_tried_with_a_single_pair(monkeypatch):
    asked = []
    monkeypatch.setattr(planning, "try_steps", costing(10**8, 10**8, asked))
    plan_stage("autoencoder", PRESETS["faces64"].autoencoder, LFAE, CPU, memory=10**12)
    assert 1 not in asked


def test_processes_share_the_batch_and_each_costs_its_hours(monkeypatch):
    monkeypatch.setattr(planning, "try_steps", costing(10**8, 10**8))
    plan = plan_stage("diffusion", with_batch(16), LFAE, CPU, processes=4, memory=10**12)
    assert plan.share == 4
    assert plan.hours == pytest.approx(plan.run.optim.steps * 0.4 / 3600)
    text = "\n".join(describe(plan, 3600.0, 4))
    assert f"{4 * plan.run.optim.steps * 0.4:,.2f} at 3600 an hour" in text and "4 such devices" in text
    with pytest.raises(ValueError, match="a batch of 16 cannot be shared by 3 processes"):
        plan_stage("diffusion", with_batch(16), LFAE, CPU, processes=3)


def test_arithmetic_is_told_against_what_a_matrix_product_reaches():
    plan = StagePlan("diffusion", with_batch(4), 4, (trial(2, 0.5), trial(4, 0.1)), 4, 10**10)
    assert any("4 GFLOP a step, 40 GFLOP a second: 4% of" in text for text in describe(plan, None, 1))


def test_switches_change_what_they_name_and_nothing_else():
    run = TINY.diffusion
    assert with_switches(run, None, False, False) == run
    changed = with_switches(run, "bf16", True, True)
    assert (changed.loop.precision, changed.loop.compile, changed.checkpointing) == ("bf16", True, True)
    assert with_switches(TINY.autoencoder, None, False, True) == TINY.autoencoder


# ---------------------------------------------------------------- the command


def test_the_command_prints_both_stages_and_their_sum(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(planning, "try_steps", costing(10**8, 10**8))
    words = ["plan", "faces128", "--memory", "80", "--price", "2.5", "--out", str(tmp_path / "plan.json")]
    assert cli.main(words) == 0
    kept = json.loads((tmp_path / "plan.json").read_text())
    assert kept["autoencoder"]["seconds_per_step"] == pytest.approx(3.2) and kept["diffusion"]["at_once"] == 16
    shown = capsys.readouterr().out
    assert "autoencoder: 1,000 parameters, 30,000 steps of 32" in shown
    assert "suggested for 80.00 GB: the whole batch at once" in shown
    assert "at 2.5 an hour" in shown and "both stages: " in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "preset 'nothing' is not one of: tiny, "),
        (["tiny", "--memory", "0"], "--memory is 0; expected gigabytes above 0"),
        (["tiny", "--processes", "0"], "--processes is 0; expected at least 1"),
        (["tiny", "--precision", "fp16"], "--precision fp16 needs a GPU"),
    ],
)
def test_a_wrong_plan_is_refused(words, said, capsys):
    assert cli.main(["plan", *words]) == 2
    assert said in capsys.readouterr().err

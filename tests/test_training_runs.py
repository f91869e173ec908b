"""A run and its folder: nothing of others is replaced, a mistake leaves nothing, going on says what differs."""

import csv
import errno
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lfdm_lite import cli
from lfdm_lite.files.locks import FolderInUse, hold_folder
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.training import PRESETS, DataConfig, JudgeRun, LoopConfig, OptimConfig, train_autoencoder, train_judge
from lfdm_lite.training.engine import records, saving
from lfdm_lite.training.engine.recipes import read_run
from lfdm_lite.training.engine.records import Log
from lfdm_lite.training.stages import judge

from .patience import HUNG

TINY = PRESETS["tiny"]


def changed(config, **fields):
    """The config with fields of its optimizer or of its loop set otherwise."""
    for part in ("optim", "loop"):
        known = {name: fields.pop(name) for name in list(fields) if hasattr(getattr(config, part), name)}
        config = replace(config, **{part: replace(getattr(config, part), **known)})
    return replace(config, **fields)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def lfdm(words: str) -> int:
    return cli.main(words.split())


def command(runs: Path, more: str = "", stage: str = "judge", out: str = "run") -> str:
    return f"train {stage} --preset tiny --no-progress --out {runs / out} {more}"


def complaint(capsys) -> str:
    """The one line that a refused command says."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "Warning" not in line]
    assert len(lines) == 1, lines
    return lines[0]


# ---------------------------------------------------------------- the folder


@pytest.mark.parametrize(
    "mistake, said",
    [
        ("--data.name folder --data.root {runs}/nowhere", "nowhere is not there; expected a folder"),
        ("--data.name cats", "'cats' is not one of"),
        ("--model.groups 5", "groups"),
        ("--model.channels -8 16", "channels is (-8, 16); expected at least 1"),
        ("--steps 0", "steps=0: must be at least 1"),
        ("--tracker smoke_signals", "is not one of"),
    ],
)
def test_a_mistyped_option_leaves_no_folder_that_refuses_the_corrected_command(runs, capsys, mistake, said):
    assert lfdm(command(runs, mistake.format(runs=runs))) == 2
    assert said in complaint(capsys)
    assert not (runs / "run").exists()
    assert lfdm(command(runs)) == 0


def test_a_run_that_ended_before_it_saved_anything_is_no_obstacle(runs, monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(judge.JudgeObjective, "forward", out_of_memory)
        train_judge(TINY.judge, runs / "run")
    assert (runs / "run" / "recipe.json").exists()
    train_judge(changed(TINY.judge, batch_size=1), runs / "run")
    assert json.loads((runs / "run" / "recipe.json").read_text())["config"]["optim"]["batch_size"] == 1


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_model_of_others_is_not_replaced(runs, file, resume):
    (runs / "run").mkdir()
    (runs / "run" / file).write_text("somebody's model")
    with pytest.raises(ValueError, match="holds a model, but no recipe.json; training would replace it: choose"):
        train_judge(TINY.judge, runs / "run", resume=resume)
    assert [(path.name, path.read_text()) for path in (runs / "run").iterdir()] == [(file, "somebody's model")]


def test_a_file_is_no_folder_of_a_run(runs, capsys):
    (runs / "run").write_text("mine")
    assert lfdm(command(runs)) == 2
    assert "run is a file; expected a folder" in complaint(capsys) and (runs / "run").read_text() == "mine"


def test_a_run_has_its_folder_to_itself(runs, monkeypatch):
    code = "import sys\nfrom lfdm_lite.cli import main\nsys.exit(main(sys.argv[1:]))"
    words = command(runs, "--resume").split()
    with hold_folder(runs / "run"):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=HUNG)
        assert done.returncode == 2 and f"is in use by process {os.getpid()} on " in done.stderr
        with pytest.raises(FolderInUse):
            train_judge(TINY.judge, runs / "run")
    train_judge(TINY.judge, runs / "run")
    train_judge(TINY.judge, runs / "run", resume=True)
    assert not list((runs / "run").glob(".*"))


# ---------------------------------------------------------------- going on


def test_with_a_constant_rate_more_steps_later_are_as_good_as_from_the_start(runs, capsys):
    config = changed(TINY.judge, schedule="constant", steps=4)
    train_judge(config, runs / "run")
    longer = changed(config, steps=8)
    train_judge(longer, runs / "run", resume=True)
    assert "--steps" not in capsys.readouterr().err, "there is nothing to say"
    train_judge(longer, runs / "whole")
    assert weights(runs / "run") == weights(runs / "whole")
    recipe = json.loads((runs / "run" / "recipe.json").read_text())
    assert recipe["config"]["optim"]["steps"] == 8 and recipe["resumed"][-1]["steps"] == [4, 8]


def test_with_a_schedule_more_steps_are_possible_and_the_run_says_what_that_means(runs, capsys):
    assert lfdm(command(runs, "--steps 4")) == 0
    capsys.readouterr()
    assert lfdm(command(runs, "--steps 8 --resume")) == 0
    said = complaint(capsys)
    assert "--steps 4 -> 8: the rate goes on from " in said and "would end otherwise" in said
    with open(runs / "run" / "log.csv", newline="") as file:
        rates = [float(row["rate"]) for row in csv.DictReader(file)]
    assert len(rates) == 8 and rates[4] == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * 2 / 6)), rel=1e-3)
    assert lfdm(command(runs, "--resume")) == 0, "a finished run is finished, with the steps that it has now"
    assert not capsys.readouterr().err


def test_what_may_not_change_is_named_with_both_values_as_the_command_line_calls_it(runs, capsys):
    assert lfdm(command(runs)) == 0
    capsys.readouterr()
    more = "--resume --steps 4 --learning-rate 0.5 --model.feature-dim 16 --data.seed 3 --precision bf16 --no-mirror"
    assert lfdm(command(runs, more)) == 2
    said = complaint(capsys)
    for change in (
        "--steps 8 -> 4",
        "--learning-rate 0.001 -> 0.5",
        "--model.feature-dim 8 -> 16",
        "--data.seed 0 -> 3",
        "--precision no -> bf16",
        "--mirror True -> False",
    ):
        assert change in said
    assert "leave them out to go on with it (more --steps are possible)" in said


@pytest.mark.parametrize("noted", [True, False], ids=["stage noted", "by its fields"])
def test_a_folder_of_another_stage_is_named_as_such(runs, capsys, noted):
    train_autoencoder(TINY.autoencoder, runs / "run")
    recipe = json.loads((runs / "run" / "recipe.json").read_text())
    assert recipe["stage"] == "autoencoder"
    if not noted:
        del recipe["stage"]
        (runs / "run" / "recipe.json").write_text(json.dumps(recipe))
    capsys.readouterr()
    assert lfdm(command(runs, "--resume")) == 2
    assert "run holds a run of `lfdm train autoencoder`, not of `lfdm train judge`" in complaint(capsys)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"config": []}', '{"config": {"loop": 3}}', "[" * 100_000])
def test_a_recipe_that_is_none_is_one_error(tmp_path, content):
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(CheckpointError, match="recipe.json") as caught:
        read_run(JudgeRun, tmp_path / "recipe.json")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what is read back


class Payload:
    def __reduce__(self):
        return print, ("run",)


def test_a_state_holds_tensors_and_plain_values_alone(tmp_path, capsys):
    path = saving.save_state(tmp_path, 1, {"step": 1}, keep=1)
    with open(path / "state.pt", "wb") as file:
        pickle.dump({"step": 1, "x": Payload()}, file, protocol=2)
    with pytest.raises(CheckpointError, match="state.pt is no state of a run .*; delete .*step_0000001"):
        saving.read_state(path)
    assert "run" not in capsys.readouterr().out.split()


@pytest.mark.parametrize("state", [[], {}, {"step": "one"}, {"step": 1.5}, None])
def test_a_state_that_says_no_step_is_refused(tmp_path, state):
    (tmp_path / "step_1").mkdir()
    torch.save(state, tmp_path / "step_1" / "state.pt")
    with pytest.raises(CheckpointError, match="is no state of a run"):
        saving.read_state(tmp_path / "step_1")


def test_a_state_of_another_network_is_named(runs):
    train_judge(TINY.judge, runs / "run")
    shutil.rmtree(runs / "run" / "checkpoints")
    saving.save_state(runs / "run" / "checkpoints", 9, {"step": 4, "seconds": 1.0, "network": {}}, keep=1)
    with pytest.raises(CheckpointError, match="checkpoint 4 in .*checkpoints does not fit this run: ") as caught:
        train_judge(TINY.judge, runs / "run", resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", ['"high"', "NaN", "[]", "null", "{}"])
def test_a_score_that_is_no_number_counts_as_none(tmp_path, score):
    saving.save_state(tmp_path, 1, {"step": 1}, keep=2, score=0.5)
    path = saving.save_state(tmp_path, 2, {"step": 2}, keep=2, score=0.7)
    manifest = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(manifest.replace("0.7", score))
    assert saving.best_score(tmp_path) == 0.5 and saving.best(tmp_path).name == "step_0000001"


@pytest.mark.parametrize(
    "content", ["loss\n1\n", "step,loss\n1,2,3\n", "step,loss\none,2\n", "\xff", "step\n" + "9" * 5000]
)
def test_a_log_that_is_none_is_kept_and_a_new_one_begins(tmp_path, capsys, content):
    (tmp_path / "log.csv").write_bytes(content.encode("latin-1") + b"\n")
    log = Log(tmp_path / "log.csv", start=9)
    log.add({"step": 10, "loss": "1"})
    assert (tmp_path / "log.csv").read_text() == "step,loss\n10,1\n"
    assert (tmp_path / "log.damaged.csv").read_bytes() == content.encode("latin-1") + b"\n"
    assert "log.csv is damaged" in complaint(capsys)


# ---------------------------------------------------------------- a full disk


def test_a_full_disk_ends_no_run_for_want_of_a_row_and_the_row_follows(tmp_path, monkeypatch, capsys):
    log = Log(tmp_path / "log.csv", start=0)
    log.add({"step": 1, "loss": "3"})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(records.csv, "DictWriter", full)
        for step in (2, 3):
            log.add({"step": step, "loss": "2"})
    assert f"{tmp_path / 'log.csv'} is behind, will try again: No space left on device" in capsys.readouterr().err
    log.add({"step": 4, "loss": "1"})
    assert (tmp_path / "log.csv").read_text() == "step,loss\n1,3\n2,2\n3,2\n4,1\n"


def test_a_state_that_cannot_be_written_is_said_with_its_name(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="cannot be written: .*step_0000001"):
        saving.save_state(tmp_path, 1, {"step": 1}, keep=1)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "config, field",
    [(LoopConfig, "max_hours"), (OptimConfig, "learning_rate"), (OptimConfig, "clip"), (OptimConfig, "weight_decay")],
)
def test_numbers_of_a_config_are_finite(config, field, value):
    with pytest.raises(ValueError, match=rf"{field}=-?(nan|inf): must be"):
        config(**{field: value})


@pytest.mark.parametrize(
    "config, fields, message",
    [
        (LoopConfig, {"workers": -1}, "workers=-1: must be at least 0"),
        (LoopConfig, {"workers": 10**6}, "workers=1000000: must be at most 1024"),
        (LoopConfig, {"seed": -1}, "seed=-1: must be at least 0"),
        (LoopConfig, {"seed": 10**30}, f"seed={10**30}: must be at most 4294967295"),
        (LoopConfig, {"validate_every": -1}, "validate_every=-1: must be at least 0"),
        (OptimConfig, {"batch_size": 0}, "batch_size=0: must be at least 1"),
        (OptimConfig, {"batch_size": 10**12}, "batch_size=1000000000000: must be at most 65536"),
        (OptimConfig, {"drops": (0.5, math.nan)}, "drops=nan: must be a finite number"),
        (OptimConfig, {"drops": (0.5, 1.5)}, "drops=1.5: must be at most 1"),
        (OptimConfig, {"betas": (0.9, 1.0)}, "must be at least 0 and below 1"),
        (DataConfig, {"draws": 0}, "draws=0: must be at least 1"),
        (DataConfig, {"val_clips": 0}, "val_clips=0: must be at least 1"),
        (DataConfig, {"size": 10**9}, "size=1000000000: must be at most 4096"),
        (type(TINY.autoencoder), {"from_rest": 1.5}, "from_rest=1.5: must be at most 1"),
        (type(TINY.autoencoder), {"pixel_weight": math.nan}, "pixel_weight=nan: must be a finite number"),
        (type(TINY.autoencoder), {"visibility_tolerance": 0.0}, "visibility_tolerance=0: must be above 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_with_what_does(config, fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields)

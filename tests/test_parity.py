"""The runner that compares with stored values: what it lets pass, at the authors' sizes and others, and what not."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from .parity import make, make_stage_one, plain, plain_loss
from .parity.__main__ import compare, main
from .parity.drawn import Folder, exact
from .parity.plain_process import Process
from .parity.report import Report

DATA = Path(__file__).parent / "parity" / "data"
FEW = (  # files that are compared in a second
    "data/frame_sampling.json",
    "dm_small/diffusion_T90_buffers.safetensors",
    "lfae_small/bg_predictor_io.safetensors",
    "lfae_small/config.json",
    "lfae_small/pyramid_io.safetensors",
    "lfae_small/state_bg_predictor.safetensors",
    "lfae_small/state_generator.safetensors",
    "lfae_small/state_region_predictor.safetensors",
)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder of the authors' layout at other sizes."""
    return make.make(tmp_path_factory.mktemp("parity") / "made")


@pytest.fixture(scope="session")
def report(made) -> Report:
    """All of it, compared."""
    return compare(made)


@pytest.fixture
def few(made, tmp_path) -> Path:
    """Some files of it, to be spoilt."""
    for name in FEW:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(made / name, tmp_path / name)
    return tmp_path


# What passes


def test_the_shipped_values_pass(capsys):
    assert main([str(DATA)]) == 0
    assert re.search(r"\d{3,} comparisons, 0 failed: PASS", capsys.readouterr().out)


@pytest.mark.slow
def test_other_sizes_pass(report):
    assert report.passed, report.table()
    assert len(report.rows) > 1000


def test_a_made_folder_lacks_nothing_that_the_runner_knows(report):
    assert not report.absent
    assert not report.unread()


def test_a_made_folder_has_the_files_of_the_shipped_one_by_names_without_sizes(made):
    def names(folder: Path) -> set[str]:
        sized = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return {re.sub(r"(?<=[a-zA-Z])[\d.]*\d(?=[_.])", "#", name) for name in sized}

    assert names(DATA) <= names(made)


def test_a_seed_draws_the_same_numbers_whatever_the_precision_and_another_others(made, tmp_path):
    name = "bg_predictor"
    first = load_file(made / f"lfae_small/state_{name}.safetensors")
    with plain.float64():
        again = make_stage_one.draw_states(Folder(tmp_path, make.SEED))[name]
    other = make_stage_one.draw_states(Folder(tmp_path, make.SEED + 1))[name]
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert not torch.equal(other["fc.weight"], first["fc.weight"])


def test_a_folder_with_something_in_it_is_not_overwritten(made, tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert make.main([str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


# The second formulation is the authors', too


def stored(name: str) -> dict[str, torch.Tensor]:
    return exact(load_file(DATA / name))


def test_the_plain_auto_encoder_answers_the_published_numbers():
    config = json.loads((DATA / "lfae_small/config.json").read_text())
    parts = ("generator", "region_predictor", "bg_predictor")
    states = {part: stored(f"lfae_small/state_{part}.safetensors") for part in parts}
    pair, moved = stored("lfae_small/flowae_io.safetensors"), stored("lfae_small/transform_io.safetensors")
    with plain.float64():
        found = plain.whole(states, config["model_params"], pair["in.ref_img"], pair["in.dri_img"])
        jacobian = plain_loss.jacobian(moved["in.theta"], moved["in.control_params"], moved["in.coords"])
        frame = plain_loss.deform(moved["in.theta"], moved["in.control_params"], moved["in.frame"])
    for name, value in found.items():
        if not isinstance(value, dict):
            torch.testing.assert_close(value, pair[f"out.{name}"], atol=1e-5, rtol=0)
    torch.testing.assert_close(jacobian, moved["out.jacobian"], atol=1e-6, rtol=0)
    torch.testing.assert_close(frame, moved["out.frame"], atol=1e-6, rtol=0)


def test_the_plain_loss_is_the_published_one():
    config = json.loads((DATA / "lfae_small/config.json").read_text())
    parts = ("generator", "region_predictor", "bg_predictor")
    states = {part: stored(f"lfae_small/state_{part}.safetensors") for part in parts}
    pair, moved = stored("lfae_small/flowae_io.safetensors"), stored("lfae_small/transform_io.safetensors")
    features = stored("lfae_small/vgg_div32_state.safetensors")
    published = stored("lfae_small/reconstruction_loss_train.safetensors")
    with plain.float64():
        losses, outputs = plain_loss.loss(
            states, features, config, pair["in.ref_img"], pair["in.dri_img"],
            moved["in.theta"], moved["in.control_params"], train=True,
        )  # fmt: skip
    for name, value in losses.items():
        torch.testing.assert_close(value.reshape(1), published[name], atol=0, rtol=1e-6)
    torch.testing.assert_close(outputs["out.prediction"], published["out.prediction"], atol=2e-5, rtol=0)
    for name, value in published.items():
        if name.startswith("buffer_after."):
            part, tensor = name.removeprefix("buffer_after.").split(".", maxsplit=1)
            torch.testing.assert_close(states[part][tensor], value, atol=1e-5, rtol=0)


def test_the_plain_schedule_is_the_published_one():
    process = Process(1000)
    for name, value in stored("dm_small/diffusion_T1000_buffers.safetensors").items():
        torch.testing.assert_close(process.buffers[name], value, atol=1e-6, rtol=1e-6)
    for name, times in json.loads((DATA / "dm_small/sampling_meta.json").read_text()).items():
        if name.startswith("times_S"):
            assert process.times(int(name.removeprefix("times_S"))) == times


# What does not pass


def edit(path: Path, **changes) -> None:
    """Replace or add tensors; a key's `.` is written `__`."""
    values = load_file(path)
    for key, change in changes.items():
        key = key.replace("__", ".")
        values[key] = change(values[key].clone()) if key in values else change(torch.zeros(2))
    save_file(values, path)


def one_more(amount: float):
    """Add to one number alone."""

    def change(value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[-1] += amount
        return value

    return change


def test_the_few_files_pass_as_they_are(few):
    assert main([str(few)]) == 0


@pytest.mark.parametrize(
    "name, changes",
    [
        ("lfae_small/pyramid_io", {"prediction_0.5": one_more(1e-3)}),
        ("lfae_small/bg_predictor_io", {"out__shift": one_more(1e-3)}),
        ("dm_small/diffusion_T90_buffers", {"betas": one_more(-1e-3)}),
        ("lfae_small/state_bg_predictor", {"fc__bias": one_more(1e-3)}),
    ],
    ids=["an image", "a matrix", "a schedule", "a weight"],
)
def test_one_number_that_is_off_by_a_thousandth_fails(few, capsys, name, changes):
    edit(few / f"{name}.safetensors", **changes)
    assert main([str(few)]) == 1
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, changes",
    [
        ("lfae_small/pyramid_io", {"prediction_0.5": one_more(float("nan"))}),
        ("lfae_small/pyramid_io", {"in": one_more(float("nan"))}),
        ("lfae_small/bg_predictor_io", {"in__source": one_more(float("nan")), "out__affine": lambda x: x * torch.nan}),
        ("lfae_small/state_bg_predictor", {"fc__bias": one_more(float("nan"))}),
    ],
    ids=["stored", "given", "both", "a weight"],
)
def test_nan_fails(few, name, changes):
    edit(few / f"{name}.safetensors", **changes)
    assert main([str(few)]) == 1


def test_a_value_that_nobody_reads_fails_and_is_named(few, capsys):
    edit(few / "lfae_small/pyramid_io.safetensors", out__of_tomorrow=lambda value: value)
    assert main([str(few)]) == 1
    out = capsys.readouterr().out
    assert "not read: 1\n  lfae_small/pyramid_io.safetensors: out.of_tomorrow" in out and " 0 failed" in out


def test_a_file_that_nobody_reads_fails_and_is_named(few, capsys):
    shutil.copyfile(few / "lfae_small/pyramid_io.safetensors", few / "lfae_small/of_tomorrow.safetensors")
    assert main([str(few)]) == 1
    assert "lfae_small/of_tomorrow.safetensors (whole file)" in capsys.readouterr().out


def test_another_choice_of_frames_fails(few):
    path = few / "data/frame_sampling.json"
    sampled = json.loads(path.read_text())
    sampled["uniform_T19_N12"][3] += 1
    path.write_text(json.dumps(sampled))
    assert main([str(few)]) == 1


def test_an_exception_in_one_part_fails_and_the_others_go_on(few, capsys):
    edit(few / "lfae_small/bg_predictor_io.safetensors", in__source=lambda value: value[:, :2].contiguous())
    assert main([str(few)]) == 1
    out = capsys.readouterr().out
    assert "broken: 1" in out and "compare_background" in out and "prediction_0.5" in out


def test_where_nothing_is_compared_nothing_passes(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "\n0 comparisons, 0 failed: FAIL" in out and "broken" not in out


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["a", "b"]])
def test_wrong_use_is_told_apart(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err

"""Saving replaces a model in one step, by one of its kind alone, and never by what could not be read back."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from lfdm_lite.files import checkpoints
from lfdm_lite.files.checkpoints import check_free, load_module, read_config, read_tensors, save_module
from lfdm_lite.files.models.weights import fingerprint, write_safetensors
from lfdm_lite.files.reading import CheckpointError

from . import saving_kills
from .patience import HUNG
from .saving_kills import load, save, save_as_format_1

ROOT = Path(__file__).parents[1]


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---------------------------------------------------------------- in one step


@pytest.mark.parametrize("save_old", [save, save_as_format_1])
@pytest.mark.parametrize(("done", "value"), [(0, 1), (1, 2), (2, 2)])
def test_a_save_that_ends_between_two_steps_leaves_the_old_or_the_new_model(
    tmp_path, monkeypatch, save_old, done, value
):
    save_old(tmp_path / "model", 1)
    replace, left = os.replace, [done]

    def stop_after_some(*names):
        if not left[0]:
            raise OSError(5, "stopped")
        left[0] -= 1
        replace(*names)

    monkeypatch.setattr(os, "replace", stop_after_some)
    if done < 2:
        with pytest.raises(OSError, match="stopped"):
            save(tmp_path / "model", 2)
    else:
        save(tmp_path / "model", 2)
    monkeypatch.undo()

    found, network = load(tmp_path / "model")
    assert found == value and network.weight.eq(value).all() and network.in_features == value
    save(tmp_path / "model", 3)  # and it can be saved over, whatever was left
    found, network = load(tmp_path / "model")
    assert found == 3 and network.weight.eq(3).all()


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_model():
    command = [sys.executable, "-m", "tests.saving_kills", "--kills", "25"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["kills"] == 25 == outcome["first"] + outcome["second"]
    assert outcome["unreadable"] == outcome["mixed"] == outcome["leftovers"] == 0
    assert outcome["second"] > 0, "no kill hit a save"


def test_a_first_save_that_ends_early_leaves_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "write_json", lambda *_: (_ for _ in ()).throw(OSError(5, "stopped")))
    with pytest.raises(OSError, match="stopped"):
        save(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="no checkpoint in .*: it has no config.json"):
        load(tmp_path)
    save(tmp_path, 2)
    assert load(tmp_path)[0] == 2


def test_who_reads_while_the_folder_is_replaced_gets_one_model(tmp_path):
    save(tmp_path, 1)
    built = []

    def make():
        value = read_config(tmp_path)["value"]
        built.append(value)
        if len(built) == 2:  # the first model's config is read; before its weights are, another is there
            save(tmp_path, 2)
        return nn.Linear(value, 3)

    network = load_module(tmp_path, make)
    assert built[:2] == [1, 1] and network.in_features == 2 and network.weight.eq(2).all()


def test_a_folder_of_the_first_format_is_read(tmp_path):
    save_as_format_1(tmp_path, 1)
    value, network = load(tmp_path)
    assert value == 1 and network.weight.eq(1).all()


def test_a_config_that_was_edited_counts_and_one_of_other_weights_does_not(tmp_path):
    save(tmp_path / "a", 1)
    save(tmp_path / "b", 2)
    path = tmp_path / "a" / "config.json"
    path.write_text(path.read_text().replace('"kind"', '"note": "mine", "kind"'))
    assert read_config(tmp_path / "a")["note"] == "mine"
    path.write_bytes((tmp_path / "b" / "config.json").read_bytes())
    value, network = load(tmp_path / "a")
    assert value == 1 and network.weight.eq(1).all()


def test_the_same_model_is_the_same_file_whenever_it_is_saved(tmp_path):
    save(tmp_path / "0", 1)
    for i in range(1, 9):
        save(tmp_path / str(i), 1)
        assert content(tmp_path / str(i)) == content(tmp_path / "0")
    header = (tmp_path / "0" / "model.safetensors").read_bytes()[8:]
    assert header.startswith(b'{"__metadata__":{"config":') and b'"format":"pt"' in header


def test_others_may_read_what_is_saved(tmp_path):
    save(tmp_path, 1)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "config.json": 0o644,
        "model.safetensors": 0o644,
    }


def test_a_file_is_written_in_its_place(tmp_path):
    path = tmp_path / "x.safetensors"
    path.touch()
    before = path.stat().st_ino
    tensors = {"b": torch.arange(3, dtype=torch.int64), "a": torch.ones(2, 3).half(), "c": torch.empty(0)}
    write_safetensors(path, tensors, {"of": 'ü\n"', "at": "x"})
    assert path.stat().st_ino == before and list(tmp_path.iterdir()) == [path]
    again = load_file(path)
    assert set(again) == set(tensors) and all(again[name].equal(tensors[name]) for name in tensors)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"at": "x", "of": 'ü\n"'}


# ---------------------------------------------------------------- over what is there


def test_another_kind_of_model_is_not_replaced_unless_told(tmp_path):
    save(tmp_path, 1)
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match="holds a checkpoint of kind 'Linear', which would be lost"):
        save_module(tmp_path, nn.Conv1d(1, 1, 1), "Conv", {})
    assert content(tmp_path) == before
    save_module(tmp_path, nn.Conv1d(1, 1, 1), "Conv", {}, overwrite=True)
    assert read_config(tmp_path, "Conv")


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    for name, text in (("config.json", '{"model_type": "bert"}'), ("model.safetensors", "weights of somebody")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(CheckpointError, match=f"holds a {name} that is none of ours"):
            save(folder, 1)
        assert content(folder) == {name: text.encode()}


def test_whoever_replaces_nothing_can_ask_whether_a_folder_is_free(tmp_path):
    check_free(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    check_free(tmp_path)
    save(tmp_path, 1)
    check_free(tmp_path, saving_kills.KIND)
    with pytest.raises(CheckpointError, match="holds a checkpoint of kind 'Linear'"):
        check_free(tmp_path)


# ---------------------------------------------------------------- what could not be read back


def broken(number: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    network = nn.Linear(2, 3).to(dtype)
    network.weight.data[1, 1] = number
    return network


@pytest.mark.parametrize(
    ("network", "config", "dtype", "message"),
    [
        (broken(float("nan")), {}, None, "tensor 'weight' holds nan in 1 of 6 places"),
        (broken(float("-inf")), {}, None, "tensor 'weight' holds -inf in 1 of 6 places"),
        (broken(1e6), {}, torch.float16, "tensor 'weight' holds inf in 1 of 6 places"),
        (broken(1.0), {"rate": float("nan")}, None, "'NaN' is no finite number"),
        (broken(1.0), {"guidance_scale": 1e30}, None, "guidance_scale is 1e.30, expected a number from 0 to"),
        (
            broken(1.0),
            {},
            torch.float8_e5m2,
            "dtype torch.float8_e5m2 is not a floating-point type for weights: float64",
        ),
        (broken(1.0), {}, "int8", "dtype int8 is not a floating-point type"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, network, config, dtype, message):
    save(tmp_path, 1)
    before = content(tmp_path)
    with pytest.raises(ValueError, match=message):
        save_module(tmp_path, network, saving_kills.KIND, config, dtype)
    assert content(tmp_path) == before


def test_a_precision_may_be_named(tmp_path):
    save_module(tmp_path, nn.Linear(2, 3), "Linear", {}, dtype="bfloat16")
    assert read_tensors(tmp_path)["weight"].dtype == torch.bfloat16


# ---------------------------------------------------------------- wrappers of torch


class Wrapped(nn.Module):
    """A compiled part, one for several devices, and one within the other."""

    def __init__(self, wrap: bool):
        super().__init__()
        self.head, self.tail, self.body = nn.Linear(2, 2), nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 2))
        if wrap:
            self.head = torch.compile(self.head)
            self.tail = nn.DataParallel(self.tail)
            self.body = nn.DataParallel(torch.compile(self.body))


def test_wrappers_leave_no_trace_in_what_is_saved(tmp_path):
    wrapped, plain = Wrapped(wrap=True), Wrapped(wrap=False)
    save_module(tmp_path, torch.compile(wrapped), "Wrapped", {}, dtype=torch.float16)
    tensors = read_tensors(tmp_path)
    assert set(tensors) == set(plain.state_dict())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    checkpoints.load_weights(plain, tensors, "here")
    torch.testing.assert_close(plain.tail.weight, wrapped.tail.module.weight.half().float())


def test_names_of_wrappers_are_understood_on_either_side():
    wrapped, plain = Wrapped(wrap=True), Wrapped(wrap=False)
    checkpoints.load_weights(plain, wrapped.state_dict(), "here")
    assert plain.body[0].weight.equal(wrapped.body.module._orig_mod[0].weight)
    plain.head.weight.data.zero_()
    checkpoints.load_weights(wrapped, plain.state_dict(), "here")
    assert wrapped.head._orig_mod.weight.eq(0).all()


def test_two_names_of_one_tensor_are_refused():
    tensors = {"weight": torch.ones(3, 2), "module.weight": torch.ones(3, 2), "bias": torch.ones(3)}
    with pytest.raises(CheckpointError, match="'weight' and 'module.weight' are one tensor's names"):
        checkpoints.load_weights(nn.Linear(2, 3), tensors, "here")


def test_a_fingerprint_is_of_names_types_shapes_and_numbers():
    one = {"a": torch.arange(4.0), "b": torch.tensor(3), "c": torch.empty(0)}
    same = {name: one[name].clone() for name in reversed(one)}
    assert fingerprint(one) == fingerprint(same) and len(fingerprint(one)) == hashlib.sha256().digest_size * 2
    for name, other in (("a", torch.arange(4.0).view(2, 2)), ("a", -one["a"]), ("a", one["a"].int()), ("d", one["a"])):
        assert fingerprint(one | {name: other}) != fingerprint(one)

"""A checkpoint is whole or not there, and whatever is wrong with one is named in one line."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lfdm_lite.files.checkpoints import (
    CheckpointError,
    build,
    load_weights,
    make_config,
    read_config,
    read_fields,
    read_tensors,
    save_module,
)


@dataclass(frozen=True)
class Inner:
    kinds: tuple[str, ...] = ("a",)
    pair: tuple[float, float] = (1.0, 2.0)
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    rate: float = 0.5
    mode: Literal["slow", "fast"] = "slow"
    flag: bool = False
    root: str | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; expected at least 1")


@pytest.fixture
def folder(tmp_path):
    save_module(tmp_path / "model", nn.Linear(2, 3), "Linear", {"size": 3})
    return tmp_path / "model"


# ---------------------------------------------------------------- writing


def test_a_folder_holds_weights_and_config_and_keeps_its_other_files(folder):
    (folder / "recipe.json").write_text("{}")
    save_module(folder, nn.Linear(2, 3), "Linear", {"size": 3})
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "recipe.json"]
    assert read_config(folder, "Linear")["size"] == 3


def test_buffers_keep_their_precision_when_parameters_are_halved(tmp_path):
    module = nn.BatchNorm1d(4)
    module.running_var.fill_(1e-6)
    save_module(tmp_path, module, "Norm", {}, dtype=torch.float16)
    tensors = read_tensors(tmp_path)
    assert tensors["weight"].dtype == torch.float16
    assert tensors["running_var"].dtype == torch.float32 and tensors["num_batches_tracked"].dtype == torch.int64


def test_shared_and_strided_tensors_can_be_saved(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    module[0].weight.data = module[0].weight.data.t()
    save_module(tmp_path, module, "Pair", {})
    torch.testing.assert_close(read_tensors(tmp_path)["1.weight"], module[0].weight.data)


def test_impossible_saves_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not a floating-point type"):
        save_module(tmp_path / "x", nn.Linear(1, 1), "Linear", {}, dtype=torch.int8)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        save_module(tmp_path / "file", nn.Linear(1, 1), "Linear", {})


# ---------------------------------------------------------------- reading


def test_what_is_written_is_read_back(folder):
    module = nn.Linear(2, 3)
    load_weights(module, read_tensors(folder), folder)
    assert module.weight.equal(read_tensors(folder)["weight"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "holds a JSON list, expected an object"),
        ('{"kind": "Conv", "format_version": 1}', "is of kind 'Conv', expected 'Linear'"),
        ('{"kind": "Linear", "format_version": 99}', "format_version 99; this lfdm_lite reads 1 to 2"),
        ('{"kind": "Linear"}', "format_version None"),
    ],
)
def test_a_bad_config_is_named(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_config(folder, "Linear")


def test_a_config_that_is_no_text_is_named(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(CheckpointError, match="not UTF-8"):
        read_config(folder, "Linear")


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match="nothing of that name"):
        read_config(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="is a file; a checkpoint is a folder"):
        read_config(folder / "config.json")
    with pytest.raises(CheckpointError, match="has no config.json"):
        read_config(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has no model.safetensors"):
        read_tensors(folder)


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_weights_are_named(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        read_tensors(folder)


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("bias"), r"tensor 'bias' of shape \(3,\) is missing$"),
        (lambda t: t.update(weight=torch.zeros(3, 5)), r"tensor 'weight' has shape \(3, 5\), expected \(3, 2\)"),
        (lambda t: t.update(scale=torch.zeros(7)), r"unexpected tensor 'scale' of shape \(7,\)$"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(folder, edit, message):
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        load_weights(nn.Linear(2, 3), read_tensors(folder), folder)


# ---------------------------------------------------------------- configs


def test_a_config_survives_json():
    config = Outer(rate=2.0, mode="fast", root="x", inner=Inner(("b", "c"), (0.0, 1.0), (4, 5)))
    assert make_config(Outer, json.loads(json.dumps(asdict(config))), "here") == config


def test_absent_fields_keep_their_defaults():
    assert make_config(Outer, {}, "here") == Outer()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 3}, r"here has an unknown field 'stepz'; Outer knows: steps, rate"),
        ({"inner": {"kind": 3}}, r"here.inner has an unknown field 'kind'"),
        ({"steps": "3"}, r"here.steps is '3', expected int"),
        ({"steps": True}, r"here.steps is True, expected int"),
        ({"steps": 0}, r"here does not fit Outer: steps is 0; expected at least 1"),
        ({"rate": None}, r"here.rate is None, expected float"),
        ({"mode": "medium"}, r"here.mode is 'medium', expected Literal\['slow', 'fast'\]"),
        ({"flag": 1}, r"here.flag is 1, expected bool"),
        ({"root": 1}, r"here.root is 1, expected str \| None"),
        ({"inner": {"kinds": ["a", 1]}}, r"here.inner.kinds\[1\] is 1, expected str"),
        ({"inner": {"pair": [1.0]}}, r"here.inner.pair is \[1.0\], expected tuple\[float, float\]"),
        ({"inner": 3}, r"here.inner is 3, expected an object"),
    ],
)
def test_a_config_that_does_not_fit_is_named(values, message):
    with pytest.raises(CheckpointError, match=message):
        make_config(Outer, values, "here")


def test_fields_must_be_the_known_ones():
    assert read_fields({"b": 2, "a": 1, "kind": "x", "format_version": 1}, ("a", "b"), "here") == (1, 2)
    with pytest.raises(CheckpointError, match="here lacks the field 'b'"):
        read_fields({"a": 1}, ("a", "b"), "here")
    with pytest.raises(CheckpointError, match="here has an unknown field 'c'; known are: a"):
        read_fields({"a": 1, "c": 1}, ("a",), "here")


def test_a_config_that_no_network_can_be_built_from_is_named():
    with pytest.raises(CheckpointError, match="here does not describe a model"):
        build(lambda: nn.Conv2d(3, 3, 3, groups=2), "here")

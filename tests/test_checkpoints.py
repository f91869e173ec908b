"""A checkpoint is whole or not there, and whatever is wrong with one is named in one line."""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.files.checkpoints import load_module, read_config, read_tensors, save_module
from lfdm_lite.files.models.configs import check_limits, make_config, read_fields
from lfdm_lite.files.models.weights import build, load_weights
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.training.stages.finished import KIND, load_autoencoder


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
        ('{"kind": "Linear", "format_version": true}', "format_version True"),
        ('{"kind": ["Linear"], "format_version": 1}', r"is of kind \['Linear'\], expected 'Linear'"),
        ('{"kind": "Linear", "format_version": 1, "size": NaN}', "'NaN' is no finite number"),
        ('{"kind": "Linear", "format_version": 1, "size": 1e9}', "size is 1000000000.0, expected a number"),
        ('{"kind": "Linear", "kind": "Linear", "format_version": 1}', "the name 'kind' stands there twice"),
        ('{"a":' * 99 + "1" + "}" * 99, "nested more than 40 deep"),
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


def test_a_pointer_of_git_lfs_is_called_by_its_name(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="is damaged or no .*: run git lfs pull$"):
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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t["weight"][1, 0].fill_(float("nan")), "tensor 'weight' holds nan in 1 of 6 places"),
        (lambda t: t["bias"].fill_(float("-inf")), "tensor 'bias' holds -inf in 3 of 3 places"),
        (lambda t: t.update(weight=t["weight"] > 0), "tensor 'weight' is of type BOOL; expected F64, F32, F16"),
        (lambda t: t.update(weight=t["weight"].to(torch.int16)), "tensor 'weight' is of type I16; expected F64"),
        (lambda t: t.update(weight=t["weight"].to(torch.int8)), "'weight' is of type int8, expected a floating-point"),
        (lambda t: t.update(weight=t["weight"].to(torch.uint8)), "tensor 'weight' is of type U8"),
        (lambda t: t.update(weight=t["weight"].to(torch.float8_e4m3fn)), "tensor 'weight' is of type F8_E4M3"),
        (lambda t: t.update(weight=t["weight"].to(torch.complex64)), "tensor 'weight' is of type C64"),
        (lambda t: t.update(weight=t["weight"].long()), "tensor 'weight' is of type int64, expected a floating-point"),
        (lambda t: t.update(weight=t["weight"].double() + 1e300), "tensor 'weight' holds inf in 6 of 6 places"),
    ],
)
def test_numbers_that_are_no_weights_are_named(folder, edit, message):
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_module(folder, lambda: nn.Linear(2, 3))
    assert "model.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_counters_are_whole_numbers_and_only_these(tmp_path):
    save_module(tmp_path, nn.BatchNorm1d(4), "Norm", {})
    change(tmp_path, lambda t: t.update(num_batches_tracked=torch.tensor(1.5)))
    with pytest.raises(CheckpointError, match="'num_batches_tracked' is of type float32, expected whole numbers"):
        load_module(tmp_path, lambda: nn.BatchNorm1d(4))


def test_every_flipped_bit_of_the_weights_is_noticed(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole), 5):
        for bit in (0, 6):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match="damaged: its numbers are not those that were written|holds nan"):
                read_tensors(folder)


def test_what_is_no_file_is_not_opened(folder):
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(CheckpointError, match=f"{name}: a pipe, socket or device"):
            load_module(folder, lambda: nn.Linear(read_config(folder)["size"], 3))


def test_nothing_is_built_that_the_header_of_the_weights_does_not_confirm(folder):
    built = []

    def make():
        built.append(nn.Linear(2, 10**6))
        return built[-1]

    with pytest.raises(CheckpointError, match=r"tensor 'weight' has shape \(3, 2\), expected \(1000000, 2\)"):
        load_module(folder, make)
    assert len(built) == 1 and {parameter.device.type for parameter in built[0].parameters()} == {"meta"}


def test_an_auto_encoder_of_another_size_is_never_built(tmp_path):
    config = LFAEConfig(width=4, latent_channels=8, num_residual=1, region_width=4, flow_width=4, background_width=4)
    save_module(tmp_path, LatentFlowAutoencoder(config), KIND, {"model": asdict(config)})
    assert load_autoencoder(tmp_path).config == config
    for name, value, message in (
        ("num_residual", 200, "tensor 'residual.1.* is missing"),
        ("latent_channels", 60_000, r"tensor 'down.1.* has shape .*, expected \(60000, "),
        ("region_depth", 10**9, "region_depth is 1000000000, expected a number from 0 to 12"),
    ):
        stored = {"model": asdict(config) | {name: value}}
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | stored))
        with pytest.raises(CheckpointError, match=message):
            load_autoencoder(tmp_path)


# ---------------------------------------------------------------- configs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_down": 13}, "here: num_down is 13, expected a number from 0 to 12"),
        ({"unet": {"blocks": 257}}, "here: unet.blocks is 257, expected a number from 0 to 256"),
        ({"width": 65_537}, "here: width is 65537, expected a number from 0 to 65,536"),
        ({"width": -1}, "here: width is -1, expected"),
        ({"rate": 1e7}, r"here: rate is 10000000.0, expected a number from -1,000,000 to 1,000,000"),
        ({"temperature": 0}, "here: temperature is 0, expected"),
        ({"guidance_scale": True}, "here: guidance_scale is True, expected a number"),
        ({"unet": {"dim_mults": [1] * 13}}, "here: unet.dim_mults has 13 entries, expected at most 12"),
        ({"labels": ["x" * 1001]}, "here: labels is a text of 1001 letters, expected at most 1000"),
    ],
)
def test_what_is_out_of_bounds_is_named(values, message):
    with pytest.raises(CheckpointError, match=message):
        check_limits(values, "here")


def test_what_is_within_bounds_passes():
    check_limits({"num_down": 12, "blocks": 256, "width": 65_536, "rate": -0.5, "labels": ["a", "b"], "on": True}, "x")


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
        ({"steps": 2.0}, r"here.steps is 2.0, expected int"),
        ({"rate": True}, r"here.rate is True, expected float"),
        ({"rate": float("nan")}, r"here.rate is nan, expected float"),
        ({"mode": ["slow"]}, r"here.mode is \['slow'\], expected Literal"),
        ({"inner": {"kinds": ["x" * 10**6, 1]}}, r"here.inner.kinds\[1\] is 1"),
        ({"root": ["x" * 10**6]}, r"here.root is \['x{70,}…, expected str \| None"),
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

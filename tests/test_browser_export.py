"""A model for the browser: its graphs answer as PyTorch does, and the folder says all that a page must know."""

import contextlib
import importlib.util
import io
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from lfdm_lite import LFDM
from lfdm_lite.browser.checking import Difference, differences, largest
from lfdm_lite.browser.export import export, rounded
from lfdm_lite.cli import main
from lfdm_lite.conditions import NumberRange
from lfdm_lite.diffusion import GaussianDiffusion
from lfdm_lite.distillation import student_of
from lfdm_lite.files.fast import FastDenoiser, fingerprint_of
from lfdm_lite.samplers import sampling_path
from lfdm_lite.unet3d import UNet3D

from .test_house import ROOT
from .test_pipeline import LABELS, tiny_model

for package in ("onnx", "onnxscript", "onnxruntime"):  # looked for: importing them takes seconds, in every process
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is missing: pip install -e '.[web]'", allow_module_level=True)


def told_model() -> LFDM:
    """A model of random weights that knows a number beside the label, with a fast network."""
    model = tiny_model()
    config = replace(model.unet.config, numbers=(NumberRange("strength", 0.5, 1.5),))
    torch.manual_seed(1)
    model.unet = UNet3D(config).eval()
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    student = student_of(model.unet, (1.0, 4.0))
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.fast = FastDenoiser(student.eval().requires_grad_(False), 2, fingerprint_of(model.unet))
    model.quick = (3, 1, 1.5)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    return told_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """What `lfdm export-onnx` writes and says of that model."""
    place = tmp_path_factory.mktemp("export")
    model.save_pretrained(place / "model", dtype="float16")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["export-onnx", str(place / "model"), "--out", str(place / "web")]) == 0
    return place / "web", said.getvalue()


@pytest.fixture(scope="module")
def folder(exported):
    return exported[0]


@pytest.mark.slow
def test_every_part_and_a_whole_clip_are_those_of_pytorch(model, folder):
    found = differences(model, folder, steps=2)
    assert [difference.what for difference in found] == ["encoder", "denoiser", "fast", "decoder", "clip"]
    assert all(difference.is_small for difference in found), found


def test_other_weights_are_noticed(model, folder):
    other = rounded(model)
    with torch.no_grad():
        other.unet.head.bias += 0.01
        other.autoencoder.to_image.bias += 0.01
    far = {difference.what for difference in differences(other, folder, steps=1) if not difference.is_small}
    assert far == {"denoiser", "decoder", "clip"}


def test_a_difference_that_is_no_number_is_not_small():
    nothing = torch.tensor([float("nan")])
    assert not Difference("clip", largest(nothing, torch.zeros(1)), 1.0).is_small


def test_weights_are_stored_in_half_precision_and_none_is_lost(model, folder):
    import onnx
    from onnx import TensorProto, numpy_helper

    graph = onnx.load(folder / "denoiser.onnx").graph
    halves = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    stored = sum(np.prod(tensor.dims) for tensor in halves)
    assert stored > 0.8 * sum(parameter.numel() for parameter in model.unet.parameters())
    kernel = rounded(model).unet.conv_features.weight.numpy()
    assert any(np.array_equal(numpy_helper.to_array(tensor).astype(np.float32), kernel) for tensor in halves)


def test_the_folder_says_what_a_page_must_know(model, folder):
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert said["labels"] == LABELS and said["null_label"] == len(LABELS)
    assert said["numbers"] == [{"name": "strength", "low": 0.5, "high": 1.5}]
    assert said["fast"] == {"steps": 2, "sampler": "ddim", "scales": [1.0, 4.0]} and said["quick"] == [3, 1, 1.5]
    assert said["alpha_bar"] == model.diffusion.exact_alpha_bar().tolist()
    assert said["usable_steps"] == len(sampling_path(model.diffusion))
    for part in said["parts"].values():
        assert (folder / part["file"]).stat().st_size == part["bytes"]


def test_a_process_that_the_page_does_not_know_is_refused(model, tmp_path):
    class Other(GaussianDiffusion):
        """Samples otherwise."""

    other = LFDM(model.autoencoder, model.unet, Other(model.diffusion.config), LABELS, image_size=32)
    with pytest.raises(ValueError, match="the noise process is a Other; the page samples with GaussianDiffusion alone"):
        export(other, tmp_path / "web")
    assert not (tmp_path / "web").exists()


def test_a_fast_network_that_other_weights_taught_is_not_exported(model, tmp_path):
    taught = model.fast
    other = LFDM(model.autoencoder, model.unet, model.diffusion, LABELS, image_size=32)
    other.fast = replace(taught, teacher="of another model")
    with pytest.raises(ValueError, match="^the fast network was taught by other weights than this model has"):
        export(other, tmp_path / "web")
    assert not (tmp_path / "web").exists()


def test_the_command_says_what_it_wrote_and_how_far_it_is_from_pytorch(exported):
    folder, said = exported
    names = [line.split()[0] for line in said.splitlines() if line]
    parts = ["encoder", "denoiser", "fast", "decoder"]
    assert names == [*parts, "all", "largest", *parts, "clip"]
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.onnx" for name in parts), "model.json"}


@pytest.mark.parametrize("out", ["model", "model/web"])
def test_a_checkpoint_is_not_written_into(tmp_path, capsys, out):
    tiny_model().save_pretrained(tmp_path / "model", dtype="float16")
    before = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert main(["export-onnx", str(tmp_path / "model"), "--out", str(tmp_path / out)]) == 2
    assert "name a folder" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == before


@pytest.mark.skipif(not shutil.which("node"), reason="node is missing")
def test_the_modules_of_the_page_read_the_folder(folder):
    """What `checkDescription` of the page accepts; node runs the page's own module."""
    script = f"""
        import {{ checkDescription }} from "{(ROOT / "_static" / "live" / "model.mjs").as_uri()}";
        import {{ readFileSync }} from "node:fs";
        console.log(checkDescription(JSON.parse(readFileSync({json.dumps(str(folder / "model.json"))}))).kind);
    """
    ran = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True)
    assert ran.stdout.strip() == "LFDM for the browser", ran.stderr

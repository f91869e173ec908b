"""Whole models, from the authors' two files to ours and back."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lfdm_lite import cli
from lfdm_lite.autoencoder import LFAEConfig
from lfdm_lite.diffusion import DiffusionConfig
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.files.variants import construct
from lfdm_lite.official import autoencoder, denoiser
from lfdm_lite.official.convert import DM_FILE, LFAE_FILE, VECTORS_FILE, from_official, to_official
from lfdm_lite.official.labels import read_label_vectors
from lfdm_lite.official.presets import NAMES, PaperModel, paper_model
from lfdm_lite.pipeline import LFDM
from lfdm_lite.unet3d import UNet3DConfig

TABLES = Path(__file__).parent / "parity" / "data"


def small_paper_model(learned_null: bool) -> PaperModel:
    """The authors' model, every part small."""
    official = json.loads(json.dumps(autoencoder.PAPER))
    model = official["model_params"]
    model["num_regions"] = 3
    model["bg_predictor_params"] |= {"block_expansion": 4, "max_features": 16, "num_blocks": 2}
    model["region_predictor_params"] |= {"block_expansion": 4, "max_features": 16, "num_blocks": 2}
    generator = model["generator_params"]
    generator |= {"block_expansion": 8, "max_features": 16, "num_bottleneck_blocks": 1}
    generator["pixelwise_flow_predictor_params"] |= {"block_expansion": 4, "max_features": 16, "num_blocks": 2}
    unet = denoiser.unet_config(
        dim=8, channels=19, dim_mults=(1, 2), attn_heads=2, attn_dim_head=32, cond_dim=12, num_labels=2, num_frames=4,
        learn_null_cond=learned_null,
    )  # fmt: skip
    diffusion = denoiser.diffusion_config(timesteps=30)
    return PaperModel(autoencoder.lfae_config(official), unet, diffusion, ("left", "right"), image_size=32)


def random_model(paper: PaperModel) -> LFDM:
    torch.manual_seed(0)
    network, unet = construct(paper.autoencoder), construct(paper.unet)
    for tensor in [*network.state_dict().values(), *unet.state_dict().values()]:
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) * 0.1 + 0.01)
    if not paper.unet.learned_null:
        unet.label.null.zero_()
    diffusion = construct(paper.diffusion)
    return LFDM(network, unet, diffusion, list(paper.labels), paper.image_size, guidance_scale=1.0).eval()


@pytest.fixture(params=[False, True], ids=["zero null", "learned null"])
def converted(request, tmp_path):
    """A model, what it is, and the folder of the authors' files that it was written to."""
    paper = small_paper_model(request.param)
    model = random_model(paper)
    to_official(model, tmp_path)
    return model, paper, tmp_path


def test_there_and_back_every_tensor_is_bitwise_the_same(converted):
    model, paper, folder = converted
    vectors = read_label_vectors(folder / VECTORS_FILE, paper.labels)
    again = from_official(folder / LFAE_FILE, folder / DM_FILE, paper, vectors)
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_the_checkpoint_of_a_converted_model_is_read_back_and_generates(converted, tmp_path):
    model, _, _ = converted
    model.save_pretrained(tmp_path / "ours")
    again = LFDM.from_pretrained(tmp_path / "ours")
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    for sampler in ("ddim", "ddpm", "dpm++"):
        clips = [m.generate(image, "left", seed=0, steps=4, sampler=sampler, progress=False) for m in (model, again)]
        assert torch.equal(clips[0].video, clips[1].video)


def test_a_missing_tensor_is_named_with_its_file(converted):
    _, paper, folder = converted
    vectors = read_label_vectors(folder / VECTORS_FILE, paper.labels)
    for name, part, key in [
        (DM_FILE, "diffusion", "denoise_fn.init_conv.bias"),
        (LFAE_FILE, "bg_predictor", "fc.weight"),
    ]:
        content = torch.load(folder / name, weights_only=True)
        kept = content[part].pop(key)
        torch.save(content, folder / name)
        with pytest.raises(CheckpointError, match=f"{name}: .*{key.split('.', 1)[-1]}"):
            from_official(folder / LFAE_FILE, folder / DM_FILE, paper, vectors)
        content[part][key] = kept
        torch.save(content, folder / name)


def test_a_model_by_our_conventions_has_no_official_form(tmp_path):
    paper = small_paper_model(False)
    ours = replace(paper, unet=replace(paper.unet, frame_index=True))
    with pytest.raises(ValueError, match="frame_index|conv_index"):
        to_official(random_model(ours), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_official_is_off_unless_asked_for(name):
    ours, theirs = paper_model(name), paper_model(name, official=True)
    assert ours.diffusion == DiffusionConfig()
    assert type(ours.autoencoder) is LFAEConfig and type(ours.unet) is UNet3DConfig
    assert theirs.autoencoder.corner_grids and theirs.autoencoder.blend_source
    assert theirs.diffusion.early_alpha_bar
    assert theirs.labels == ours.labels and len(set(ours.labels)) == {"mug128": 7, "mhad128": 27, "natops128": 24}[name]


def synthetic(folder: Path) -> None:
    """Full-size files in the authors' outer layout: random numbers everywhere, Adam's state beside them."""
    lfae, dm = (json.loads((TABLES / f"keys_mug128_{name}.json").read_text()) for name in ("lfae", "dm"))

    def state(table: dict) -> dict[str, torch.Tensor]:
        return {name: torch.rand(shape).to(getattr(torch, dtype)) for name, (shape, dtype) in table.items()}

    def adam(count: int) -> dict:
        zero = torch.zeros(1)
        return {"state": {i: {"step": zero, "exp_avg": zero, "exp_avg_sq": zero} for i in range(count)}}

    parts = {part: state(lfae[part]) for part in ("generator", "region_predictor", "bg_predictor")}
    torch.save({"example": 100, "epoch": 3, **parts, "optimizer": adam(300)}, folder / LFAE_FILE)
    diffusion = state(dm["diffusion"])
    torch.save({"example": 100, "diffusion": diffusion, "optimizer_diff": adam(300)}, folder / DM_FILE)
    save_file({label: torch.rand(768) for label in paper_model("mug128").labels}, folder / VECTORS_FILE)


CONSTANTS = ("rotary_emb.freqs", "down.weight")  # computed, as the schedule is

CONVERT_AND_MEASURE = """
import resource, sys
from lfdm_lite.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_full_size_checkpoint_converts_in_a_minute_within_4_gb_and_back(tmp_path, capsys):
    synthetic(tmp_path)
    files = [str(tmp_path / LFAE_FILE), str(tmp_path / DM_FILE)]
    arguments = ["convert", *files, "--preset", "mug128", "--label-vectors", str(tmp_path / VECTORS_FILE)]
    command = [sys.executable, "-c", CONVERT_AND_MEASURE, *arguments, "--out", str(tmp_path / "ours")]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert "warning: the stored constant 'betas' and 11 more differs" in done.stderr  # here they are random too
    peak = int(done.stdout.split("peak")[1])
    print(f"converted in {seconds:.0f} s, {peak} MiB")
    assert seconds < 60 and peak < 4096

    assert cli.main(["convert", str(tmp_path / "ours"), "--out", str(tmp_path / "back")]) == 0
    schedule = denoiser.schedule(denoiser.diffusion_config())
    for name in (LFAE_FILE, DM_FILE):
        first, second = (torch.load(folder / name, weights_only=True) for folder in (tmp_path, tmp_path / "back"))
        for part, state in first.items():
            if isinstance(state, dict) and not part.startswith("optimizer"):
                assert set(second[part]) == set(state)
                weights = [key for key in state if key not in schedule and not key.endswith(CONSTANTS)]
                assert all(torch.equal(second[part][key], state[key]) for key in weights), part


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert cli.main(["convert", str(tmp_path / "a.pth"), "--out", str(tmp_path / "o")]) == 2
    assert "got 1 sources: give the two files LFAE.pth DM.pth" in capsys.readouterr().err
    assert cli.main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "b.pth"), "--out", str(tmp_path / "o")]) == 2
    assert "no file at" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_nothing_that_is_there_is_replaced(tmp_path, capsys):
    files = [tmp_path / LFAE_FILE, tmp_path / DM_FILE]
    for path in files:
        path.write_bytes(b"theirs")
    judge = VideoClassifier(3).save(tmp_path / "judge")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for arguments in ([*map(str, files), "--out", str(judge)], [str(judge), "--out", str(tmp_path)]):
        assert cli.main(["convert", *arguments]) == 2
        error = capsys.readouterr().err
        assert "choose another" in error and error.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before

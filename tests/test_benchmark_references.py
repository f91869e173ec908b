"""The benchmark compares like with like: its straightforward formulation computes what the library computes."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from lfdm_lite.files.variants import construct
from lfdm_lite.official import denoiser
from lfdm_lite.official.autoencoder import lfae_config
from lfdm_lite.unet3d import UNet3D

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import bench_official  # noqa: E402
import bench_stage_one  # noqa: E402
import profile_unet  # noqa: E402
import straightforward  # noqa: E402

GOLDEN = Path(__file__).parent / "parity/data/dm_small"
PADDING = {"deconv": "constant", "upconv_reflect_lnc": "reflect", "nocond": "constant"}

VARIANTS = {
    "transposed": dict(cond_dim=5),
    "nearest, reflected, learned null": dict(
        cond_dim=5, use_deconv=False, padding_mode="reflect", learn_null_cond=True
    ),
    "nearest, zeros": dict(cond_dim=5, use_deconv=False),
    "no condition": dict(cond_dim=None),
}


def small_unet(**variant) -> tuple[UNet3D, dict[str, torch.Tensor]]:
    """A small network in the authors' configuration, nothing of it at zero, and its tensors under their names."""
    torch.manual_seed(0)
    config = denoiser.unet_config(dim=8, channels=7, dim_mults=(1, 2), attn_heads=2, num_frames=3, **variant)
    unet = construct(config).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    unet.label.vectors.normal_()
    official = denoiser.to_official(unet.state_dict(), config, denoiser.diffusion_config())
    return unet, {name.removeprefix(denoiser.PREFIX): tensor for name, tensor in official.items()}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("conditioned", [True, False])
def test_the_straightforward_denoiser_equals_ours(variant, conditioned):
    unet, state = small_unet(**variant)
    x, features = torch.randn(2, 3, 3, 8, 8), torch.randn(2, 4, 8, 8)
    t = torch.tensor([3, 741])
    label = torch.tensor([1, 4]) if conditioned else torch.full((2,), unet.null_label)
    padding = "reflect" if variant.get("padding_mode") == "reflect" else "constant"
    with torch.no_grad():
        found = straightforward.unet(
            state, straightforward.with_features(x, features), t, unet.label(label), padding_mode=padding
        )
        assert_close(found, unet(x, t, features, label), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("variant", PADDING)
def test_the_straightforward_denoiser_equals_the_published_numbers(variant):
    if not (GOLDEN / f"unet_{variant}_io.safetensors").exists():
        pytest.skip("these numbers are not part of the repository")
    state = load_file(GOLDEN / f"unet_{variant}_state.safetensors")
    golden = load_file(GOLDEN / f"unet_{variant}_io.safetensors")
    condition = golden.get("in.cond")
    found = straightforward.unet(state, golden["in.x"], golden["in.time"], condition, padding_mode=PADDING[variant])
    reference = golden["out" if condition is None else "out.cond"]
    assert bench_official.difference(found, reference) <= 2e-5


def test_the_straightforward_denoiser_has_our_gradients():
    subject = bench_official.Subject(bench_official.QUICK, with_autoencoder=False)
    plain, ours = bench_official.PlainTraining(subject), bench_official.OurTraining(subject)
    assert bench_official.check_gradients(plain, ours) < bench_official.TOLERANCE


@torch.no_grad()
def test_one_frame_at_a_time_equals_all_at_once():
    torch.manual_seed(0)
    config = lfae_config({"model_params": bench_official.QUICK.autoencoder}, 3)
    autoencoder, video = construct(config).eval(), torch.rand(1, 3, 3, 32, 32)
    painted, motion = straightforward.reconstruct(autoencoder, video)
    assert_close(painted, autoencoder.reconstruct(video), atol=1e-4, rtol=1e-4)
    assert_close(straightforward.estimate_motion(autoencoder, video), motion)
    assert_close(straightforward.decode(autoencoder, video[:, :, 0], motion), painted)


def test_ddim_steps_to_the_clean_end_answer_x0():
    x0, eps, noise = torch.randn(3, 1, 3, 2, 4, 4).unbind()
    end = torch.tensor(1.0)
    assert_close(straightforward.ddim_step(x0, eps, torch.tensor(0.3), end, noise), x0)


def test_formulations_that_differ_are_not_timed():
    with pytest.raises(SystemExit, match="differ"):
        bench_official.check_equal("flow", torch.ones(3), torch.zeros(3))
    with pytest.raises(SystemExit, match="differ"):
        bench_official.check_equal("flow", torch.full((3,), torch.nan), torch.zeros(3))


def test_the_quick_benchmark_fills_its_table(tmp_path, capsys):
    out = tmp_path / "bench.json"
    rows = bench_official.main(["--quick", "--repeats", "1", "--out", str(out), "--only", *bench_official.GROUPS])
    asked = {row.quantity: row.asked for row in rows if row.asked is not None}
    assert asked == {
        "flow extraction": 4.0,
        "reconstruction": 1.4,
        "U-Net forward": 1.6,
        "U-Net forward, bf16": 3.0,
        "U-Net training step": 1.5,
        "U-Net training step, bf16": 2.5,
        "stage-two step": 5.0,
        "video with guidance": 15.0,
        "video with guidance, the quick way": 60.0,
        "video without guidance, the quick way": 100.0,
    }
    assert all(row.ratio > 0 for row in rows)
    printed, record = capsys.readouterr().out, json.loads(out.read_text())
    assert all(f"| {row['quantity']} |" in printed for row in record["rows"])
    assert all(len(runs["wall"]) == 1 for row in record["rows"] for runs in row["runs"].values())


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own():
    rows = bench_official.bench_memory(bench_official.QUICK, quick=True)
    assert [row.asked for row in rows] == [0.60, 0.35, None]
    assert rows[0].straightforward > 0 and rows[0].ours > 0


def test_the_profile_accounts_for_the_whole_call(capsys):
    profiles = profile_unet.main(["--quick", "--repeats", "1"])
    for p in profiles.values():
        assert abs(sum(p.kinds().values()) - p.total) < 1e-9
        assert p.flops > 0 and "convolution" in p.kinds()
    # z0 is convolved once here, and once per frame there
    assert profiles["ours"].flops < profiles["straightforward"].flops
    assert "what limits it most" in capsys.readouterr().out


def test_the_published_step_of_stage_one_has_our_loss(capsys):
    runs = bench_stage_one.main(["--tiny", "--repeats", "1", "--only", "published", "ours", "ours, bf16"])
    assert all(step["memory"] > 0 and step["loss"] > 0 for found in runs.values() for step in found)
    assert "| ours, bf16 |" in capsys.readouterr().out
    runs["ours"][0]["loss"] *= 1.01
    with pytest.raises(SystemExit, match="not the same function"):
        bench_stage_one.check_losses("mug128", runs)

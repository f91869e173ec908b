"""The arithmetic of the live page, run by node, is that of the library: noise, steps, pictures, colours."""

import json
import math
import re
import shutil
import subprocess

import pytest
import torch

from lfdm_lite import flow_to_rgb
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.pictures import crop_resize
from lfdm_lite.pipeline import clip_generators
from lfdm_lite.samplers import guided, guided_until, sample, sampling_path, timesteps

from .test_house import ROOT

MODULES = ROOT / "_static" / "live"

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is missing")


def node(module: str, names: str, expression: str, **given):
    """The value of a JavaScript expression of a module's names and of `given`."""
    script = f"""
        import {{ {names} }} from "{(MODULES / module).as_uri()}";
        const given = JSON.parse(await new Response(process.stdin).text());
        const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
        process.stdout.write(JSON.stringify(await ({expression}), plain));
    """
    command = ["node", "--input-type=module", "-e", script]
    ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("seed", [0, 7, 123_456, 2**31 - 1])
def test_a_seed_is_the_same_noise_in_both(seed):
    count = 3 * 4 * 16 * 16
    ours = torch.randn((3, 4, 16, 16), generator=clip_generators(seed, 1)[0]).flatten()
    theirs = node("noise.mjs", "standardNormal", f"standardNormal({seed}, {count})")
    assert (ours - torch.tensor(theirs)).abs().max() < 1e-5


@pytest.mark.parametrize("num_steps", [1000, 999, 17])
def test_steps_are_spaced_alike_with_halves_to_the_even_side(num_steps):
    given = [(count, spacing) for count in range(1, min(num_steps, 50) + 1) for spacing in (1, 1.5, 3)]
    run = f"given.counts.map((count) => timesteps({num_steps}, ...count))"
    theirs = node("sampler.mjs", "timesteps", run, counts=given)
    assert theirs == [timesteps(num_steps, *one) for one in given]


@pytest.mark.parametrize("parameterization", ["x0", "eps"])
def test_guidance_ends_at_the_same_step(parameterization):
    diffusion = GaussianDiffusion(DiffusionConfig(parameterization=parameterization))
    spacings, all_steps = (1, 1.75), (1, 4, 6, 20)
    counts = [(n, guided_steps, s) for s in spacings for n in all_steps for guided_steps in range(1, n + 1)]
    run = f"given.counts.map((count) => guidedUntil({len(sampling_path(diffusion))}, ...count))"
    theirs = node("sampler.mjs", "guidedUntil", run, counts=counts)
    assert theirs == [guided_until(diffusion, *count) for count in counts]


class Toy:
    """A denoiser whose answer depends on x, t and the label."""

    null_label = 1

    def __call__(self, x, t, features, *asked):
        (label,) = asked
        column = (label == 0).float().view(-1, 1)
        return (0.1 + 0.2 * column) * x + t.view(-1, 1) / 1000 - 0.2 * column


@pytest.mark.parametrize("parameterization", ["x0", "v", "eps"])
@pytest.mark.parametrize("sampler", ["dpm++", "ddim"])
@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_the_same_noise_is_denoised_to_the_same_data(parameterization, sampler, scale):
    diffusion = GaussianDiffusion(DiffusionConfig(parameterization=parameterization))
    noise = torch.randn(1, 64, generator=torch.Generator().manual_seed(3))
    denoise = guided(Toy(), torch.zeros(1, 1, 1, 1), torch.tensor([0]), float(scale))
    path = dict(steps=7, spacing=1.5)
    ours = sample(diffusion, denoise, noise.shape, sampler=sampler, **path, noise=[noise], progress=False)
    description = {
        "alpha_bar": diffusion.exact_alpha_bar().tolist(),
        "usable_steps": len(sampling_path(diffusion)),
        "parameterization": parameterization,
    }
    toy = "(x, t, k) => x.map((v) => (0.1 + 0.2 * k) * v + t / 1000 - 0.2 * k)"
    run = f"""sample({{ description: given.description, noise: Float32Array.from(given.noise), steps: 7, spacing: 1.5,
        sampler: "{sampler}", denoise: (x, t) => guided({scale}, () => ({toy})(x, t, 1), () => ({toy})(x, t, 0)) }})"""
    theirs = node("sampler.mjs", "sample, guided", run, description=description, noise=noise[0].tolist())
    torch.testing.assert_close(torch.tensor(theirs), ours[0], atol=2e-5, rtol=2e-5)


def test_a_run_that_is_stopped_has_no_result():
    run = """sample({ description: given, noise: new Float32Array(4), steps: 3, denoise: (x) => x,
        seen: (i) => i === 1 })"""
    description = {"alpha_bar": [0.9, 0.5, 0.1], "usable_steps": 3, "parameterization": "x0"}
    assert node("sampler.mjs", "sample", run, **description) is None


@pytest.mark.parametrize("side", [97, 64, 20])
def test_a_picture_is_resized_alike(side):
    pixels = torch.randint(0, 256, (4, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ours = crop_resize(pixels[:3].float() / 255, 32)
    given = pixels.permute(1, 2, 0).flatten().tolist()
    theirs = node("pictures.mjs", "resizeSquare", f"resizeSquare(given.pixels, {side}, 32)", pixels=given)
    torch.testing.assert_close(torch.tensor(theirs).view(3, 32, 32), ours, atol=1e-5, rtol=0)


def test_a_flow_has_the_same_colours():
    flow = torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(0))
    flow[:, 0, :4] = torch.tensor([[1.0, 0, -1, 0], [0, 1.0, 0, -1]])
    ours = flow_to_rgb(flow, max_norm=1.5).flatten(1).T
    run = "given.x.map((x, i) => flowColour(x, given.y[i], 1.5))"
    theirs = node("pictures.mjs", "flowColour", run, x=flow[0].flatten().tolist(), y=flow[1].flatten().tolist())
    torch.testing.assert_close(torch.tensor(theirs), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("motion", ["scaled", "residual", "absolute"])
def test_motion_is_unpacked_alike(motion):
    diffusion = GaussianDiffusion(DiffusionConfig(motion=motion, flow_std=(0.03, 0.05)))
    x = torch.randn(1, 3, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    ours = diffusion.unpack_motion(x)
    description = {
        "motion_shape": list(x.shape[1:]),
        "flow_scale": diffusion.flow_scale(x).flatten().tolist(),
        "flow_is_absolute": motion == "absolute",
    }
    run = "Object.assign(new Model(), { description: given.description }).unpack(Float32Array.from(given.x))"
    theirs = node("model.mjs", "Model", run, description=description, x=x.flatten().tolist())
    torch.testing.assert_close(torch.tensor(theirs["flow"]), ours.flow.flatten(), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(theirs["occlusion"]), ours.occlusion.flatten(), atol=1e-6, rtol=0)


# ---------------------------------------------------------------- points of chapters 06 and 07


def of_the_page(**options) -> dict:
    """What the page of points computes of the chapters' face."""
    asked = {"count": 2000, "seed": 13, "schedule": "cosine", "steps": 7, "sampler": "dpm++", "eta": 0, "label": None}
    run = """(async () => {
        const made = await run({ mixture: FACE, ...given }), end = made.path.at(-1);
        return { noise: made.path[0], end, ...measure(FACE, end, given.label), mixture: FACE };
    })()"""
    return node("mixture.mjs", "FACE, measure, run", run, **{**asked, "scale": 1, **options})


class PerfectFace:
    """The conditional mean of the page's own mixture, written out for all points and blobs at once."""

    null_label = -1

    def __init__(self, mixture: dict, alpha_bar: torch.Tensor):
        shares = (torch.tensor(mixture[name], dtype=torch.float64) for name in ("rho", "mu", "tau"))
        self.rho, self.mu, self.tau = shares
        self.part, self.alpha_bar = torch.tensor(mixture["part"]), alpha_bar

    def __call__(self, x, t, features, *asked):
        a = self.alpha_bar[t].view(-1, 1)
        variance = a * self.tau**2 + 1 - a
        offset = x[:, None].double() - a.sqrt()[..., None] * self.mu
        logs = self.rho.log() - (2 * math.pi * variance).log() - offset.square().sum(2) / (2 * variance)
        allowed = (asked[0][:, None] == self.part) | (asked[0][:, None] == self.null_label)
        r = logs.masked_fill(~allowed, -math.inf).softmax(dim=1)
        gain = a.sqrt() * self.tau**2 / variance
        return (r[..., None] * (self.mu + gain[..., None] * offset)).sum(1).float()


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("sampler, eta", [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.6), ("dpm++", 0.0)])
def test_points_go_where_the_library_takes_them(schedule, sampler, eta):
    theirs = of_the_page(schedule=schedule, sampler=sampler, eta=eta, label=2, scale=2)
    diffusion = GaussianDiffusion(DiffusionConfig(schedule=schedule, parameterization="x0"))
    denoiser = PerfectFace(theirs["mixture"], diffusion.exact_alpha_bar())
    generator = torch.Generator().manual_seed(13)
    noise = [torch.randn(2000, 2, generator=generator) for _ in range(8)]
    assert (noise[0].flatten() - torch.tensor(theirs["noise"])).abs().max() < 1e-5
    denoise = guided(denoiser, torch.zeros(2000, 1, 1, 1), torch.full((2000,), 2), 2.0)
    setting = dict(sampler=sampler, steps=7, eta=eta, min_alpha_bar=0.0, noise=noise, progress=False)
    ours = sample(diffusion, denoise, (2000, 2), **setting)
    torch.testing.assert_close(torch.tensor(theirs["end"]).view(2000, 2), ours, atol=2e-3, rtol=0)


@pytest.mark.parametrize("part, label", [("eyes", 0), ("mouth", 2)])
@pytest.mark.parametrize("scale", [1, 2, 8])
def test_the_numbers_are_those_that_chapter_07_prints(part, label, scale):
    printed = json.loads((ROOT / "chapters" / "07_samplers.ipynb").read_text(encoding="utf-8"))
    lines = [line for cell in printed["cells"] for one in cell.get("outputs", []) for line in one.get("text", [])]
    (line,) = [line for line in lines if line.startswith(f"{part}, s, share with the label and more:")]
    said = re.search(rf"{scale}\.0: '(\d+)%, spread ([\d.]+), height (-?[\d.]+)'", line).groups()
    theirs = of_the_page(steps=20, label=label, scale=scale)
    assert abs(100 * theirs["hits"] - int(said[0])) <= 0.6
    assert (theirs["spread"], theirs["height"]) == pytest.approx((float(said[1]), float(said[2])), abs=0.006)

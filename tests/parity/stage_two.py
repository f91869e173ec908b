"""Stage two: the denoiser, the noise process, the samplers, and both stages end to end.

Sizes come from the folder's config files, tensor shapes and names; nothing is assumed about them here.
"""

import posixpath
import re
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from lfdm_lite.autoencoder import LatentFlowAutoencoder
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.variants import construct
from lfdm_lite.geometry import identity_grid, warp
from lfdm_lite.motion import Motion
from lfdm_lite.official import autoencoder as official_autoencoder
from lfdm_lite.official import denoiser
from lfdm_lite.official.files import AUTOENCODER_PARTS
from lfdm_lite.official.parts.diffusion import estimate, needs_noise, sample, sampling_path
from lfdm_lite.official.parts.stage_one import resize_positions
from lfdm_lite.official.renaming import unet_to_official
from lfdm_lite.samplers import guided
from lfdm_lite.unet3d import UNet3D

from . import networks
from .networks import FOLDER, check_gradients, load_network, official_gradients
from .report import Golden, Report

# Of images that were warped by a computed motion. An error of a position is size / 2 times as much in pixels; where a
# flow leaves the image, the zeros around it are a step of up to 1 within one pixel. So the rounding of the networks,
# some 4e-6, grows: the chains computed in float64 end 6e-5 away from the stored images.
WARPED = 1.5e-4
SETTINGS = ("timesteps", "ddim_sampling_eta", "null_cond_prob", "use_dynamic_thres")  # of the noise process


def compare(report: Report) -> None:
    """Fills `report` with the comparisons of `dm_small/`."""
    networks.compare(report)
    for part in (compare_schedule, compare_process, compare_times, compare_losses):
        with report.section(part.__name__):
            part(report)
    for name in report.glob(FOLDER + "ddim_*.safetensors") + report.glob(FOLDER + "ddpm_*.safetensors"):
        with report.section(f"chain {name}"):
            compare_chain(report, name)
    for motion in ("plain", "residual"):
        for part in (compare_training, compare_sampling):
            with report.section(f"{part.__name__}, {motion} flow"):
                part(report, motion)


# ---------------------------------------------------------------- the noise process


def stored_steps(report: Report) -> int:
    """Steps of the noise process whose schedule is stored."""
    (name,) = report.glob(FOLDER + "diffusion_T*_buffers.safetensors")
    return int(re.search(r"_T(\d+)_", name)[1])


def compare_schedule(report: Report) -> None:
    for name in report.glob(FOLDER + "diffusion_T*_buffers.safetensors"):
        golden = report.open(name)
        config = denoiser.diffusion_config(timesteps=int(re.search(r"_T(\d+)_", name)[1]))
        ours = denoiser.schedule(config)
        for key in golden.keys():
            report.check(key, ours[key], golden, key)


def compare_process(report: Report) -> None:
    golden = report.open(FOLDER + "diffusion_io.safetensors")
    if golden is None:
        return
    x0, noise, features = golden.given("in.x0"), golden.given("in.noise"), golden.given("in.fea")
    config = denoiser.diffusion_config(timesteps=stored_steps(report))
    diffusion = construct(config)
    unet = load_network(report, "deconv", golden.given("in.cond"), len(x0))
    label = torch.arange(len(x0))

    @torch.no_grad()
    def mean(x_t: Tensor, t: Tensor, scale: float, threshold: float) -> Tensor:
        estimated, _ = estimate(diffusion, guided(unet, features, label, scale), x_t, t, threshold)
        return diffusion.posterior(estimated, x_t, t)[0]

    for key in golden.keys("out."):
        _, what, steps, *rest = key.split(".")
        t = torch.tensor([int(step) for step in steps.removeprefix("t").split("_")])
        x_t = diffusion.add_noise(x0, t, noise)
        posterior_mean, variance = diffusion.posterior(x0, x_t, t)
        match what:
            case "q_sample":
                ours = x_t
            case "predict_start":
                ours = diffusion.to_x0_eps(x_t, t, noise)[0]
            case "q_posterior_mean":
                ours = posterior_mean
            case "q_posterior_var":
                ours = variance
            case "q_posterior_logvar":
                ours = variance.clamp(min=1e-20).log()
            case "p_mean":
                ours = mean(x_t, t, float(".".join(rest).removeprefix("cs")), config.threshold)
            case "p_mean_static":
                ours = mean(x_t, t, 1.0, denoiser.diffusion_config(use_dynamic_thres=False).threshold)
            case "p_sample":
                drawn = golden.given(f"in.p_sample_noise.{steps}")
                ours = mean(x_t, t, 1.0, config.threshold) + variance.sqrt() * drawn
            case _:
                continue  # listed as not read
        report.check(key, ours, golden, key)


def compare_times(report: Report) -> None:
    golden = report.open(FOLDER + "sampling_meta.json")
    if golden is None:
        return
    config = denoiser.diffusion_config(timesteps=stored_steps(report))
    for key in golden.keys():
        if match := re.fullmatch(r"times_S(\d+)", key):  # theirs end with step 0, where nothing is computed any more
            path = sampling_path(construct(config), int(match[1]), None)
            report.check(key, [*path, 0], golden, key)
        elif match := re.fullmatch(r"ddim_S(\d+)_eta([\d.]+)_cs[\d.]+", key):
            path = sampling_path(construct(config), int(match[1]), None)
            pairs = [list(pair) for pair in zip(path, [*path[1:], 0], strict=True)]
            draws = count_draws("ddim", len(path), float(match[2]), config)
            report.check(key, {"time_pairs": pairs, "n_noise_draws": draws}, golden, key)
        elif match := re.fullmatch(r"ddpm_T(\d+)", key):
            path = sampling_path(construct(replace(config, num_steps=int(match[1]))), None, None)
            report.check(key, {"n_noise_draws": count_draws("ddpm", len(path), 1.0, config)}, golden, key)


def count_draws(sampler: str, steps: int, eta: float, config: DiffusionConfig) -> int:
    """How often a chain draws noise, its start included."""
    return 1 + sum(needs_noise(sampler, eta, i == steps - 1, config.draw_unused) for i in range(steps))


class Draws:
    """The stored noise of a chain, in order; it knows how much of it was taken."""

    def __init__(self, golden: Golden, prefix: str):
        self.left = [golden.given(key) for key in golden.keys(prefix)]

    def __iter__(self) -> "Draws":
        return self

    def __next__(self) -> Tensor:
        return self.left.pop(0)


def compare_chain(report: Report, name: str) -> None:
    golden = report.open(name)
    features, draws = golden.given("in.fea"), Draws(golden, "in.noise.")
    shape = draws.left[0].shape
    unet = load_network(report, "deconv", golden.given("in.cond"), shape[0])
    arguments: dict[str, Any] = {}
    scale = 1.0
    if match := re.fullmatch(r"ddim_S(\d+)_eta([\d.]+)_cs([\d.]+)", PurePath(name).stem):
        arguments = dict(sampler="ddim", steps=int(match[1]), eta=float(match[2]))
        num_steps, scale = stored_steps(report), float(match[3])
    else:
        num_steps, arguments = int(re.search(r"_T(\d+)", name)[1]), dict(sampler="ddpm")
    diffusion = construct(denoiser.diffusion_config(timesteps=num_steps))
    denoise = guided(unet, features, torch.arange(shape[0]), scale)
    end = sample(diffusion, denoise, shape, **arguments, noise=draws, progress=False)
    report.check("end of the chain", end, golden, "out")
    assert not draws.left, f"{len(draws.left)} stored draws were not used"


def compare_losses(report: Report) -> None:
    golden = report.open(FOLDER + "p_losses.safetensors")
    if golden is None:
        return
    x0, t, noise, features = (golden.given(f"in.{key}") for key in ("x0", "t", "noise", "fea"))
    unet = load_network(report, "deconv", golden.given("in.cond_emb"), len(x0))
    config = denoiser.diffusion_config(timesteps=stored_steps(report))
    diffusion = construct(config)
    # Which texts were "None", and so meant no condition, no file says but this; a wrong mask shows in all that follows.
    label = torch.where(golden.values["out.null_cond_mask"], unet.null_label, torch.arange(len(x0)))
    loss = diffusion.loss_at(unet, x0, t, noise, features, label)
    loss.backward()
    report.check("loss", loss.reshape(1), golden, "loss")
    report.check("null_cond_mask", label == unet.null_label, golden, "out.null_cond_mask")
    with torch.no_grad():
        x_t = diffusion.add_noise(x0, t, noise)
        estimated, _ = estimate(diffusion, guided(unet, features, label), x_t, t, config.threshold)
    report.check("pred_x0", estimated, golden, "out.pred_x0")
    check_gradients(report, golden, official_gradients(unet))


# ---------------------------------------------------------------- both stages


def load_system(report: Report, labels: Tensor, motion: str) -> tuple[LatentFlowAutoencoder, UNet3D, GaussianDiffusion]:
    """The stored auto-encoder, frozen, and diffusion model, for one vector per example."""
    config = report.open(FOLDER + "flowdiffusion_config.json")
    lfae = report.open(posixpath.normpath(FOLDER + config.given("lfae")))
    lfae_config = official_autoencoder.lfae_config({key: lfae.given(key) for key in lfae.keys()})
    folder = posixpath.dirname(lfae.name)
    parts = {part: report.open(f"{folder}/state_{part}.safetensors").state() for part in AUTOENCODER_PARTS}
    autoencoder = construct(lfae_config)
    autoencoder.load_state_dict(official_autoencoder.from_official(parts, lfae_config), strict=True)

    unet_config = denoiser.unet_config(
        **config.given("unet"), num_labels=len(labels), num_frames=config.given("num_frames")
    )
    unet = construct(unet_config).eval()
    state = report.open(FOLDER + "flowdiffusion_diffusion_state.safetensors").state()
    unet.load_state_dict(denoiser.from_official(state, unet_config, labels), strict=True)
    settings = {key: config.given(key) for key in SETTINGS}
    diffusion_config = denoiser.diffusion_config(**settings, use_residual_flow=motion == "residual")
    return autoencoder.eval().requires_grad_(False), unet, construct(diffusion_config)


def positions(motion: Motion) -> Tensor:
    """Where each pixel looks, as a position: what the authors' code calls the grid."""
    return motion.flow + identity_grid(*motion.flow.shape[-2:])[:, None]


def images(autoencoder: LatentFlowAutoencoder, image: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """The decoded video, and the image itself warped by the flow."""
    flow = resize_positions(motion.flow, image.shape[-2:])
    with torch.no_grad():
        return autoencoder.decode(image, motion), warp(image, flow, outside=autoencoder.config.outside)


def compare_training(report: Report, motion: str) -> None:
    """One step: what is noised, what comes out, the loss, and the first convolution before and after Adam."""
    golden = report.open(f"{FOLDER}flowdiffusion_{motion}_train.safetensors")
    if golden is None:
        return
    config = report.open(FOLDER + "flowdiffusion_config.json")
    image, video = golden.given("in.ref_img"), golden.given("in.real_vid")
    t, noise, dropped = (golden.given(f"rand.{key}") for key in ("t", "noise", "null_cond_mask"))
    autoencoder, unet, diffusion = load_system(report, golden.given("in.text_emb"), motion)

    features = autoencoder.encode(image)
    real = autoencoder.estimate_motion(image, video)
    x0 = diffusion.pack_motion(real)
    assert config.given("loss_type") == "l2" and x0.shape[-1] == config.given("img_size")
    report.check("ref_img_fea", features, golden, "mid.ref_img_fea")
    report.check("diffusion_x_start", x0, golden, "mid.diffusion_x_start")
    report.check("real_vid_grid", positions(real), golden, "out.real_vid_grid")
    report.check("real_vid_conf", real.occlusion, golden, "out.real_vid_conf")
    for key, ours in zip(("real_out_vid", "real_warped_vid"), images(autoencoder, image, real), strict=True):
        report.check(key, ours, golden, f"out.{key}", relative=WARPED)

    label = torch.where(dropped, unet.null_label, torch.arange(len(x0)))
    loss = diffusion.loss_at(unet, x0, t, noise, features, label)
    loss.backward()
    report.check("loss", loss.reshape(1), golden, "out.loss")
    with torch.no_grad():
        x_t = diffusion.add_noise(x0, t, noise)
        estimated, _ = estimate(diffusion, guided(unet, features, label), x_t, t, diffusion.config.threshold)
        fake = diffusion.unpack_motion(estimated)
    decoded, warped = images(autoencoder, image, fake)
    report.check("pred_x0", estimated, golden, "out.pred_x0")
    report.check("fake_out_vid", decoded, golden, "out.fake_out_vid", relative=WARPED)
    report.check("fake_warped_vid", warped, golden, "out.fake_warped_vid", relative=WARPED)
    report.check("rec_loss", (decoded - video).abs().mean().reshape(1), golden, "out.rec_loss")
    report.check("rec_warp_loss", (warped - video).abs().mean().reshape(1), golden, "out.rec_warp_loss")
    check_gradients(report, golden, official_gradients(unet))

    def check_weights(prefix: str, tolerance: float) -> None:
        ours = unet_to_official(unet.state_dict(), unet.config)
        for key in golden.keys(prefix):
            report.check(key, ours[key.split(".", maxsplit=1)[1]], golden, key, relative=tolerance)

    # Adam's first step moves every weight by the learning rate times the sign of its gradient, whatever the size of
    # that: where a gradient is mere rounding, its sign is, too. The step is held to a hundredth of its length.
    adam = config.given("adam")
    check_weights("state_before", tolerance=0.0)
    torch.optim.Adam(unet.parameters(), lr=adam["lr"], betas=tuple(adam["betas"])).step()
    check_weights("state_after", tolerance=0.01 * adam["lr"])


def compare_sampling(report: Report, motion: str) -> None:
    """A whole clip from an image, a label's vector and the stored noise."""
    golden = report.open(f"{FOLDER}flowdiffusion_{motion}_sample.safetensors")
    if golden is None:
        return
    config = report.open(FOLDER + "flowdiffusion_config.json")
    image, draws = golden.given("in.sample_img"), Draws(golden, "rand.noise.")
    autoencoder, unet, diffusion = load_system(report, golden.given("in.text_emb"), motion)
    features = autoencoder.encode(image)
    shape = draws.left[0].shape
    denoise = guided(unet, features, torch.arange(len(image)))
    steps = config.given("sampling_timesteps")
    x0 = sample(diffusion, denoise, shape, sampler="ddim", steps=steps, noise=draws, progress=False)
    assert not draws.left, f"{len(draws.left)} stored draws were not used"
    made = diffusion.unpack_motion(x0)
    report.check("sample_img_fea", features, golden, "mid.sample_img_fea")
    report.check("sample_vid_grid", positions(made), golden, "out.sample_vid_grid")
    report.check("sample_vid_conf", made.occlusion, golden, "out.sample_vid_conf")
    for key, ours in zip(("sample_out_vid", "sample_warped_vid"), images(autoencoder, image, made), strict=True):
        report.check(key, ours, golden, f"out.{key}", relative=WARPED)

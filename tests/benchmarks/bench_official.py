"""The authors' configuration against a straightforward formulation: `python tests/benchmarks/bench_official.py`.

Both formulations have the same weights and inputs, and are checked to answer the same before they are timed. They run
in turn, A B A B …, so that a busy machine slows both. `--quick` runs the whole logic on tiny networks.

    --only autoencoder forward training stage-two video memory    what is measured; all of it unless given
    --repeats 5                                                   runs of each formulation, after one that is not timed
    --out FILE.json                                               every single run
"""

import argparse
import copy
import ctypes
import gc
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import straightforward
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdm_lite.autoencoder import LatentFlowAutoencoder
from lfdm_lite.data import Faces
from lfdm_lite.files.variants import construct
from lfdm_lite.official import denoiser
from lfdm_lite.official.autoencoder import lfae_config
from lfdm_lite.samplers import dpm_solver_step, estimate, guided
from lfdm_lite.training.engine.randomness import Examples, Place
from lfdm_lite.training.stages.clips import TensorClips
from lfdm_lite.training.stages.stage_two import DiffusionObjective, draw_noise

TOLERANCE = 1e-4  # of outputs in float32, relative to the largest; both formulations round differently
# The same of motion, and of what is painted from it. Where a region is nearly round its axes hang on the last bits, and
# random weights make many such: each formulation is about as far from float64 as from the other.
MOTION_TOLERANCE, PAINTED_TOLERANCE = 1e-3, 1e-2
GUIDANCE_SCALE = 2.0
ANCESTRAL_STEPS, DDIM_STEPS = 1000, 250  # of the published class: all of them, and its default with guidance
DPM_SOLVER_STEPS, FEW_STEPS, GUIDED_STEPS = 20, 4, 1  # ours: the long way, and the quick one of the shipped model
LEARNING_RATE, BETAS = 2e-4, (0.9, 0.99)  # of Adam, as in the published training

# Seconds of the published code at this configuration, on two cores that reached this speed in the product of two
# matrices of 4096 x 4096. The straightforward formulation shall not be slower than that, so that beating it means
# something.
PUBLISHED_GFLOPS = 147
PUBLISHED = {
    "reconstruction": 13.3,
    "U-Net forward": 3.9,
    "U-Net training step": 9.8,
    "guided step": 8.9,
}


# ---------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Sizes:
    """A configuration, in the words of the authors' files."""

    image_size: int  # pixels
    num_frames: int
    matrix_size: int  # of the product that tells the machine's speed
    autoencoder: dict  # model_params
    unet: dict
    parameters: dict = field(default_factory=dict)  # of each network as published; what is built is checked against it


def model_params(regions: int, width: int, depth: int, widest: int, latent: int, residual: int) -> dict:
    """The authors' model_params; the hourglass of the flow predictor is twice as wide as the others."""
    predictor = {"block_expansion": width, "max_features": widest, "num_blocks": depth}
    return {
        "num_regions": regions,
        "num_channels": 3,
        "estimate_affine": True,
        "revert_axis_swap": True,
        "bg_predictor_params": {**predictor, "bg_type": "affine"},
        "region_predictor_params": {
            **predictor,
            "temperature": 0.1,
            "scale_factor": 0.25,
            "pca_based": True,
            "fast_svd": False,
        },
        "generator_params": {
            "block_expansion": 2 * width,
            "max_features": latent,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": residual,
            "skips": True,
            "pixelwise_flow_predictor_params": {
                **predictor,
                "block_expansion": 2 * width,
                "scale_factor": 0.25,
                "use_deformed_source": True,
                "use_covar_heatmap": True,
                "estimate_occlusion_map": True,
            },
        },
    }


FULL = Sizes(
    image_size=128,
    num_frames=40,
    matrix_size=4096,
    autoencoder=model_params(regions=10, width=32, depth=5, widest=1024, latent=512, residual=6),
    unet=dict(dim=64, channels=259, dim_mults=(1, 2, 4, 8), attn_heads=8, cond_dim=768, num_frames=40),
    parameters={"autoencoder": 45_575_391 + 14_146_728 + 6_282_438, "unet": 42_731_203},
)
QUICK = Sizes(
    image_size=32,
    num_frames=3,
    matrix_size=256,
    autoencoder=model_params(regions=2, width=4, depth=2, widest=16, latent=32, residual=1),
    unet=dict(dim=8, channels=35, dim_mults=(1, 2), attn_heads=2, attn_dim_head=8, cond_dim=12, num_frames=3),
)


class Subject:
    """The networks of a configuration with random weights, both formulations, and inputs for them.

    Ours is in channels-last memory, as the library's training loop puts it.

    Args:
        sizes: the configuration.
        with_autoencoder: build stage one and its inputs too.
    """

    def __init__(self, sizes: Sizes, with_autoencoder: bool = True):
        self.generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        config, process = denoiser.unet_config(**sizes.unet), denoiser.diffusion_config()
        self.unet = construct(config).eval()
        self.fill_zeros(self.unet)
        self.unet.label.vectors.normal_(generator=self.generator)
        official = denoiser.to_official(self.unet.state_dict(), config, process)
        prefix = denoiser.PREFIX
        self.state = {k.removeprefix(prefix): v.clone() for k, v in official.items() if k.startswith(prefix)}
        self.unet.to(memory_format=torch.channels_last)
        self.diffusion = construct(process)

        side = sizes.image_size // 4
        shape = (1, config.channels, sizes.num_frames, side, side)
        self.features = torch.randn(1, config.feature_channels, side, side, generator=self.generator)
        self.x0, self.noise = (torch.randn(shape, generator=self.generator) for _ in range(2))
        self.t, self.label = torch.tensor([500]), torch.tensor([1])
        self.x_t = self.diffusion.add_noise(self.x0, self.t, self.noise)
        self.condition, self.null = self.unet.label.vectors[self.label], self.unet.label.null
        self.check_parameters(sizes, "unet", self.unet)
        if with_autoencoder:
            self.build_autoencoder(sizes)

    def build_autoencoder(self, sizes: Sizes) -> None:
        video = Faces("test", size=sizes.image_size, num_frames=sizes.num_frames)[0]["video"]
        self.video = video[None].contiguous()
        self.source = self.video[:, :, 0].contiguous()
        config = lfae_config({"model_params": sizes.autoencoder}, 3)
        self.frame_by_frame = construct(config).requires_grad_(False)
        self.fill_zeros(self.frame_by_frame)
        self.check_parameters(sizes, "autoencoder", self.frame_by_frame)
        self.settle(self.frame_by_frame)
        self.autoencoder = copy.deepcopy(self.frame_by_frame).to(memory_format=torch.channels_last)

    def fill_zeros(self, network: nn.Module) -> None:
        """Layers that start at zero would hide what comes before them."""
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.02, generator=self.generator)

    def settle(self, network: LatentFlowAutoencoder) -> None:
        """Batch norms see a few frames, so that activations have the size that they have in a trained network."""
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # forget the statistics of the start
        frames = self.video[0].transpose(0, 1)[:4]
        network.train()(self.source.expand(len(frames), -1, -1, -1), frames)
        network.eval()

    @staticmethod
    def check_parameters(sizes: Sizes, name: str, network: nn.Module) -> None:
        count = sum(parameter.numel() for parameter in network.parameters())
        if count != sizes.parameters.get(name, count):
            raise SystemExit(f"{name} has {count:,} parameters, the authors' has {sizes.parameters[name]:,}")


# ---------------------------------------------------------------- how it is measured


@dataclass
class Runs:
    """Seconds of each run of one formulation."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)


def alternate(formulations: dict[str, Callable[[], object]], repeats: int) -> dict[str, Runs]:
    """Run each in turn, `repeats` times, after one round that is not counted."""
    runs = {name: Runs() for name in formulations}
    for round_ in range(repeats + 1):
        for name, run in formulations.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if round_ > 0:
                runs[name].wall.append(time.perf_counter() - wall)
                runs[name].cpu.append(time.process_time() - cpu)
            told = f"{name}, run {round_}: {time.perf_counter() - wall:.3f} s"
            print(told if round_ else f"{told} (not counted)", file=sys.stderr, flush=True)
    return runs


def speed_of_matrix_product(size: int, dtype: torch.dtype = torch.float32, repeats: int = 3) -> float:
    """GFLOP/s of the best of a few products of two square matrices."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    a @ b
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest value, where that is above 1."""
    return (ours.float() - reference).abs().max().item() / max(1.0, reference.abs().max().item())


def check_equal(name: str, ours: Tensor, reference: Tensor, tolerance: float = TOLERANCE) -> float:
    """`difference`; raises SystemExit if the formulations do not agree: timing them would be pointless."""
    found = difference(ours, reference)
    if not found <= tolerance:
        raise SystemExit(f"{name}: the two formulations differ by {found:.1e}, more than {tolerance:.0e}")
    return found


@dataclass
class Row:
    """One line of the table. Times in seconds, memory in MiB; `asked` is a speed-up, or a share of the memory."""

    quantity: str
    straightforward: float | None
    ours: float | None
    asked: float | None
    runs: dict[str, Runs] = field(default_factory=dict)
    difference: float | None = None  # of the outputs
    is_memory: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.straightforward is None or self.ours is None:
            return None
        return self.ours / self.straightforward if self.is_memory else self.straightforward / self.ours

    @property
    def reached(self) -> bool | None:
        if self.ratio is None or self.asked is None:
            return None
        return self.ratio <= self.asked if self.is_memory else self.ratio >= self.asked


def compare_runs(quantity: str, runs: dict[str, Runs], base: str, ours: str, asked: float | None, **more) -> Row:
    """A row of the medians of two formulations."""
    chosen = {"straightforward": runs[base], "ours": runs[ours]}
    return Row(quantity, runs[base].median, runs[ours].median, asked, chosen, **more)


# ---------------------------------------------------------------- stage one


@torch.no_grad()
def bench_autoencoder(subject: Subject, repeats: int) -> list[Row]:
    """Extraction of the flow, and reconstruction; each against the frame-by-frame reconstruction."""
    video, source, ours = subject.video, subject.source, subject.autoencoder

    def extract():
        return ours.estimate_motion(source, video), ours.encode(source)

    painted, motion = straightforward.reconstruct(subject.frame_by_frame, video)
    extracted, features = extract()
    far = max(
        check_equal("flow", extracted.flow, motion.flow, MOTION_TOLERANCE),
        check_equal("occlusion", extracted.occlusion, motion.occlusion, MOTION_TOLERANCE),
        check_equal("latent", features, subject.frame_by_frame.encode(source)),
    )
    far_decoded = check_equal("decoder", ours.decode(source, motion), painted)
    far_painted = check_equal("reconstruction", ours.reconstruct(video), painted, PAINTED_TOLERANCE)
    runs = alternate(
        {
            "reconstruction, straightforward": lambda: straightforward.reconstruct(subject.frame_by_frame, video),
            "flow extraction, ours": extract,
            "reconstruction, ours": lambda: ours.reconstruct(video),
        },
        repeats,
    )
    base = "reconstruction, straightforward"
    return [
        compare_runs(
            "flow extraction",
            runs,
            base,
            "flow extraction, ours",
            4.0,
            difference=far,
            note="motion of all frames and z0, against the reconstruction of all frames",
        ),
        compare_runs(
            "reconstruction",
            runs,
            base,
            "reconstruction, ours",
            1.4,
            difference=far_painted,
            note=f"difference of the decoder alone, on the same motion: {far_decoded:.0e}",
        ),
    ]


# ---------------------------------------------------------------- the denoiser


def bfloat16():
    return torch.autocast("cpu", torch.bfloat16)


@torch.no_grad()
def bench_forward(subject: Subject, repeats: int) -> list[Row]:
    """One call of the U-Net, in float32 and under bfloat16 autocast."""
    s = subject

    def plain():
        return straightforward.unet(s.state, straightforward.with_features(s.x_t, s.features), s.t, s.condition)

    def ours():
        return s.unet(s.x_t, s.t, s.features, s.label)

    def ours_bfloat16():
        with bfloat16():
            return ours()

    reference = plain()
    far, far_bfloat16 = check_equal("U-Net", ours(), reference), difference(ours_bfloat16(), reference)
    runs = alternate({"forward, straightforward": plain, "forward": ours, "forward, bf16": ours_bfloat16}, repeats)
    base = "forward, straightforward"
    return [
        compare_runs("U-Net forward", runs, base, "forward", 1.6, difference=far),
        compare_runs("U-Net forward, bf16", runs, base, "forward, bf16", 3.0, difference=far_bfloat16),
    ]


class PlainTraining:
    """The straightforward training step: noise, mean squared error of eps, Adam."""

    def __init__(self, subject: Subject):
        self.subject = subject
        self.state = {  # the rotary frequencies are no parameters
            name: tensor.clone().requires_grad_("rotary_emb" not in name) for name, tensor in subject.state.items()
        }
        self.parameters = [tensor for tensor in self.state.values() if tensor.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, LEARNING_RATE, BETAS)

    def loss(self, x0: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and x_t and the answer at it."""
        s = self.subject
        alpha_bar = s.diffusion.alpha_bar[s.t].view(-1, 1, 1, 1, 1)
        x_t = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise_like(s.noise, x0)
        eps = straightforward.unet(self.state, straightforward.with_features(x_t, features), s.t, s.condition)
        return F.mse_loss(eps, noise_like(s.noise, x0)), x_t, eps

    def step(self, x0: Tensor | None = None, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step of Adam; x_t and the answer at it."""
        s = self.subject
        self.optimizer.zero_grad()
        loss, x_t, eps = self.loss(s.x0 if x0 is None else x0, s.features if features is None else features)
        loss.backward()
        self.optimizer.step()
        return x_t, eps.detach()


class OurTraining:
    """The library's training step on the same numbers.

    Args:
        precision: "fp32" or "bf16".
        checkpointing: recompute activations in the backward pass instead of keeping them.
    """

    def __init__(self, subject: Subject, precision: str = "fp32", checkpointing: bool = False):
        self.subject, self.precision = subject, precision
        self.unet = copy.deepcopy(subject.unet).train()
        self.unet.checkpointing = checkpointing
        self.parameters = list(self.unet.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, LEARNING_RATE, BETAS, fused=True)

    def loss(self, x0: Tensor, features: Tensor) -> Tensor:
        s = self.subject
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            return s.diffusion.loss_at(self.unet, x0, s.t, noise_like(s.noise, x0), features, s.label)

    def step(self, x0: Tensor | None = None, features: Tensor | None = None) -> None:
        s = self.subject
        self.optimizer.zero_grad()
        self.loss(s.x0 if x0 is None else x0, s.features if features is None else features).backward()
        self.optimizer.step()


def noise_like(noise: Tensor, x0: Tensor) -> Tensor:
    """The noise, cut to the size of x0."""
    return noise[:, :, : x0.shape[2], : x0.shape[3], : x0.shape[4]]


def check_gradients(plain: PlainTraining, ours: OurTraining) -> float:
    """Largest difference of loss and gradients, each gradient relative to its own largest value."""
    s = plain.subject
    loss, _, _ = plain.loss(s.x0, s.features)
    loss.backward()
    our_loss = ours.loss(s.x0, s.features)
    our_loss.backward()
    far = check_equal("loss", our_loss.detach(), loss.detach())
    gradients = {name: p.grad for name, p in ours.unet.named_parameters() if p.grad is not None}
    found = denoiser.unet_to_official(gradients, ours.unet.config)
    for name, gradient in found.items():
        reference = plain.state[name].grad
        scale = max(reference.abs().max().item(), 1e-3)  # a gradient that is 0 but for rounding has no scale
        far = max(far, check_equal(f"gradient of {name}", gradient / scale, reference / scale))
    for training in (plain, ours):
        training.optimizer.zero_grad()
    return far


def bench_training(subject: Subject, repeats: int) -> list[Row]:
    """One step of Adam on one clip, in float32 and under bfloat16 autocast."""
    plain, ours, low = PlainTraining(subject), OurTraining(subject), OurTraining(subject, "bf16")
    far = check_gradients(plain, ours)
    base = "training step, straightforward"
    runs = alternate({base: plain.step, "training step": ours.step, "training step, bf16": low.step}, repeats)
    note = "difference: of loss and gradients"
    return [
        compare_runs("U-Net training step", runs, base, "training step", 1.5, difference=far, note=note),
        compare_runs("U-Net training step, bf16", runs, base, "training step, bf16", 2.5),
    ]


# ---------------------------------------------------------------- both stages


def bench_stage_two(subject: Subject, repeats: int) -> list[Row]:
    """A whole step of stage two: from frames and with a look at the prediction, against one from cached motion."""
    s, plain = subject, PlainTraining(subject)

    def straightforward_step():
        """The frozen auto-encoder runs whole on every frame, and paints what the network predicts, for the log."""
        with torch.no_grad():
            _, motion = straightforward.reconstruct(s.frame_by_frame, s.video)
            features, x0 = s.frame_by_frame.encode(s.source), s.diffusion.pack_motion(motion)
        x_t, eps = plain.step(x0, features)
        with torch.no_grad():
            predicted = straightforward.estimate_x0(x_t, eps, s.diffusion.alpha_bar[s.t])
            straightforward.decode(s.frame_by_frame, s.source, s.diffusion.unpack_motion(predicted))

    with torch.no_grad():
        motion = s.autoencoder.estimate_motion(s.source, s.video)
        cached = {  # in half precision, as the library keeps them on disk
            "features": s.autoencoder.encode(s.source).half(),
            "flow": motion.flow.half(),
            "occlusion": motion.occlusion.half(),
            "label": s.label,
        }

    clips = TensorClips(**cached)
    draw = partial(draw_noise, diffusion=s.diffusion, stride=1, labels=s.unet.null_label)
    examples, places = Examples(clips, draw, seed=0), [Place(0, i, i) for i in range(len(clips))]

    def cached_step(ours: OurTraining) -> Callable[[], None]:
        objective = DiffusionObjective(ours.unet, s.diffusion, autoencoder=None)

        def step():
            ours.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=ours.precision == "bf16"):
                loss = objective(examples.batch(places))["loss"]
            loss.backward()
            ours.optimizer.step()

        return step

    base = "stage-two step, straightforward"
    runs = alternate(
        {
            base: straightforward_step,
            "stage-two step": cached_step(OurTraining(s)),
            "stage-two step, bf16": cached_step(OurTraining(s, "bf16")),
        },
        repeats,
    )
    note = "frame-by-frame auto-encoder, U-Net step, decoded prediction; against the U-Net step on cached motion"
    return [
        compare_runs("stage-two step", runs, base, "stage-two step", 5.0, note=note),
        compare_runs("stage-two step, bf16", runs, base, "stage-two step, bf16", None),
    ]


@torch.no_grad()
def bench_video(subject: Subject, repeats: int) -> list[Row]:
    """A video, the published ways and ours. It takes too long: steps and the decoding are timed, and multiplied."""
    s = subject
    alpha_bar = s.diffusion.alpha_bar
    denoise, once = (guided(s.unet, s.features, s.label, scale) for scale in (GUIDANCE_SCALE, 1.0))
    motion = s.diffusion.unpack_motion(s.x0.clamp(-1, 1))
    before = torch.zeros_like(s.x0)
    at, next_, previous = alpha_bar[500], alpha_bar[450], alpha_bar[550]

    def plain_eps():
        return straightforward.guided(s.state, s.x_t, s.t, s.features, s.condition, s.null, GUIDANCE_SCALE)

    def ddim_step():
        eps = plain_eps()
        x0 = straightforward.estimate_x0(s.x_t, eps, at)
        return straightforward.ddim_step(x0, eps, at, alpha_bar[496], torch.randn_like(x0))

    def ancestral_step():
        eps = straightforward.unet(s.state, straightforward.with_features(s.x_t, s.features), s.t, s.condition)
        x0 = straightforward.estimate_x0(s.x_t, eps, at)
        return straightforward.ddim_step(x0, eps, at, alpha_bar[499], torch.randn_like(x0), eta=1.0)

    def dpm_solver(answer):
        x0, _ = estimate(s.diffusion, answer, s.x_t, s.t, threshold=0.9)
        return dpm_solver_step(s.x_t, x0, before, at.item(), next_.item(), previous.item())

    def encode_and_decode():
        s.autoencoder.encode(s.source)
        return s.autoencoder.decode(s.source, motion)

    far = check_equal("guided U-Net", denoise(s.x_t, s.t), plain_eps())
    painted = straightforward.decode(s.frame_by_frame, s.source, motion)
    far = max(far, check_equal("decoder", encode_and_decode(), painted))
    step = alternate(
        {
            "guided step, straightforward": ddim_step,
            "guided step": lambda: dpm_solver(denoise),
            "step, straightforward": ancestral_step,
            "step": lambda: dpm_solver(once),
        },
        repeats,
    )
    end = alternate(
        {
            "decoding, straightforward": lambda: straightforward.decode(s.frame_by_frame, s.source, motion),
            "decoding": encode_and_decode,
        },
        repeats,
    )
    seconds = {name: runs.median for name, runs in (step | end).items()}
    plainly = seconds["decoding, straightforward"]
    published = {
        "guided": DDIM_STEPS * seconds["guided step, straightforward"] + plainly,
        "plain": ANCESTRAL_STEPS * seconds["step, straightforward"] + plainly,
    }
    long = DPM_SOLVER_STEPS * seconds["guided step"] + seconds["decoding"]
    quick = GUIDED_STEPS * seconds["guided step"] + (FEW_STEPS - GUIDED_STEPS) * seconds["step"] + seconds["decoding"]
    note = "computed, not run: {} times a {} step and the decoding; against {}, encoding and decoding; another video"
    ddim = partial(note.format, DDIM_STEPS, "guided DDIM")
    few = f"{FEW_STEPS} steps of DPM-Solver++, {GUIDED_STEPS} of them guided"
    return [
        compare_runs("guided step", step, "guided step, straightforward", "guided step", None, difference=far),
        compare_runs("step without guidance", step, "step, straightforward", "step", None),
        compare_runs("decoding", end, "decoding, straightforward", "decoding", None),
        Row("video with guidance", published["guided"], long, 15.0, note=ddim(f"{DPM_SOLVER_STEPS} of DPM-Solver++")),
        Row("video with guidance, the quick way", published["guided"], quick, 60.0, note=ddim(few)),
        Row(
            "video without guidance, the quick way",
            published["plain"],
            quick,
            100.0,
            note=note.format(ANCESTRAL_STEPS, "ancestral", few),
        ),
    ]


# ---------------------------------------------------------------- memory

MEMORY = ("straightforward", "ours", "checkpointing", "bf16")


def bench_memory(sizes: Sizes, quick: bool) -> list[Row]:
    """Peak memory of a training step above parameters, gradients and optimizer; each in a process of its own.

    What counts is the growth of the process's resident memory: unlike a count of tensors it holds the workspace of
    the convolution library too. So that freed memory is seen to be freed, the processes take every block above 64 KiB
    from the system and give it back at once; that slows them, so nothing is timed here.
    """
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    peak = {}
    for formulation in MEMORY:
        command = [sys.executable, __file__, "--measure-memory", formulation, *["--quick"] * quick]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"memory of {formulation}: {done.stderr}")
        peak[formulation] = json.loads(done.stdout)
        print(f"memory, {formulation}: {peak[formulation]} MiB", file=sys.stderr, flush=True)
    base = peak["straightforward"]
    quantity = "memory of a training step"
    return [
        Row(quantity, base, peak["ours"], 0.60, is_memory=True),
        Row(f"{quantity}, checkpointing", base, peak["checkpointing"], 0.35, is_memory=True),
        Row(f"{quantity}, bf16", base, peak["bf16"], None, is_memory=True),
    ]


def measure_memory(sizes: Sizes, formulation: str) -> float:
    """MiB that one training step adds at its peak."""
    subject = Subject(sizes, with_autoencoder=False)
    if formulation == "straightforward":
        training = PlainTraining(subject)
    else:
        precision = "bf16" if formulation == "bf16" else "fp32"
        training = OurTraining(subject, precision, checkpointing=formulation == "checkpointing")
    # Gradients and optimizer state exist before the measured step, and a small step has loaded the kernels.
    training.optimizer.zero_grad = lambda: [p.grad.zero_() for p in training.parameters if p.grad is not None]
    small = 2 ** len(sizes.unet["dim_mults"])
    training.step(subject.x0[:, :, :2, :small, :small], subject.features[:, :, :small, :small])
    del subject.state
    subject.unet = None
    gc.collect()
    before = resident_memory()
    training.step()
    return round(peak_memory() - before, 2)


def resident_memory() -> float:
    """MiB of the process, freed blocks given back first; from here on, `peak_memory` counts anew."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux: the peak is that since the start
        return peak_memory()
    return proc_status("VmRSS")


def peak_memory() -> float:
    """MiB at the peak."""
    if Path("/proc/self/status").exists():
        return proc_status("VmHWM")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def proc_status(name: str) -> float:
    """A line of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


# ---------------------------------------------------------------- report


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| quantity | straightforward | ours | ratio | asked | reached | largest difference | remarks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append("| " + " | ".join([row.quantity, *row_cells(row)]) + " |")
    return "\n".join(lines)


def row_cells(row: Row) -> list[str]:
    def amount(value: float | None, runs: str) -> str:
        if value is None:
            return "–"
        if row.is_memory:
            return f"{value:,.0f} MiB" if value >= 10 else f"{value:.2f} MiB"
        best = f" (best {min(row.runs[runs].wall):.3g})" if runs in row.runs else ""
        return f"{value:.3g} s{best}" if value < 1000 else f"{value:.0f} s{best}"

    def share(value: float | None) -> str:
        if value is None:
            return "–"
        return f"{100 * value:.0f} %" if row.is_memory else f"{value:.2f}×"

    asked = "–" if row.asked is None else f"at {'most' if row.is_memory else 'least'} {share(row.asked)}"
    return [
        amount(row.straightforward, "straightforward"),
        amount(row.ours, "ours"),
        share(row.ratio),
        asked,
        {True: "yes", False: "**no**", None: "–"}[row.reached],
        "–" if row.difference is None else f"{row.difference:.0e}",
        row.note,
    ]


def published_table(rows: list[Row], gflops: float) -> tuple[str, list[dict]]:
    """The straightforward formulation against the published code, whose seconds are scaled to this machine."""
    scale = PUBLISHED_GFLOPS / gflops
    lines = ["| quantity | published, scaled | straightforward | no slower |", "|---|---|---|---|"]
    records = []
    for row in rows:
        if row.quantity in PUBLISHED:
            published = scale * PUBLISHED[row.quantity]
            fine = row.straightforward <= published
            records.append({"quantity": row.quantity, "published": published, "no_slower": fine})
            told = "yes" if fine else "**no**"
            lines.append(f"| {row.quantity} | {published:.3g} s | {row.straightforward:.3g} s | {told} |")
    return "\n".join(lines), records


def machine() -> dict[str, object]:
    """What the times depend on."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


GROUPS = {
    "autoencoder": bench_autoencoder,
    "forward": bench_forward,
    "training": bench_training,
    "stage-two": bench_stage_two,
    "video": bench_video,
}


def main(arguments: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks: a check of this script, no measurement")
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, "memory"], default=[*GROUPS, "memory"], metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure-memory", choices=MEMORY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    if options.measure_memory:
        print(json.dumps(measure_memory(sizes, options.measure_memory)))
        return []

    rows: list[Row] = []
    if "memory" in options.only:  # first, while this process is small
        rows += bench_memory(sizes, options.quick)
    groups = [name for name in GROUPS if name in options.only]
    subject = Subject(sizes, with_autoencoder=bool({"autoencoder", "stage-two", "video"} & set(groups)))
    for name in groups:
        rows += GROUPS[name](subject, options.repeats)

    frames, size = sizes.num_frames, sizes.image_size
    print(f"{'Quick check, no measurement: ' if options.quick else ''}one clip of {frames} frames of {size}x{size}.")
    print("; ".join(f"{name}: {value}" for name, value in machine().items()) + f"; runs of each: {options.repeats}.\n")
    print(table(rows))
    record = {"machine": machine(), "quick": options.quick, "sizes": asdict(sizes)}
    record["rows"] = [asdict(row) | {"ratio": row.ratio, "reached": row.reached} for row in rows]
    if not options.quick:
        gflops = speed_of_matrix_product(sizes.matrix_size)
        text, record["published"] = published_table(rows, gflops)
        record["matrix_product_gflops"] = gflops
        print(f"\nProduct of two {sizes.matrix_size}-square matrices: {gflops:.0f} GFLOP/s.\n\n{text}")
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main()

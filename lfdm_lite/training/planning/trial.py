"""A few steps of a run on random clips, in a process of their own: what they cost, without drawing any data.

The process (`CHILD`) reads what to try as JSON, and prints what it found as JSON.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from ...autoencoder import LFAEConfig
from ...conditions import NumberRange
from ...evaluation.perceptual import PerceptualFeatures, VGG16Features
from ...files.models.configs import make_config
from ...files.models.weights import unwrapped
from ...files.variants import construct
from ...pipeline import LFDM
from ..configs import AutoencoderRun, DiffusionRun
from ..engine.core import Engine, Learner, Objective
from ..engine.measuring import PeakMemory, matrix_rate, seconds_of
from ..engine.randomness import BatchOrder, Examples, Item
from ..stages.clips import known_numbers
from ..stages.stage_one import PRECISIONS, AutoencoderObjective, draw_pair, picture, reconstruction_psnr
from ..stages.stage_two import DiffusionObjective, draw_noise, fitting, sample_grid
from .profiling import profile_step

Run = AutoencoderRun | DiffusionRun
RUNS: dict[str, type[Run]] = {"autoencoder": AutoencoderRun, "diffusion": DiffusionRun}
# Not `python -m`: that imports what lies in the folder one stands in, and -P keeps -c from it. This very package is
# found first; nothing else is looked for beside it.
CHILD = """
import sys
sys.path.insert(0, sys.argv.pop())
import lfdm_lite
del sys.path[0]
from lfdm_lite.training.planning.trial import main
main()
"""
PACKAGES = Path(__file__).resolve().parents[3]  # the folder that holds this package


@dataclass(frozen=True)
class Trial:
    """What a few steps with batches of `part` examples cost."""

    part: int  # examples at once
    seconds: float  # median of a step
    peak: int  # bytes, in steps and between them
    flops: int  # floating-point operations of a step, 2 for a multiplication with its addition
    device: str
    parameters: int
    rate: float = 0.0  # floating-point operations a second of a large matrix product here
    first: float = 0.0  # seconds of the first step, in which kernels are chosen or compiled


class OutOfMemory(RuntimeError):
    """A trial did not fit."""


class RandomClips(Dataset[Item]):
    """Clips of noise with the shapes that a run sees."""

    def __init__(self, config: Run, count: int, autoencoder: LFAEConfig):
        self.config, self.count, self.autoencoder = config, count, autoencoder

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        data = self.config.data
        if isinstance(self.config, AutoencoderRun):
            return {"video": torch.randint(256, (3, data.num_frames, data.size, data.size), dtype=torch.uint8)}
        unet, latent = self.config.unet, data.size // self.autoencoder.latent_stride
        side = data.size // self.autoencoder.flow_stride
        return {
            "features": torch.randn(unet.feature_channels, latent, latent).half(),
            "flow": torch.randn(2, data.num_frames, side, side).half(),
            "occlusion": torch.rand(1, data.num_frames, side, side).half(),
            "label": 0,
            **dict.fromkeys((known.name for known in unet.numbers), 0.0),
        }


def objective_of(config: Run, engine: Engine, autoencoder: LFAEConfig) -> tuple[Objective[Any], Any]:
    """What such a run trains, and how it draws an example. The perceptual network has random weights."""
    if isinstance(config, AutoencoderRun):
        network = engine.build(lambda: construct(config.model))
        looks = {"vgg19": PerceptualFeatures, "vgg16": VGG16Features}[config.features]
        features = looks().in_precision(PRECISIONS[config.loop.precision]) if config.perceptual_weight else None
        return AutoencoderObjective(network, config, features), partial(draw_pair, from_rest=config.from_rest)
    diffusion = construct(config.diffusion)
    unet = engine.build(lambda: construct(config.unet))
    unet.checkpointing = config.checkpointing
    draw = partial(
        draw_noise,
        diffusion=diffusion,
        stride=autoencoder.flow_stride,
        labels=config.unet.num_labels,
        numbers=[known.name for known in config.unet.numbers],
    )
    return DiffusionObjective(unet, construct(config.diffusion), None), draw


def batches_of(
    config: Run, engine: Engine, draw: Any, steps: int, autoencoder: LFAEConfig
) -> Iterator[list[dict[str, Tensor]]]:
    """Batches as the run would see them."""
    clips = RandomClips(config, 2 * config.optim.batch_size, autoencoder)
    order = BatchOrder(0, len(clips), config.optim.batch_size)
    return engine.batches(Examples(clips, draw, 0), order, 0, steps)


def look(config: Run, learner: Learner[Any], autoencoder: LFAEConfig, folder: Path) -> None:
    """What the run does between steps, on clips of noise: validate stage one, draw a picture of either stage."""
    data, path = config.data, folder / "picture.png"
    shape = (3, data.num_frames, data.size, data.size)

    def noise(count: int) -> UInt8[Tensor, "n 3 t h w"]:
        return torch.randint(256, (min(count, data.val_clips), *shape), dtype=torch.uint8)

    def look_at(network: Any) -> None:
        if isinstance(config, AutoencoderRun):
            reconstruction_psnr(network, noise(4))
            return picture(network, noise(6), path)
        labels = [str(i) for i in range(config.unet.num_labels)]
        stage_one = construct(autoencoder).eval().to(learner.engine.device)
        model = LFDM(stage_one, network, construct(config.diffusion), labels=labels, image_size=data.size)
        sample_grid(model, [{"video": video} for video in noise(len(labels))], path, steps=1)

    learner.average_does(look_at)


def try_here(config: Run, part: int, steps: int, autoencoder: LFAEConfig, profile: str | None = None) -> Trial:
    """Make a few steps with batches of `part`, after one that warms up, and draw a picture as the run does.

    Args:
        autoencoder: of stage one, which stage two works on.
        profile: a folder; one more step is profiled there, and no picture drawn.
    """
    if isinstance(config, DiffusionRun):
        numbers = tuple(NumberRange(name, -1, 1) for name in config.numbers if name in known_numbers(config.data))
        config = replace(config, unet=fitting(config.unet, autoencoder, config.unet.num_labels, numbers))
    loop = replace(config.loop, accumulate=1, tracker="none", workers=0)
    config = replace(config, optim=replace(config.optim, batch_size=part, warmup=0, schedule="constant"), loop=loop)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(config, Path(folder))
        with PeakMemory(engine.device) as memory:
            objective, draw = objective_of(config, engine, autoencoder)
            learner = Learner(objective, engine)
            batches = list(batches_of(config, engine, draw, steps + 1, autoencoder))
            flops = flops_of_a_step(learner, batches[0])
            first = seconds_of(lambda: learner.step(batches[0], 0), engine.device)
            times = [seconds_of(partial(learner.step, batches[i], i), engine.device) for i in range(1, steps + 1)]
            if profile is None:
                look(config, learner, autoencoder, Path(folder))
        if profile:
            profile_step(lambda: learner.step(batches[0], 0), engine.device, Path(profile))
        name = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else "cpu"
        parameters = sum(p.numel() for p in objective.network.parameters())
        rate = matrix_rate(engine.device, config.loop.precision) if profile is None else 0.0
        return Trial(part, statistics.median(times), memory.peak, flops, name, parameters, rate, first)


def flops_of_a_step(learner: Learner[Any], batch: list[dict[str, Tensor]]) -> int:
    """Floating-point operations of a step, uncompiled: torch would never compile what it first saw being counted."""
    compiled, learner.objective = learner.objective, unwrapped(learner.objective)
    try:
        return count_flops(lambda: learner.step(batch, 0))
    finally:
        learner.objective = compiled


def count_flops(work: Any) -> int:
    """Floating-point operations of matrix products and convolutions, what is computed twice counted twice."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def try_steps(
    config: Run,
    part: int,
    autoencoder: LFAEConfig,
    steps: int = 3,
    profile: Path | None = None,
) -> Trial:
    """`try_here` in a process of its own, so that its peak of memory is its own.

    Raises:
        OutOfMemory: it did not fit.
        RuntimeError: it failed otherwise; with the last line that it printed.
    """
    stage = "autoencoder" if isinstance(config, AutoencoderRun) else "diffusion"
    asked = {"stage": stage, "config": asdict(config), "part": part, "steps": steps}
    asked |= {"autoencoder": asdict(autoencoder), "profile": str(profile) if profile else None}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(PACKAGES)], input=json.dumps(asked), capture_output=True, text=True
    )
    if done.returncode == 0:
        return Trial(**json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode < 0 or "out of memory" in last.lower() or "can't allocate memory" in last.lower():
        raise OutOfMemory(f"{part} at once did not fit: {last}")
    raise RuntimeError(f"the trial of the {stage} with {part} at once failed: {last}")


def main() -> None:
    asked = json.load(sys.stdin)
    config: Run = make_config(RUNS[asked.pop("stage")], asked.pop("config"), "the run to try")
    autoencoder = make_config(LFAEConfig, asked.pop("autoencoder"), "the run to try")
    print(json.dumps(asdict(try_here(config, autoencoder=autoencoder, **asked))))

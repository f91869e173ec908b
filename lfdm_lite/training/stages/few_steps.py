"""The fast network: a student that answers in fewer passes what a finished model takes many for.

One run teaches one student. Its teacher is the model with guidance, two passes a step; or the fast network that the
checkpoint holds already, one pass a step, if the student is to take fewer: so the steps are halved run by run, each
starting from the student before.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ...diffusion import Denoiser, GaussianDiffusion
from ...distillation import distillation_loss, follow, one_step_target, student_of
from ...files.fast import FastDenoiser, fingerprint_of
from ...files.variants import construct
from ...motion import Motion
from ...pipeline import LFDM
from ...samplers import Denoise, guided, timesteps
from ..configs import DistillRun
from ..engine.core import Engine, Objective
from ..engine.loop import fit
from ..engine.randomness import Item, generator_of
from .clips import TensorClips, Together, cached_clips, seen
from .shards import weights_fingerprint
from .stage_two import cached_motions, sample_grid


def draw_step(
    clip: Item,
    generator: torch.Generator,
    diffusion: GaussianDiffusion,
    path: list[int],
    parts: int,
    scales: tuple[float, float],
    numbers: tuple[str, ...] = (),
) -> Item:
    """A clip's motion with noise, a step of the student, those that the teacher takes for it, and what is asked.

    Args:
        clip: with "flow", "occlusion", "features", "label" and the numbers.
        diffusion: on the CPU; packs the motion and says how often a number is not given.
        path: all steps of the teacher, noisiest first; the last is -1, clean data.
        parts: steps of the teacher in one of the student.
        scales: the smallest and largest guidance scale; one is drawn, and told behind the numbers.
        numbers: names of those that the teacher is told.
    """
    motion = Motion(clip["flow"][None].float(), clip["occlusion"][None].float())
    x0 = diffusion.pack_motion(motion)[0]
    first = parts * int(torch.randint((len(path) - 1) // parts, (), generator=generator))
    eps = torch.randn(x0.shape, generator=generator)
    known = torch.tensor([float(clip[name]) for name in numbers])
    lost = torch.rand(len(numbers), generator=generator) < diffusion.config.number_null_probability
    scale = scales[0] + (scales[1] - scales[0]) * torch.rand(1, generator=generator)
    told = {"label": clip["label"], "numbers": torch.cat([known.where(~lost, math.nan), scale])}
    steps = torch.tensor(path[first : first + parts + 1])
    return {"x0": x0, "eps": eps, "steps": steps, "features": clip["features"].float()} | told


class DistillationObjective(Objective[Any]):
    """One pass of the student against the steps that its teacher takes meanwhile; a mean over the batch."""

    def __init__(self, network: nn.Module, diffusion: GaussianDiffusion, teacher: nn.Module, told: bool):
        super().__init__()
        self.network, self.diffusion = network, diffusion
        self.teacher: list[Any] = [teacher]  # in a list: frozen, so neither trained nor saved with this module
        self.told = told

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        path = batch["steps"].unbind(1)
        x_t = self.diffusion.add_noise(batch["x0"], path[0], batch["eps"])
        asked = batch["features"], batch["label"], batch["numbers"]
        with torch.no_grad():
            x_s = follow(self.diffusion, taught(self.teacher[0], self.told, *asked), x_t, path)
            x0 = one_step_target(self.diffusion, x_t, x_s, path[0], path[-1])
        student = taught(self.network, True, *asked)
        return {"loss": distillation_loss(self.diffusion, student, x_t, path[0], x0)}


def taught(network: Denoiser, told: bool, features: Tensor, label: Tensor, numbers: Tensor) -> Denoise:
    """The guided answer, the scale being the last number: of a network that is `told` it, in one pass; else in two."""
    if told:
        return guided(network, features, label, 1.0, numbers)
    others, scale = numbers[:, :-1], numbers[:, -1]
    return guided(network, features, label, scale, others if others.shape[1] else None)


def train_few_steps(config: DistillRun, out: Path, resume: bool = False) -> LFDM:
    """Teach a fast network and leave in `out` the model of `config.checkpoint` with that network beside it.

    Raises:
        CheckpointError: `config.checkpoint` holds no finished model of both stages.
        ValueError: steps that do not divide, or a fast network that other weights than the model's have taught.
    """
    model = LFDM.from_pretrained(Path(config.checkpoint))
    before = model.fast if model.has_fast and config.student_steps < model.fast.steps else None  # else taught anew
    teacher_steps, scales, sampler = config.teacher_steps, config.scales, "dpm++"
    if before is not None:
        teacher_steps, scales, sampler = before.steps, before.scales, before.sampler
        before.check(model.unet, scales[0], sampler, teacher_steps)
    if teacher_steps % config.student_steps:
        raise ValueError(
            f"student_steps={config.student_steps}: the teacher takes {teacher_steps} steps, and must take a "
            "whole number of them for each of the student's"
        )
    with Engine(config, out, resume) as engine:
        model.to(engine.device)
        teacher = model.unet if before is None else before.unet
        student = engine.build(lambda: student_of(model.unet, scales))
        if before is not None:
            student.load_state_dict(teacher.state_dict())
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        weights = weights_fingerprint(model.autoencoder)
        place = engine.cache / f"{Path(config.checkpoint).name}-{weights}"
        see = partial(cached_motions, model.autoencoder, weights, folder=place, engine=engine)
        numbers = tuple(number.name for number in model.unet.config.numbers)
        known, val_known = (
            TensorClips(**{name: part.whole(name) for name in ("label", *numbers)}) for part in (clips, val_clips)
        )
        motions, val = Together(see("train", clips=clips), known), Together(see("val", clips=val_clips), val_known)
        draw = partial(
            draw_step,
            diffusion=construct(model.diffusion.config),
            path=[*timesteps(model.diffusion.config.num_steps, teacher_steps), -1],
            parts=teacher_steps // config.student_steps,
            scales=scales,
            numbers=numbers,
        )
        engine.begin(seen(clips, val_clips) | {"checkpoint": weights_fingerprint(teacher)})
        objective = DistillationObjective(student, model.diffusion, teacher, told=before is not None)
        sampler = "ddim" if teacher_steps > config.student_steps else sampler

        def fast_of(network: Any) -> FastDenoiser:
            taught_by, kept = fingerprint_of(model.unet), config.kept
            return FastDenoiser(network.eval(), config.student_steps, taught_by, sampler, kept)

        def picture(network: nn.Module, path: Path) -> None:
            model.fast = fast_of(network)
            sample_grid(model, val_clips, path, steps=None, fast=True)

        network = fit(
            engine,
            objective,
            motions,
            draw,
            validate=lambda network: validation_loss(objective, network, val, draw, config.optim.batch_size),
            score=lambda found: -found["loss"],
            sample=picture,
        )
        model.fast = fast_of(network)
        if engine.main:
            model.save_pretrained(out)
        engine.wait()
        return model.eval()


def validation_loss(
    objective: DistillationObjective, network: nn.Module, clips: Together, draw: Any, batch: int
) -> dict[str, float]:
    """The training loss of a network on validation clips, with the same steps, noise and scales every time."""
    trial = DistillationObjective(network, objective.diffusion, objective.teacher[0], objective.told)
    device, total = next(network.parameters()).device, 0.0
    for start in range(0, len(clips), batch):
        indices = range(start, min(start + batch, len(clips)))
        part = default_collate([draw(clips[i], generator_of(1, 0, i)) for i in indices])
        found = trial({name: value.to(device) for name, value in part.items()})
        total += found["loss"].item() * len(indices)
    return {"loss": total / len(clips)}

"""A stage-two step on cached motions against one that looks at the clip anew, in time, memory and loss.

Run it as `python tests/benchmarks/bench_cached.py [PRESET] [--batch 1] [--repeats 5]`. Both steps are of the same
networks (random weights) on the same clips, with the same random numbers; steps of the two kinds alternate. Memory is
measured apart, in a process for each kind.
"""

import argparse
import statistics
import subprocess
import sys
from functools import partial

import torch
from torch import nn
from torch.utils.data import default_collate

from lfdm_lite.files.variants import construct
from lfdm_lite.training import PRESETS
from lfdm_lite.training.engine.measuring import PeakMemory, seconds_of
from lfdm_lite.training.engine.randomness import generator_of
from lfdm_lite.training.stages.stage_two import DiffusionObjective, draw_noise, fitting, see_motion

CPU = torch.device("cpu")


class Both:
    """The two kinds of step."""

    def __init__(self, preset: str, batch: int):
        made = PRESETS[preset]
        torch.manual_seed(0)
        self.autoencoder = construct(made.autoencoder.model).eval().requires_grad_(False)
        labels = made.diffusion.unet.num_labels
        self.unet = construct(fitting(made.diffusion.unet, made.autoencoder.model, labels, ()))
        diffusion, data = construct(made.diffusion.diffusion), made.diffusion.data
        self.objective = DiffusionObjective(self.unet, diffusion, self.autoencoder)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), 1e-5, fused=True)
        shape = (batch, 3, data.num_frames, data.size, data.size)
        video = nn.functional.interpolate(torch.rand(batch, 3, 2, 8, 8), shape[2:], mode="trilinear")
        self.video = (255 * video).to(torch.uint8)
        with torch.autocast("cpu", torch.bfloat16):
            seen = {name: value.half() for name, value in see_motion(self.autoencoder, self.video).items()}
        draw = partial(
            draw_noise,
            diffusion=diffusion,
            stride=made.autoencoder.model.flow_stride,
            labels=labels,
        )
        self.batches = {}
        for kind, clips in (("cached", seen), ("anew", {"video": self.video})):
            items = [{name: value[i] for name, value in clips.items()} | {"label": 0} for i in range(batch)]
            self.batches[kind] = default_collate([draw(item, generator_of(0, 0, i)) for i, item in enumerate(items)])

    def step(self, kind: str) -> float:
        """One optimizer step; its loss."""
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.objective(self.batches[kind])["loss"]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def loss(self, kind: str) -> float:
        """Without a step."""
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return float(self.objective(self.batches[kind])["loss"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="faces128", choices=sorted(PRESETS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", choices=("cached", "anew"), help="print the peak of such steps alone, in bytes")
    options = parser.parse_args()
    if options.memory_of:
        both = Both(options.preset, options.batch)
        with PeakMemory(CPU) as before:
            pass
        with PeakMemory(CPU) as memory:
            both.step(options.memory_of)
            both.step(options.memory_of)
        print(memory.peak - before.peak)
        return
    both = Both(options.preset, options.batch)
    losses = {kind: both.loss(kind) for kind in ("cached", "anew")}
    times: dict[str, list[float]] = {"cached": [], "anew": []}
    for repeat in range(options.repeats + 1):
        for kind, found in times.items():
            seconds = seconds_of(partial(both.step, kind), CPU)
            found += [seconds] if repeat else []
    median = {kind: statistics.median(found) for kind, found in times.items()}
    own = [sys.executable, __file__, options.preset, "--batch", str(options.batch), "--memory-of"]
    memory = {kind: int(subprocess.check_output([*own, kind])) for kind in times}
    how = f"batch {options.batch}, {torch.get_num_threads()} threads, bf16, {options.repeats} repeats"
    print(f"{options.preset}, {how}")
    for kind in times:
        print(f"{kind:7} {median[kind]:7.2f} s  {memory[kind] / 1e9:5.2f} GB above rest  loss {losses[kind]:.6f}")
    slower, larger = (found["anew"] / found["cached"] for found in (median, memory))
    print(f"anew / cached: time {slower:.2f}, memory {larger:.2f}")
    print(f"difference of the losses: {abs(losses['anew'] - losses['cached']) / losses['anew']:.1e} of the loss")


if __name__ == "__main__":
    main()

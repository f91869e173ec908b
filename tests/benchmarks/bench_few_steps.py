"""One clip in 20 guided steps of float32, against every way to fewer: plain fewer steps, bf16, and the fast network.

Run it as `python tests/benchmarks/bench_few_steps.py [CHECKPOINT] [--pairs 7] [--label surprise]`. All ways draw one
clip of one picture from the same noise, seed by seed; each way is timed in pairs with the long one, which comes before
it, and the ratio is the median over the pairs. "same clip" compares pixels with the long way's, over all pairs; motion
is the mean length of the flow, as a share of the long way's. Memory is measured apart, in a process for each way. A
checkpoint without a fast network is measured without its rows.
"""

import argparse
import statistics
import subprocess
import sys
from typing import Any

import torch

from lfdm_lite import LFDM
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.metrics import psnr
from lfdm_lite.files.assets import asset
from lfdm_lite.generated import GeneratedVideo
from lfdm_lite.training.engine.measuring import PeakMemory, seconds_of

CPU = torch.device("cpu")
LONG = "20 steps, guided"
WAYS: dict[str, dict[str, Any]] = {
    LONG: {},
    "20 steps, guided, bf16": dict(precision="bf16"),
    "14 steps, guided": dict(steps=14),
    "10 steps, guided": dict(steps=10),
    "10 steps, guided, bf16": dict(steps=10, precision="bf16"),
    "8 steps, guided": dict(steps=8),
    "5 steps, guided": dict(steps=5),
    "5 steps, guided, bf16": dict(steps=5, precision="bf16"),
    "4 steps, guided": dict(steps=4),
    "5 steps, the first guided": dict(steps=5, guided_steps=1),
    "5 steps, the first guided, bf16": dict(steps=5, guided_steps=1, precision="bf16"),
    "4 steps, the first guided": dict(steps=4, guided_steps=1),
    "4 steps, the first guided, bf16": dict(steps=4, guided_steps=1, precision="bf16"),
    "20 steps, no guidance": dict(guidance_scale=1.0),
    "10 steps, no guidance": dict(steps=10, guidance_scale=1.0),
    "fast network": dict(fast=True),
    "fast network, bf16": dict(fast=True, precision="bf16"),
}


class Clip:
    """One picture of a person of the validation split, and a label, in motion."""

    def __init__(self, checkpoint: str, label: str):
        self.model, self.label = LFDM.from_pretrained(checkpoint), label
        self.image = Faces("val", size=self.model.image_size, num_frames=2, length=1)[0]["video"][:, 0]

    def make(self, way: str, seed: int) -> GeneratedVideo:
        """The clip of a seed."""
        return self.model.generate(self.image, self.label, seed=seed, progress=False, **WAYS[way])


def pairs(clip: Clip, way: str, count: int) -> dict[str, float]:
    """A way in pairs with the long one, after one of each that is not counted."""
    taken: dict[str, list[float]] = {LONG: [], way: []}
    ratios, squares, motions = [], [], []
    for seed in range(count + 1):
        made, seconds = {}, {}
        for name in (LONG, way):
            seconds[name] = seconds_of(lambda name=name: made.update({name: clip.make(name, seed)}), CPU)  # noqa: B023
        if not seed:
            continue
        for name, found in taken.items():
            found.append(seconds[name])
        ratios.append(seconds[LONG] / seconds[way])
        squares.append(psnr(made[way].video, made[LONG].video).item())
        lengths = {name: video.flow.norm(dim=1).mean().item() for name, video in made.items()}
        motions.append(lengths[way] / lengths[LONG])
    median = statistics.median
    return {
        "seconds": median(taken[way]),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "psnr": median(squares),
        "motion": median(motions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default=None)
    parser.add_argument("--label", default="surprise")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=sorted(WAYS), help="some of the ways")
    parser.add_argument("--memory-of", choices=sorted(WAYS), help="print the peak of that way alone, in bytes")
    options = parser.parse_args()
    checkpoint = options.checkpoint or str(asset("checkpoints/faces64"))
    clip = Clip(checkpoint, options.label)
    if options.memory_of:
        with PeakMemory(CPU) as before:
            pass
        with PeakMemory(CPU) as memory:
            clip.make(options.memory_of, 0)
        print(memory.peak - before.peak)
        return
    ways = [way for way in options.only or WAYS if clip.model.has_fast or not WAYS[way].get("fast")]
    own = [sys.executable, __file__, checkpoint, "--label", options.label, "--memory-of"]
    print(f"{checkpoint}: {options.pairs} pairs each, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| way | seconds | times as fast (least, most) | same clip, dB | motion | memory above rest, MB |")
    print("|---|---|---|---|---|---|")
    for way in ways:
        found = pairs(clip, way, options.pairs)
        memory = int(subprocess.check_output([*own, way])) / 1e6
        spread = f"{found['ratio']:.2f} ({found['lowest']:.2f}, {found['highest']:.2f})"
        same = "the same" if found["psnr"] == float("inf") else f"{found['psnr']:.1f}"
        print(
            f"| {way} | {found['seconds']:.2f} | {spread} | {same} | {found['motion']:.2f} | {memory:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()

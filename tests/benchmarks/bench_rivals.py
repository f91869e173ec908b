"""What a video costs by the number of its frames: LFDM and its rivals, with random weights.

`python tests/benchmarks/bench_rivals.py` prints one table in Markdown: multiply-adds, seconds and peak memory (above
what the process held before) of one denoising step (one clip, one answer), multiply-adds and seconds of a video
(encoding the image, 20 guided steps of two answers each, painting all frames), and the power of the number of frames
with which each grows. A video's cost is computed from those of its parts. Every size runs in a process of its own, so
that its peak is its own. Threads are as `OMP_NUM_THREADS` says. `--quick` runs the whole logic at toy size, `--out
FILE.json` keeps the numbers.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from lfdm_lite.commands.train import BOTH
from lfdm_lite.files.variants import construct
from lfdm_lite.motion import Motion
from lfdm_lite.training import PRESETS, both_stages
from lfdm_lite.training.engine.measuring import PeakMemory, seconds_of
from lfdm_lite.training.stages.stage_two import fitting

NAMES = [*BOTH, "vdm, patch 1"]
STEPS, ANSWERS = 20, 2  # of a video; guidance needs two a step
CPU = torch.device("cpu")


def parts(name: str, preset: str, frames: int) -> dict[str, Callable[[], object]]:
    """What a video is made of, ready to run: `encode`, `step`, `paint`."""
    torch.manual_seed(0)
    run = both_stages(name.split(",")[0], PRESETS[preset])
    size, labels = run.second.data.size, 6
    image, t, label = torch.rand(1, 3, size, size), torch.tensor([500]), torch.tensor([0])
    if name == "lfdm":
        codec = construct(run.first.model).eval()
        denoiser = construct(fitting(run.second.unet, run.first.model, labels, ())).eval()
        side = size // run.first.model.flow_stride
        x = torch.randn(1, 3, frames, side, side)
        motion = Motion(0.1 * x[:, :2], x[:, 2:].sigmoid())
        paint = lambda: codec.decode(image, motion)  # noqa: E731
    else:
        config = run.first.model if hasattr(run, "first") else run.second.pixels
        config = replace(config, patch=1) if name.endswith("patch 1") else config
        codec = construct(config).eval()
        denoiser = construct(codec.fit(run.second.denoiser, labels)).eval()
        x = torch.randn(1, *codec.shape(frames, size))
        paint = lambda: codec.unpack(x, image, frames)  # noqa: E731
    features = codec.encode(image)
    return {"encode": lambda: codec.encode(image), "step": lambda: denoiser(x, t, features, label), "paint": paint}


@torch.no_grad()
def cost(name: str, preset: str, frames: int, repeats: int) -> dict[str, float]:
    """Multiply-adds, seconds and peak bytes of the parts, and of a video."""
    found: dict[str, float] = {}
    for part, work in parts(name, preset, frames).items():
        with PeakMemory(CPU) as before:
            pass
        with PeakMemory(CPU, every=0.002) as memory:
            with FlopCounterMode(display=False) as counter:
                work()
            seconds = min(seconds_of(work, CPU) for _ in range(repeats))
        found |= {f"{part}_madds": counter.get_total_flops() / 2, f"{part}_seconds": seconds}
        found[f"{part}_bytes"] = memory.peak - before.peak
    for unit in ("madds", "seconds"):
        found[f"video_{unit}"] = STEPS * ANSWERS * found[f"step_{unit}"] + found[f"encode_{unit}"]
        found[f"video_{unit}"] += found[f"paint_{unit}"]
    return found


def exponent(frames: list[int], values: list[float]) -> float:
    """b of the line log value = a + b log frames with the least squares."""
    x, y = ([math.log(v) for v in column] for column in (frames, values))
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def table(found: dict[str, dict[int, dict[str, float]]]) -> str:
    """One row a model and a number of frames, and one with the exponents."""
    columns = {"step_madds": 1e9, "step_seconds": 1, "step_bytes": 2**20, "video_madds": 1e9, "video_seconds": 1}
    lines = [
        "| model | frames | step, G multiply-adds | step, s | step, peak MiB | video, G multiply-adds | video, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, costs in found.items():
        for frames, values in costs.items():
            cells = " | ".join(f"{values[column] / unit:.3g}" for column, unit in columns.items())
            lines.append(f"| {name} | {frames} | {cells} |")
        if len(costs) > 1:
            grows = [exponent(list(costs), [v[column] for v in costs.values()]) for column in columns]
            lines.append(f"| {name} | grows as frames to the | " + " | ".join(f"{g:.2f}" for g in grows) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--models", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", action="store_true", help="print one model's cost as JSON; used by the script itself")
    options = parser.parse_args()
    preset = "tiny" if options.quick else "rivals64"
    if options.one:
        print(json.dumps(cost(options.models[0], preset, options.frames[0], options.repeats)))
        return
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in options.models:
        for frames in options.frames:
            words = ["--one", "--models", name, "--frames", str(frames), "--repeats", str(options.repeats)]
            words += ["--quick"] if options.quick else []
            child = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
            found.setdefault(name, {})[frames] = json.loads(child.stdout)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, preset {preset}\n\n{table(found)}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""What a dynamic threshold adds to a sampling loop: `python tests/benchmarks/bench_threshold.py [--pairs 15]`.

Loops of four steps with and without it, in alternating pairs, beside a network of two layers and beside one that only
multiplies its input; processor time, the median over the pairs. tests/test_samplers.py counts the numbers that are put
in order, which no busy machine changes; seconds are for a quiet one.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.samplers import sample

SHAPE = (1, 3, 40, 32, 32)


def two_layers() -> Callable[[Tensor, Tensor], Tensor]:
    """A network of two small convolutions, which keeps the size of its input."""
    layers = nn.Sequential(nn.Conv3d(3, 12, (1, 3, 3)), nn.SiLU(), nn.Conv3d(12, 3, (1, 3, 3)))
    padded = nn.ReplicationPad3d((2, 2, 2, 2, 0, 0))
    return lambda x, t: layers(padded(x))


def seconds(network: Callable, threshold: float | None) -> float:
    """Processor seconds of a loop."""
    diffusion, generator = GaussianDiffusion(DiffusionConfig(parameterization="x0")), torch.Generator().manual_seed(0)
    began = time.process_time()
    sample(diffusion, network, SHAPE, steps=4, threshold=threshold, generator=generator, progress=False)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    print("| network | without, ms | with, ms | ratio (least, most) |\n|---|---|---|---|")
    for name, network in (("two layers", two_layers()), ("multiplies its input", lambda x, t: 0.5 * x)):
        pairs = [(seconds(network, None), seconds(network, 0.9)) for _ in range(options.pairs + 1)][1:]
        plain, held = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
        ratios = [after / before for before, after in pairs]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        print(f"| {name} | {plain:.1f} | {held:.1f} | {spread} |")


if __name__ == "__main__":
    main()

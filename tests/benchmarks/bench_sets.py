"""Frames a second of the procedural sets, with flow and visibility, on one core.

Run it as `python tests/benchmarks/bench_sets.py`:

SET ...     of lfdm_lite.data.PROCEDURAL; all of them unless given
"""

import argparse
import time

import torch

from lfdm_lite.data import PROCEDURAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(PROCEDURAL))
    names = parser.parse_args().sets or list(PROCEDURAL)
    for name in names:
        if name not in PROCEDURAL:
            parser.error(f"there is no set {name!r}; there are: {', '.join(PROCEDURAL)}")
    torch.set_num_threads(1)
    for name in names:
        for size, goal in ((32, None), (64, 500), (128, 150), (256, None)):
            dataset, clips = PROCEDURAL[name]("train", size=size, num_frames=16), 14 if size > 64 else 56
            dataset[0]
            start, busy = time.perf_counter(), time.process_time()
            for index in range(clips):
                dataset[index]
            wall, busy = time.perf_counter() - start, time.process_time() - busy
            told = f"  (goal {goal})" if goal and name != "sketches" else ""
            frames = 16 * clips
            speed = f"{frames / wall:5.0f} frames/s, {frames / busy:5.0f} a second of CPU time"
            print(f"{name:9} {size:3d} pixels: {speed}{told}")


if __name__ == "__main__":
    main()

"""Frames of `Faces` a second, with flow and visibility, on one core: `python tests/benchmarks/bench_faces.py`."""

import time

import torch

from lfdm_lite.data import Faces


def main() -> None:
    torch.set_num_threads(1)
    for size, goal in ((32, None), (64, 500), (128, 150), (256, None)):
        faces, clips = Faces("train", size=size, num_frames=16), 12 if size > 64 else 48
        faces[0]
        start, busy = time.perf_counter(), time.process_time()
        for index in range(clips):
            faces[index]
        wall, busy = time.perf_counter() - start, time.process_time() - busy
        told = f"  (goal {goal})" if goal else ""
        frames = 16 * clips
        print(f"{size:3d} pixels: {frames / wall:5.0f} frames/s, {frames / busy:5.0f} a second of CPU time{told}")


if __name__ == "__main__":
    main()

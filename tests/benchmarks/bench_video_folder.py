"""A folder of many small films: its first and its second start, and clips a second from the cache.

`python tests/benchmarks/bench_video_folder.py --clips 10000`; some hundred films are drawn, the others are links to
those under other names. Needs about 250 kB of disk a clip, in a temporary folder that is removed at the end.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from torch.utils.data import DataLoader, Subset

from lfdm_lite.data import Faces, VideoFolder
from lfdm_lite.files.media import write_mp4

SIZE, FRAMES = 64, 16


def write_folder(root: Path, clips: int, distinct: int) -> None:
    faces = Faces("train", size=SIZE, num_frames=FRAMES, length=distinct)
    for i in range(clips):
        film = root / faces.labels[i % len(faces.labels)] / f"clip_{i:05d}.mp4"
        if i < distinct:
            write_mp4(film, faces[i]["video"])
            continue
        original = root / faces.labels[i % distinct % len(faces.labels)] / f"clip_{i % distinct:05d}.mp4"
        try:
            os.link(original, film)
        except OSError:  # no links here
            shutil.copyfile(original, film)


def clips_a_second(data: VideoFolder, workers: int, clips: int) -> float:
    """Batches of 8 by a loader as in training; the start of its workers does not count."""
    loader = DataLoader(Subset(data, range(clips)), batch_size=8, shuffle=True, num_workers=workers)
    start, seen = 0.0, 0
    for i, batch in enumerate(loader):
        if i == 0:
            start = time.perf_counter()
        else:
            seen += len(batch["label"])
    return seen / (time.perf_counter() - start)


def timed(root: Path, cache: Path) -> tuple[VideoFolder, float]:
    start = time.perf_counter()
    data = VideoFolder(root, SIZE, FRAMES, sampling="random", cache=cache, cache_gb=20)
    return data, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--distinct", type=int, default=300, help="how many of them are drawn and encoded")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--where", type=Path, default=None, help="the disk to measure; the usual temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        root, cache = Path(folder, "clips"), Path(folder, "cache")
        write_folder(root, options.clips, min(options.distinct, options.clips))
        _, first = timed(root, cache)
        data, second = timed(root, cache)
        decoded = clips_a_second(data, options.workers, len(data))
        cached = clips_a_second(data, options.workers, len(data))
        rows = [
            ("first start, all clips counted", f"{first:.1f} s", ""),
            ("second start", f"{second:.2f} s", "below 5 s"),
            (f"first epoch, {options.workers} workers decode and cache", f"{decoded:.0f} clips/s", ""),
            (
                f"next epochs, {options.workers} workers, from the cache",
                f"{cached:.0f} clips/s",
                "200 clips/s or more",
            ),
        ]
        print(f"{len(data)} films of {FRAMES} frames, {SIZE}x{SIZE}, on {os.cpu_count()} cores")
        for what, figure, goal in rows:
            print(f"{what:48} {figure:>14}  {goal}".rstrip())


if __name__ == "__main__":
    main()

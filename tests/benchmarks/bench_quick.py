"""The quick way to a clip against the long one: with the weights loaded, and from the shell with all that is around it.

    python tests/benchmarks/bench_quick.py clip [--before FOLDER] [--pairs 7]      one clip, each way in turn
    python tests/benchmarks/bench_quick.py shell [--before FOLDER] [--pairs 3]     `lfdm generate PICTURE --label all`
    python tests/benchmarks/bench_quick.py profile                                 where the time of a clip goes
    --clock            of the shell: seconds by the clock, which mean something on a machine without other work
    --before FOLDER    a checkout of this repository whose ways take part, first of them its long way
    --only NAME ...    ways that take part, such as "now, quick"; all are held against the first

The long way is 20 guided steps, the quick one what the shipped model's `quick` says, three a step less than that, and
fast its fast network, which the shell takes by itself; each also in bfloat16 (`quick-bf16`). For `clip`, each checkout
has a process of its own; clips are of the same picture, label and seed, and "differs" is the largest difference of a
pixel (0 to 1) from what the first checkout makes the same way. Times are processor seconds, with one thread unless
OMP_NUM_THREADS says otherwise, since other work may share the machine; ratios are medians over pairs. The profile, of
one thread too, is of the least that each call of an operator took in eight runs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
LONG = {"steps": 20, "guided_steps": 20}
WAYS = {"long": LONG} | {
    name: {"steps": steps, "guided_steps": 1, "spacing": 1.75} for name, steps in (("quick", 4), ("three", 3))
}
WAYS["fast"] = {"fast": True}
WAYS |= {f"{way}-bf16": how | {"precision": "bf16"} for way, how in WAYS.items()}
PICTURE, LABEL = "assets/examples/person_a.png", "surprise"


def work() -> None:
    """Make a clip for every line that is read, `way file`, and say how long it took; in a process of its own."""
    from lfdm_lite import LFDM

    model = LFDM.from_pretrained("assets/checkpoints/faces64")
    for line in sys.stdin:
        way, file = line.split()
        began = time.process_time()
        clip = model.generate(PICTURE, LABEL, seed=0, progress=False, **WAYS[way])
        took = time.process_time() - began
        np.save(file, clip.video.numpy())
        print(took, flush=True)


def profile(runs: int = 8) -> str:
    """Milliseconds of the parts of a clip, by operator."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from lfdm_lite import LFDM, Motion
    from lfdm_lite.samplers import guided

    class Clock(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.calls: list[tuple[str, float]] = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            began = time.thread_time()
            found = function(*args, **(kwargs or {}))
            self.calls.append((function.overloadpacket.__name__, time.thread_time() - began))
            return found

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    model = LFDM.from_pretrained("assets/checkpoints/faces64")
    clip = model.generate(PICTURE, LABEL, seed=0, progress=False, steps=1)
    motion = Motion(clip.flow, clip.occlusion)
    with torch.no_grad():
        features, numbers = model.autoencoder.encode(clip.source), torch.full((1, 2), float("nan"))
        x, t, label = torch.randn(1, 3, 16, 32, 32), torch.tensor([500]), model.label_indices(LABEL)
        parts = {
            "encoding": lambda: model.autoencoder.encode(clip.source),
            "guided step": lambda: guided(model.unet, features, label, 1.5, numbers)(x, t),
            "step": lambda: guided(model.unet, features, label, 1.0, numbers)(x, t),
            "decoding": lambda: model.autoencoder.decode(clip.source, motion),
        }
        taken = {}
        for part, run in parts.items():
            clocks = [Clock() for _ in range(runs)]
            for clock in clocks:
                with clock:
                    run()
            taken[part] = Counter()
            for calls in zip(*(clock.calls for clock in clocks), strict=True):
                taken[part][calls[0][0]] += 1e3 * min(seconds for _, seconds in calls)
    common = [name for name, _ in sum(taken.values(), Counter()).most_common(8)]
    lines = [f"| part, ms | {' | '.join(common)} | others | all |", "|---" * (len(common) + 3) + "|"]
    for part, found in taken.items():
        cells = [*(found[name] for name in common), found.total() - sum(found[name] for name in common), found.total()]
        lines.append(f"| {part} | {' | '.join(f'{value:.1f}' for value in cells)} |")
    return "\n".join(lines)


def environment(root: Path) -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": str(root)}


def clips(roots: dict[str, Path], folder: Path) -> dict[str, Callable[[], float]]:
    """What makes a clip each way with each checkout, and answers the seconds that it took."""

    def maker(worker: subprocess.Popen, way: str, file: Path) -> Callable[[], float]:
        def make() -> float:
            print(way, file, file=worker.stdin, flush=True)
            return float(worker.stdout.readline())

        return make

    makers = {}
    for name, root in roots.items():
        pipe, command = subprocess.PIPE, [sys.executable, str(Path(__file__).resolve()), "work"]
        worker = subprocess.Popen(command, env=environment(root), cwd=root, stdin=pipe, stdout=pipe, text=True)
        for way in WAYS:
            makers[f"{name}, {way}"] = maker(worker, way, folder / f"{name}-{way}.npy")
    return makers


def shells(roots: dict[str, Path], folder: Path, clock: bool) -> dict[str, Callable[[], float]]:
    """What runs `lfdm generate` each way with each checkout, and answers the seconds that it took."""

    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter() if clock else used.ru_utime + used.ru_stime

    def runner(root: Path, more: list[str]) -> Callable[[], float]:
        words = ["generate", PICTURE, "--label", "all", "--seed", "0", "--quiet", "--out", str(folder / "out.gif")]
        command = [sys.executable, "-m", "lfdm_lite.cli", *words, *more]

        def run() -> float:
            before = now()
            subprocess.run(command, env=environment(root), cwd=root, check=True)
            return now() - before

        return run

    def said(how: dict) -> list[str]:  # the fast network is the shell's default
        return [f"--{name.replace('_', '-')}={value}" for name, value in how.items() if name != "fast"]

    return {f"{n}, {way}": runner(r, said(how)) for n, r in roots.items() for way, how in WAYS.items()}


def in_turn(makers: dict[str, Callable[[], float]], pairs: int, uncounted: int) -> dict[str, list[float]]:
    """Seconds of each, after `uncounted` rounds."""
    rounds = []
    for _ in range(uncounted + pairs):
        rounds.append({name: make() for name, make in makers.items()})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    return {name: [found[name] for found in rounds[uncounted:]] for name in makers}


def table(seconds: dict[str, list[float]], folder: Path) -> str:
    base = next(iter(seconds.values()))
    lines = ["| way | seconds | times as fast (least, most) | differs |", "|---|---|---|---|"]
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(base, found, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        lines.append(f"| {name} | {statistics.median(found):.3g} | {ratio} | {difference(seconds, name, folder)} |")
    return "\n".join(lines)


def difference(names: dict, name: str, folder: Path) -> str:
    """Of the clip from the one that the first checkout made the same way."""
    way = name.split(", ")[1]
    first = next(iter(names)).split(", ")[0]
    files = [folder / f"{root}-{way}.npy" for root in (first, name.split(", ")[0])]
    if files[0] == files[1] or not files[0].exists():
        return "-"
    return f"{np.abs(np.load(files[0]) - np.load(files[1])).max():.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["clip", "shell", "profile", "work"])
    parser.add_argument("--clock", action="store_true")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    options = parser.parse_args()
    if options.what in ("work", "profile"):
        print(profile()) if options.what == "profile" else work()
        return
    roots = {**({"before": options.before.resolve()} if options.before else {}), "now": ROOT}
    pairs = options.pairs or {"clip": 7, "shell": 3}[options.what]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        makers = clips(roots, folder) if options.what == "clip" else shells(roots, folder, options.clock)
        makers = {name: makers[name] for name in options.only or makers}
        found = in_turn(makers, pairs, uncounted=int(options.what == "clip"))  # a shell's every run is a first one
        print(f"{pairs} pairs\n\n{table(found, folder)}")


if __name__ == "__main__":
    main()

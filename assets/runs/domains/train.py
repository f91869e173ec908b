"""Finetune `faces64` on new domains: decoder alone, and everything by the same loss on the same pairs of frames.

`python assets/runs/domains/train.py --runs FOLDER` trains what is not there yet, one run after the other, each by the
command that it prints. It goes on where it was stopped.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

FINISHED = "model.safetensors"
STEPS, EVERY = 300, 50  # optimizer steps of a run, and between those that are kept to be measured
MODEL = "assets/checkpoints/faces64"
HOW = f"--steps {STEPS} --batch-size 8 --learning-rate 5e-4 --warmup 20 --ema 0.98 --precision no"
HOW += f" --save-every {EVERY} --keep 99 --validate-every 0 --sample-every 0 --data.val-clips 6 --tracker none"
DECODER = f"decoder --checkpoint {MODEL}"
# Loss and clips of `decoder`: what stage one adds to them is switched off, so that only what moves differs.
ADDED = ("perceptual", "visibility", "warp", "contrast", "stillness", "smoothness", "shift", "affine")
EVERYTHING = f"autoencoder --init {MODEL} --from-rest 0.5 --data.acting.strength 0.8 1.15 --data.acting.turn 0 "
EVERYTHING += " ".join(f"--{name}-weight 0" for name in ADDED)
RUNS = {  # most important first: what is trained, set, clips, seed
    "night_20": (DECODER, "night", 20, 0),
    "night_20_everything": (EVERYTHING, "night", 20, 0),
    "ink_20": (DECODER, "ink", 20, 0),
    "photo_20": (DECODER, "photo", 20, 0),
    "night_5": (DECODER, "night", 5, 0),
    "night_100": (DECODER, "night", 100, 0),
    "figures_20": (DECODER, "figures", 20, 0),
    "figures_20_everything": (EVERYTHING, "figures", 20, 0),
    "night_20_frozen_norms": (f"{DECODER} --batch-norm frozen", "night", 20, 0),
}
# The same twice more, with other clips and another order of them.
RUNS |= {
    f"{name}_seed_{seed}": (what, where, clips, seed)
    for seed in (1, 2)
    for name, (what, where, clips, _) in list(RUNS.items())
}


def command(runs: Path, name: str) -> list[str]:
    """The command of one run."""
    what, where, clips, seed = RUNS[name]
    data = "--data.name figures" if where == "figures" else f"--data.name sketches --data.look {where}"
    data += f" --data.train-clips {clips} --data.seed {seed} --seed {seed} --cache-folder {runs / 'cache'}"
    return shlex.split(f"lfdm train {what} {data} {HOW} --out {runs / name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; some 3 GB")
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=RUNS, help="some of them")
    given = parser.parse_args()
    for name in given.only:
        if not (given.runs / name / FINISHED).exists():
            words = command(given.runs, name)
            print(shlex.join(words), flush=True)
            again = ["--resume"] if (given.runs / name / "checkpoints").is_dir() else []
            program = [sys.executable, "-c", "from lfdm_lite.cli import main; raise SystemExit(main())"]
            subprocess.run([*program, *words[1:], *again, "--no-progress"], check=True)


if __name__ == "__main__":
    main()

"""`python -m tests.parity.make FOLDER [--seed N]`: a folder of the layout of the authors' values, at other sizes.

`python -m tests.parity FOLDER` then compares it with `lfdm_lite`. It guards the runner and the library against sizes
that are right for the authors' folder alone: images, batches, regions, widths, depths, frames, heads, heads' features,
conditions, steps, guidance, schedules, scales of the loss, sampling lengths, masks and resizing all differ.

Where the values come from, and so what agreement says:

* Independent of the library: the auto-encoder, its helpers, its loss, gradients and training step (`plain`,
  `plain_loss`: functions of the authors' tensors in float64, one frame at a time for videos); the denoiser
  (`benchmarks/straightforward`: plain functions, too, in float64, one example at a time under guidance); schedule,
  noise process, thresholding, DDIM and DDPM (`plain_process`); Adam's first step; frame sampling and resizing
  (`make_data`: whole numbers, areas of pixels). `plain` and `straightforward` agree with the authors' stored values.
* Not independent: names and shapes of the authors' tensors, which the library's own conversion gives, and so
  `flowae_state_keys.json`; the frequencies of the rotary embedding. The tables `keys_*.json`, about the full-size
  networks, are copies of the shipped ones.
* `predict_start` is computed in float32, as near the last step it is a difference of large numbers.

The runner allows for the rounding of float32, which a seed may happen to stretch: a position at the image's edge, a
gradient that is mere rounding, a unit at its kink. The default seed keeps well clear of that; some others do not.
"""

import argparse
import shutil
import sys
from pathlib import Path

from . import make_chains, make_data, make_stage_one
from .drawn import Folder

SEED = 2


def make(path: Path, seed: int = SEED) -> Path:
    """Writes the folder, which must not exist or be empty, and returns it.

    Raises:
        FileExistsError: there is something in it.
    """
    path = Path(path)
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty")
    folder = Folder(path, seed)
    states = make_stage_one.make(folder)
    make_chains.make(folder, states)
    make_data.make(folder)
    for table in sorted(make_stage_one.SHIPPED.glob("keys_*.json")):
        shutil.copyfile(table, path / table.name)
    return path


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0, or 2 if the folder is not empty."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.make", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all weights and inputs (default {SEED})")
    options = parser.parse_args(arguments)
    try:
        make(options.folder, options.seed)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Two models are saved over one another, and who saves is killed at random moments: `python -m tests.saving_kills`.

Whatever a kill leaves behind must load as one of the two, weights and config together.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from lfdm_lite.files.checkpoints import load_module, read_config, save_module
from lfdm_lite.files.reading import CheckpointError

KIND = "Linear"
RENAMINGS = 12  # beginnings and ends of renamings, before one of which a kill comes: some saves have as many


@dataclass
class Outcome:
    """What was found after the kills."""

    kills: int = 0
    first: int = 0  # loads as the first model
    second: int = 0
    between: int = 0  # of these, the weights are new and config.json is old
    unreadable: int = 0
    mixed: int = 0  # weights of one, config of the other


def model(value: int) -> nn.Module:
    """A model all of whose weights are `value`, which is also its width."""
    network = nn.Linear(value, 3)
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


def save(folder: Path, value: int) -> None:
    save_module(folder, model(value), KIND, {"value": value})


def save_as_format_1(folder: Path, value: int) -> None:
    """As before there were fingerprints."""
    folder.mkdir(exist_ok=True)
    save_file(model(value).state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"kind": KIND, "format_version": 1, "value": value}))


def load(folder: Path) -> tuple[int, nn.Module]:
    """What the config says, and the model."""
    network = load_module(folder, lambda: nn.Linear(read_config(folder, KIND)["value"], 3))
    return read_config(folder, KIND)["value"], network


def save_for_ever(folder: Path, seed: int, told: int) -> None:
    """Each in turn; every renaming takes a while, and a byte tells of its beginning and of its end."""
    replace, pauses = os.replace, random.Random(seed)

    def slowly(*names) -> None:
        os.write(told, b".")
        time.sleep(pauses.uniform(0, 0.004))
        replace(*names)
        os.write(told, b".")
        time.sleep(pauses.uniform(0, 0.004))

    os.replace = slowly
    while True:
        save(folder, 2)
        save(folder, 1)


def kill_at_random(folder: Path, kills: int, seed: int) -> Outcome:
    outcome, moments = Outcome(), random.Random(seed)
    for _ in range(kills):
        save_as_format_1(folder, 1) if outcome.kills % 3 == 0 else save(folder, 1)
        heard, told = os.pipe()
        child = os.fork()
        if child == 0:
            save_for_ever(folder, moments.randrange(2**32), told)
        os.close(told)
        for _ in range(moments.randrange(RENAMINGS)):
            os.read(heard, 1)
        time.sleep(moments.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(heard)
        outcome.kills += 1
        try:
            value, network = load(folder)
        except CheckpointError:
            outcome.unreadable += 1
            continue
        outcome.first += value == 1
        outcome.second += value == 2
        outcome.between += json.loads((folder / "config.json").read_text())["value"] != value
        outcome.mixed += not all(bool((p == value).all()) for p in network.parameters())
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process that forks has no threads
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_at_random(Path(folder) / "model", options.kills, options.seed)
        save(Path(folder) / "model", 1)  # sweeps away what the killed ones have left
        left = list((Path(folder) / "model").glob(".*"))
        print(json.dumps(asdict(outcome) | {"leftovers": len(left)}))


if __name__ == "__main__":
    main()

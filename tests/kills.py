"""A tiny run is killed at random moments and resumed each time: `python -m tests.kills --kills 20`.

Nothing may be lost or damaged: every checkpoint that lies there after a kill can be read, and the weights in the end
are those of an undisturbed run, bit for bit.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lfdm_lite.training.engine import saving

from .workers import run_command, start

STEPS = 60  # of a run


@dataclass
class Outcome:
    """What became of the runs."""

    kills: int = 0  # that hit a run in its work
    while_saving: int = 0  # of these, that left an unfinished checkpoint behind
    runs: int = 0  # that reached their last step
    unreadable: int = 0  # checkpoints that could not be read after a kill
    different: int = 0  # finished runs whose weights differ from those of the undisturbed one


def command(out: Path, steps: int, *more: str) -> list[str]:
    """A run of a few seconds that saves often."""
    words = f"train autoencoder --preset tiny --out {out} --steps {steps} --save-every 3 --validate-every 9 --keep 2"
    return [*words.split(), *more]


def weights(out: Path) -> bytes:
    """The finished model, bit for bit."""
    return (out / "model.safetensors").read_bytes()


def unreadable(out: Path) -> list[Path]:
    """Checkpoints under a checkpoint's name that are not whole."""
    return [path for path in saving.checkpoints(out / "checkpoints") if not can_be_read(path)]


def can_be_read(path: Path) -> bool:
    return saving.is_whole(path) and saving.read_state(path)["step"] == int(path.name.removeprefix("step_"))


def undisturbed(folder: Path, steps: int) -> float:
    """Make the run that others are compared with.

    Returns:
        How long one takes, in seconds.
    """
    for name in ("undisturbed", "again"):  # the second has the clips already
        began = time.monotonic()
        process = start(run_command, command(folder / name, steps), 0.0, str(folder / "undisturbed.txt"))
        process.join()
        assert process.exitcode == 0, (folder / "undisturbed.txt").read_text()
    assert weights(folder / "undisturbed") == weights(folder / "again"), "this machine does not repeat itself"
    return time.monotonic() - began


def kill_at_random(
    folder: Path, kills: int, seed: int, number: int = signal.SIGKILL, slow_save: float = 0.0, steps: int = STEPS
) -> Outcome:
    """Start runs, signal each at a random moment, resume it, until so many signals have hit.

    Args:
        number: of the signal.
        slow_save: seconds that each save takes; if above 0, the moment is one while a checkpoint is being written.
    """
    seconds, moments, outcome = undisturbed(folder, steps), random.Random(seed), Outcome()
    while outcome.kills < kills or not outcome.runs:
        out = folder / f"run_{outcome.runs}"
        while True:
            resume = ["--resume"] if (out / "recipe.json").exists() else []
            process = start(run_command, command(out, steps, *resume), slow_save, str(folder / "killed.txt"))
            if outcome.kills < kills:
                wait_for_moment(process, out, moments, seconds, saving_only=slow_save > 0)
                if process.is_alive():
                    signal_process(process, number)
            process.join()
            outcome.unreadable += len(unreadable(out))
            if process.exitcode == 0:
                break
            expected = -signal.SIGKILL if number == signal.SIGKILL else 128 + number
            assert process.exitcode == expected, f"{process.exitcode}\n{(folder / 'killed.txt').read_text()}"
            outcome.kills += 1
            outcome.while_saving += bool(list((out / "checkpoints").glob(f"{saving.WRITING}*")))
        outcome.runs += 1
        outcome.different += weights(out) != weights(folder / "undisturbed")
    return outcome


def signal_process(process, number: int) -> None:
    """Send a signal; the process may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def wait_for_moment(process, out: Path, moments: random.Random, seconds: float, saving_only: bool) -> None:
    """Some share of a run's time; or some time into the writing of some checkpoint."""
    if not saving_only:
        process.join(moments.uniform(0, 0.4 * seconds))
        return
    for _ in range(moments.randint(1, 3)):
        while process.is_alive() and not list((out / "checkpoints").glob(f"{saving.WRITING}*")):
            time.sleep(0.005)
        process.join(moments.uniform(0, 0.15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=("KILL", "TERM", "INT"))
    parser.add_argument("--slow-save", type=float, default=0.0, help="seconds; signals then come while saving")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        number = getattr(signal, f"SIG{options.signal}")
        print(kill_at_random(Path(folder), options.kills, options.seed, number, options.slow_save))


if __name__ == "__main__":
    main()

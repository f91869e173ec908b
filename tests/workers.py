"""Training in processes of their own, which tests may kill; they fork from one that has imported everything."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import accelerate  # noqa: F401  (for the processes that fork)
import torch
import torch._dynamo  # noqa: F401  (optimizers import it when they are made)
from torch.distributed import TCPStore
from torch.overrides import TorchFunctionMode

from lfdm_lite import cli, training
from lfdm_lite.training.engine import loop, saving
from lfdm_lite.training.engine.pace import Pace
from lfdm_lite.training.stages.clips import cached_clips

from .patience import HUNG

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.workers"])


def start(target, *arguments):
    """A process that runs `target`; it may have children of its own."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=False)
    process.start()
    return process


def run_command(arguments: list[str], slow_save: float = 0.0, log: str = os.devnull) -> None:
    """`lfdm` with these arguments; each state is written in two halves with `slow_save` seconds between them."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # before and after the run itself listens
        signal.signal(number, lambda number, _: os._exit(128 + number))
    sys.stderr = sys.stdout = open(log, "a")  # noqa: SIM115 (as long as the process lives)
    if slow_save:
        save = torch.save

        def save_slowly(state, file):
            save(state, file)
            size = file.tell()
            file.flush()
            os.truncate(file.name, size // 2)
            time.sleep(slow_save)
            file.seek(0)
            file.truncate()
            save(state, file)

        saving.torch.save = save_slowly
    code = cli.main(arguments)
    sys.stderr.flush()
    os._exit(code)  # as soon as possible: the next one waits


class InFloat64(TorchFunctionMode):
    """What asks for float32 gets float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        args = [torch.float64 if value is torch.float32 else value for value in args]
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return (torch.Tensor.double if function is torch.Tensor.float else function)(*args, **kwargs)


def end_after_16(self, done: int, now: float) -> int:
    """Stands in for `Pace.steps`: the first process changes its mind once, the others are not to be asked."""
    assert os.environ.get("RANK", "0") == "0"
    return 12 if done < 8 else 16


def share_a_run(rank: int, processes: int, port: int, stage: str, config, out: Path, resume: bool = False) -> None:
    """One of several processes that train together in float64; the first leaves the exact losses in `losses.json`.

    A run with a moment to end at makes 16 steps, whatever the clock says.
    """
    torch.set_num_threads(1)
    sys.stderr = open(out.with_suffix(f".{rank}.txt"), "w")  # noqa: SIM115
    if processes > 1:
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        # They meet where `train_together` listens already; older versions of torch ask for the count, too.
        group |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
        os.environ |= {name: str(value) for name, value in group.items()}
    losses, mean_of = {}, loop.mean_of

    def note(read):
        losses.update(read)
        return mean_of(read)

    loop.mean_of, Pace.steps = note, end_after_16
    torch.set_default_dtype(torch.float64)
    with InFloat64():
        getattr(training, f"train_{stage}")(config, out, resume)
    if rank == 0:
        (out / "losses.json").write_text(json.dumps(losses))


def train_together(processes: int, stage: str, config, out: Path, resume: bool = False) -> dict[int, dict[str, float]]:
    """The losses of a run that several processes share."""
    for split in ("train", "val"):
        cached_clips(config.data, split, out.parent / "cache")  # in float32, as always
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # a free port, and it stays ours
    running = [
        start(share_a_run, rank, processes, meeting.port, stage, config, out, resume) for rank in range(processes)
    ]
    for process in running:
        process.join(HUNG)
        assert process.exitcode == 0, f"process {process.name} ended with {process.exitcode}"
    return {int(step): values for step, values in json.loads((out / "losses.json").read_text()).items()}

"""One training loop for every network of the book, on Hugging Face accelerate.

What is learned is an *objective*: a module that holds the network (`network`) and whose `forward(batch, seed)`
returns a dictionary of scalar losses, the total under "loss". The loop adds optimizer, schedule, weight average,
progress bar, log, checkpoints and resumption.
"""

import csv
import json
import math
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..checkpoints import write_atomically, write_json
from .checkpoint import newest_state, save_state
from .clips import step_indices
from .configs import LoopConfig, OptimConfig


def learning_rate(step: int, config: OptimConfig) -> float:
    """Linear from 0 over the warm-up, then half a cosine down to 0 at the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random in one step."""
    return seed * 1_000_003 + step


def set_seed(seed: int) -> None:
    """Seed torch's global generator, which initializes weights."""
    torch.manual_seed(seed)


class Stopped(Exception):
    """The run was asked to stop (Ctrl-C or SIGTERM) and has saved first."""


class _StopRequest:
    """Turns SIGINT and SIGTERM into a flag that is looked at between steps."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        else:
            self.before = {}
        return self

    def _ask(self, *_):
        self.asked = True

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Log:
    """`log.csv`: one row every few steps. On resumption, rows after the resumed step are dropped."""

    def __init__(self, path: Path, start: int):
        self.path = path
        rows = []
        if path.exists() and start:
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= start]
        self.rows: list[dict[str, Any]] = rows
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        known = {name for old in self.rows for name in old}
        self.rows.append(row)
        if set(row) <= known:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self.names, restval="", lineterminator="\n").writerow(row)
        else:  # a new column: write the whole file again
            self._write()

    def _write(self) -> None:
        self.names = list(dict.fromkeys(name for row in self.rows for name in row)) or ["step"]

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="") as file:
                writer = csv.DictWriter(file, self.names, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

        write_atomically(self.path, write)


def versions() -> dict[str, str]:
    """What a reader needs to know of the machine and the libraries."""
    import accelerate

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def check_finite(losses: dict[str, Tensor], step: int, batch: dict[str, Tensor], out: Path) -> None:
    """Stop at once when a loss is not a number, and keep the batch that caused it.

    Raises:
        FloatingPointError: naming the loss, the step and the file with the batch.
    """
    for name, value in losses.items():
        if not torch.isfinite(value):
            torch.save(batch, out / "bad_batch.pt")
            raise FloatingPointError(f"{name} is {value.item()} in step {step}; the batch is in {out / 'bad_batch.pt'}")


def fit(
    objective: nn.Module,
    dataset: Dataset,
    optim: OptimConfig,
    loop: LoopConfig,
    out: Path,
    config: Any,
    validate: Callable[[nn.Module], dict[str, float]],
    sample: Callable[[nn.Module, Path], None] | None = None,
    resume: bool = False,
) -> nn.Module:
    """Train `objective.network` and return the average of its weights, in evaluation mode.

    Args:
        objective: see the head of this module.
        dataset: gives dictionaries of tensors.
        out: folder of the run; gets `log.csv`, `recipe.json`, `checkpoints/`, `samples/`.
        config: the run's dataclass, kept in `recipe.json` and compared on resumption.
        validate: the averaged network → named numbers, on validation clips.
        sample: draws a picture of what the averaged network does into a file.
        resume: go on from the newest whole checkpoint in `out`.

    Raises:
        ValueError: `out` holds a run already and `resume` is off, or the run was started with another config.
        FloatingPointError: a loss is not finite.
        Stopped: after Ctrl-C or SIGTERM, once everything is saved.
    """
    from accelerate import Accelerator

    recipe = prepare_folder(out, config, resume)
    accelerator = Accelerator(mixed_precision=loop.precision, cpu=not torch.cuda.is_available())
    network: nn.Module = objective.network
    network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(optim.ema), use_buffers=True)
    optimizer = torch.optim.AdamW(
        network.parameters(), optim.learning_rate, optim.betas, weight_decay=optim.weight_decay
    )
    objective, optimizer = accelerator.prepare(objective, optimizer)
    average.to(accelerator.device)

    start = 0
    if resume and (state := newest_state(out / "checkpoints")):
        start = state["step"]
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        recipe["seconds"] = state["seconds"]
    log = Log(out / "log.csv", start)
    batches = step_indices(loop.seed, len(dataset), optim.batch_size, start)
    loader = DataLoader(dataset, batch_sampler=batches)
    tracker = _tracker(out) if loop.trackers else None
    began = time.monotonic() - recipe["seconds"]

    def save(step: int) -> None:
        recipe["seconds"] = round(time.monotonic() - began, 1)
        state = {"step": step, "network": network.state_dict(), "average": average.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "seconds": recipe["seconds"]}
        save_state(out / "checkpoints", step, state, loop.keep)

    bar = tqdm(total=optim.steps, initial=start, desc=out.name, unit="step")
    with _StopRequest() as stop:
        for step, batch in zip(range(start, optim.steps), loader):  # noqa: B905 (the loader never ends)
            batch = {name: value.to(accelerator.device) for name, value in batch.items()}
            rate = learning_rate(step, optim)
            for group in optimizer.param_groups:
                group["lr"] = rate
            objective.train()
            with accelerator.autocast():
                losses = objective(batch, step_seed(loop.seed, step))
            check_finite(losses, step, batch, out)
            accelerator.backward(losses["loss"])
            norm = accelerator.clip_grad_norm_(network.parameters(), optim.clip)
            optimizer.step()
            optimizer.zero_grad()
            # Early on the average follows quickly, so that it forgets the random start.
            average.multi_avg_fn = get_ema_multi_avg_fn(min(optim.ema, (1 + step) / (10 + step)))
            average.update_parameters(network)
            done = step + 1
            bar.update()
            row: dict[str, Any] = {"step": done}
            if done % loop.log_every == 0 or done == optim.steps:
                row |= {name: f"{value.item():.6g}" for name, value in losses.items()}
                row |= {"gradient": f"{float(norm):.4g}", "rate": f"{rate:.4g}"}
                row["seconds"] = f"{time.monotonic() - began:.1f}"
                bar.set_postfix(loss=row["loss"])
            if done % loop.validate_every == 0 or done == optim.steps:
                row |= {f"val_{k}": f"{v:.5g}" for k, v in _evaluate(average.module, validate).items()}
                if sample is not None:
                    (out / "samples").mkdir(exist_ok=True)
                    _evaluate(average.module, lambda m, d=done: sample(m, out / "samples" / f"step_{d:06d}.png"))
            if len(row) > 1:
                log.add(row)
                if tracker is not None:
                    for name, value in row.items():
                        tracker.add_scalar(name, float(value), done)
            if done % loop.save_every == 0 or done == optim.steps or stop.asked:
                save(done)
            if stop.asked and done < optim.steps:
                bar.close()
                raise Stopped(f"stopped after step {done} of {optim.steps}; go on with --resume")
    bar.close()
    recipe["seconds"] = round(time.monotonic() - began, 1)
    write_json(out / "recipe.json", recipe)
    return average.module.eval()


def prepare_folder(out: Path, config: Any, resume: bool) -> dict[str, Any]:
    """Make the run's folder and its recipe, or check that a run to resume was started alike."""
    command = " ".join(["lfdm", *sys.argv[1:]])
    recipe = {"command": command, "config": asdict(config), "versions": versions(), "seconds": 0.0}
    recipe = json.loads(json.dumps(recipe))
    path = out / "recipe.json"
    if path.exists():
        if not resume:
            raise ValueError(f"{out} holds a run already; use --resume to go on with it, or another --out")
        found = json.loads(path.read_text())
        if found["config"] != recipe["config"]:
            differs = [k for k in recipe["config"] if found["config"].get(k) != recipe["config"][k]]
            raise ValueError(f"the run in {out} was started with another config ({', '.join(differs)} differ)")
        return found | {"seconds": 0.0}
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, recipe)
    return recipe


def _evaluate(network: nn.Module, what: Callable[[nn.Module], Any]) -> Any:
    network.eval()
    with torch.no_grad():
        return what(network)


def _tracker(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))

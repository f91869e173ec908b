"""What carries a run out: its processes and devices, the optimizer, and the average of the weights.

An *objective* is a module that holds the network to train (`network`) and whose `forward(batch)` returns a dictionary
of scalar losses, each a mean over the batch, the total under "loss". So the mean over processes, and over the parts of
a batch, is the loss of the whole batch, and its gradient likewise.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...files.atomic import write_json
from ...files.locks import hold_folder
from ...files.reading import one_line
from ..configs import LoopConfig
from .averaging import Network, WeightAverage
from .computing import keep_freed_memory, limit_gradient, match_memory_order, set_batch_norms, to_channels_last
from .pace import ProcessorClock
from .randomness import BatchOrder, Examples, key_of
from .recipes import RECIPE, Recipe, check_same_clips, recipe_for
from .schedules import ema_decay, learning_rate
from .stopping import ignore_signals
from .trackers import check_tracker

PATIENCE = timedelta(hours=6)  # how long processes wait for one that draws clips, validates or saves


class Objective(nn.Module, Generic[Network]):
    network: Network  # to train; the module around it answers the parts of its loss


class Engine:
    """The processes of one run, the device of each, and the run's folder.

    Started plainly there is one process; `accelerate launch` starts several, on one machine or on many. Within a
    `with` block the run has its folder to itself; what is in there is changed from `begin` on.

    Args:
        config: of the run; its `loop` and `optim` are read.
        out: folder of the run.
        resume: `out` may hold a run of the same config.

    Raises:
        ValueError: what the config asks for cannot be had here; from `with`: `out` holds another run, or is in use.
    """

    def __init__(self, config: Any, out: Path, resume: bool = False):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState
        from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

        self.config, self.out, self.began = config, Path(out), time.monotonic()
        loop: LoopConfig = config.loop
        gpu = torch.cuda.is_available()
        if loop.precision == "fp16" and not gpu:
            raise ValueError("precision fp16 needs a GPU; choose --precision bf16 or no")
        if loop.tracker != "none":
            check_tracker(loop.tracker)
        AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
        GradientState._reset_state()
        self.accelerator = Accelerator(
            cpu=not gpu,
            mixed_precision=loop.precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=loop.accumulate, sync_with_dataloader=False
            ),
            dynamo_backend="inductor" if loop.compile else None,
            log_with=None if loop.tracker == "none" else loop.tracker,
            project_dir=str(out),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.device, self.processes = self.accelerator.device, self.accelerator.num_processes
        if self.device.type == "cpu":
            keep_freed_memory()
        self.main, self.alone = self.accelerator.is_main_process, self.processes == 1
        BatchOrder(0, 1, config.optim.batch_size, self.processes, loop.accumulate)  # refused before anything is written
        if config.optim.batch_norm == "all" and self.device.type == "cpu" and not self.alone:
            raise ValueError("batch_norm 'all' needs GPUs: torch synchronizes batch norms there alone")
        self.resume, self.seconds_before, self.processor = resume, 0.0, ProcessorClock(self.processes)
        self.steps, self.optim = config.optim.steps, config.optim
        self.recipe: Recipe = {}
        self._folder = ExitStack()

    def __enter__(self) -> "Engine":
        if not self.main:
            return self
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"{self.out} is a file; a run needs a folder: choose another --out")
        with ExitStack() as stack:
            stack.enter_context(hold_folder(self.out))
            name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
            self.recipe = recipe_for(self.out, self.config, self.resume, self.processes, name)
            self._folder = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on from a checkpoint of its own."""
        return self.resume and any(self.out.glob("checkpoints/step_*"))

    def begin(self, seen: Recipe) -> None:
        """Write the recipe: whatever may be wrong with the clips and the network has been found by now.

        Args:
            seen: what the run learns from, see `check_same_clips`.

        Raises:
            ValueError: the run that is resumed has seen other clips.
        """
        if self.main:
            check_same_clips(self.out, self.recipe.get("clips"), seen)
            self.recipe |= {"clips": seen}
            write_json(self.out / RECIPE, self.recipe)

    @property
    def cache(self) -> Path:
        """Where clips and motions are kept, beside the run, so that runs share them; or where its config says."""
        return Path(self.config.loop.cache_folder or self.out.parent / "cache")

    @property
    def seconds(self) -> float:
        """That the run has taken so far, in this process and before."""
        return round(self.seconds_before + time.monotonic() - self.began, 1)

    @property
    def shows_progress(self) -> bool:
        """Whether this process draws the run's progress bars."""
        return self.main and self.config.loop.progress

    def due(self, done: int, every: int, last: bool = False) -> bool:
        """Whether what happens every few steps (0: never) happens after step `done`; `last`: at the end too."""
        return (every > 0 and done % every == 0) or (last and done == self.steps)

    def aim(self, steps: int) -> None:
        """Let the run end after that many steps, and its schedule with it."""
        if steps != self.steps:
            self.steps, self.optim = steps, replace(self.optim, steps=max(1, steps))

    def reads_after(self, done: int) -> bool:
        """Whether losses are looked at after step `done`: before anything that depends on them, in all processes."""
        loop = self.config.loop
        often = (loop.log_every, loop.validate_every, loop.sample_every, loop.save_every)
        return any(self.due(done, every, last=True) for every in often)

    def workers(self, otherwise: int) -> int:
        """How many processes prepare batches, or clips: as `loop.workers` says; else `otherwise`, where they can fork.

        Where they are started anew (by default on macOS and Windows, and from Python 3.14 on everywhere), they import
        the script that trains, and without `if __name__ == "__main__":` it would die there.
        """
        if self.config.loop.workers is not None:
            return self.config.loop.workers
        by_default = multiprocessing.get_all_start_methods()[0]  # to ask for it would settle it for the whole process
        return otherwise if (multiprocessing.get_start_method(allow_none=True) or by_default) == "fork" else 0

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    def build(self, make: Callable[[], Network]) -> Network:
        """A new network, whose initial weights depend on the run's seed alone.

        Raises:
            ValueError: its options do not go together.
        """
        torch.manual_seed(self.config.loop.seed)
        try:
            return make()
        except (ValueError, TypeError, AssertionError, RuntimeError, ArithmeticError, IndexError) as error:
            raise ValueError(f"no network can be made with these options: {one_line(error)}") from error

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        return self.accelerator.reduce(values, "mean")

    def largest(self, value: int) -> int:
        """The largest of all processes' values."""
        if self.alone:
            return value
        return int(self.accelerator.gather(torch.tensor([value], device=self.device)).max())

    def from_main(self, value: Any) -> Any:
        """What the main process has."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    @contextmanager
    def on_this_machine(self) -> Iterator[None]:
        """The first process of each machine before the others."""
        with self.accelerator.local_main_process_first():
            yield

    def batches(
        self, examples: Examples, order: BatchOrder, start: int, stop: int
    ) -> Iterator[list[dict[str, Tensor]]]:
        """This process's parts of each batch, prepared ahead by `loop.workers` processes."""
        gpu = self.device.type == "cuda"
        workers = self.workers(4 if gpu else 0)
        places = order.of_process(self.accelerator.process_index, start, stop)
        loader = iter(
            DataLoader(
                examples,
                batch_sampler=places,
                num_workers=workers,
                worker_init_fn=ignore_signals if workers else None,
                prefetch_factor=4 if workers else None,
                pin_memory=gpu,
            )
        )
        for _ in range(start, stop):
            yield [next(loader) for _ in range(order.parts)]


class Learner(Generic[Network]):
    """A network in training: one `step` after another, and all that a checkpoint must hold.

    Attributes:
        network: what is trained; parameters that need no gradient stay as they are.
        average: the moving average of its weights.
    """

    def __init__(self, objective: Objective[Network], engine: Engine):
        optim, loop = engine.config.optim, engine.config.loop
        self.optim, self.loop, self.engine = optim, loop, engine
        network = objective.network
        if optim.batch_norm == "all" and not engine.alone:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        objective.to(engine.device)
        if loop.channels_last:
            to_channels_last(network)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.parameters, optim.learning_rate, optim.betas, weight_decay=optim.weight_decay, fused=loop.fused
        )
        objective.train()
        if optim.batch_norm == "frozen":
            set_batch_norms(network, training=False)
        self.network = network
        self.objective, self.optimizer = engine.accelerator.prepare(objective, optimizer)
        self.average = WeightAverage(network)

    def step(self, parts: list[dict[str, Tensor]], step: int) -> dict[str, Tensor]:
        """One optimizer step on the parts of a batch; nothing here waits for the device.

        Returns:
            This process's mean losses, and the norm of the gradient before it was clipped.
        """
        accelerator, losses = self.engine.accelerator, dict[str, Tensor]()
        torch.manual_seed(key_of(self.loop.seed, step, -1 - accelerator.process_index))  # what a network draws itself
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.engine.optim)
        for part in parts:
            batch = {name: value.to(self.engine.device, non_blocking=True) for name, value in part.items()}
            with accelerator.accumulate(self.objective):
                found = self.objective(batch)
                accelerator.backward(found["loss"])
                if accelerator.sync_gradients:
                    norm = limit_gradient(accelerator, self.parameters, self.optim.clip)
                self.optimizer.step()  # these two do nothing before the last part
                self.optimizer.zero_grad()
            for name, value in found.items():
                losses[name] = losses.get(name, 0) + value.detach() / len(parts)
        self.average.update(ema_decay(step, self.optim))
        return losses | {"gradient": norm}

    def state(self) -> dict[str, Any]:
        """All that `restore` needs; the schedule and the data's order follow from the step."""
        state = {"network": self.network.state_dict(), "average": self.average.module.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict()}
        scaler = self.engine.accelerator.scaler
        return state | ({"scaler": scaler.state_dict()} if scaler is not None else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned, on this device, in any number of processes."""
        self.network.load_state_dict(state["network"])
        self.average.module.load_state_dict(state["average"])
        for group in state["optimizer"]["param_groups"]:
            group["fused"] = self.loop.fused  # of this device, whatever the run began on
        self.optimizer.load_state_dict(state["optimizer"])
        match_memory_order(self.optimizer)
        if self.engine.accelerator.scaler is not None and "scaler" in state:
            self.engine.accelerator.scaler.load_state_dict(state["scaler"])

    @torch.no_grad()
    def average_does(self, what: Callable[[Network], Any]) -> Any:
        """What the averaged network is worth, or draws."""
        return what(self.average.module)

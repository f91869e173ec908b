"""The training loop: one for every network of the book, on one device or many."""

import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...files.atomic import write_json
from ...files.reading import CheckpointError
from ..configs import OptimConfig
from . import saving
from .averaging import Network
from .core import Engine, Learner, Objective
from .measuring import PeakMemory
from .pace import Pace
from .randomness import BatchOrder, Examples, Item
from .recipes import RECIPE, Recipe
from .records import Meter, Record
from .schedules import learning_rate
from .stopping import Stopped, StopRequest, stopped

__all__ = ["Stopped", "fit"]


def fit(
    engine: Engine,
    objective: Objective[Network],
    clips: Any,
    draw: Callable[[Item, torch.Generator], Item],
    validate: Callable[[Network], dict[str, float]],
    score: Callable[[dict[str, float]], float],
    sample: Callable[[Network, Path], None] | None = None,
) -> Network:
    """Train `objective.network` and return the average of its weights, in evaluation mode.

    The run goes on from the newest whole checkpoint in its folder, if there is one. The folder gets `log.csv`,
    `recipe.json`, `checkpoints/`, `samples/`.

    Args:
        engine: of this run.
        objective: a module with `network`; its `forward` turns a batch into losses (see `core`).
        clips: a data set of dictionaries.
        draw: makes an example of a clip, deciding everything random.
        validate: the averaged network → named numbers, on validation clips.
        score: validation's numbers → one, larger is better: it says which checkpoint is the best.
        sample: draws a picture of what the averaged network does into a file.

    Raises:
        FloatingPointError: a loss is not finite.
        ValueError: the time until which to train is up, and there is nothing to finish.
        Stopped: after Ctrl-C, SIGTERM or `max_hours`, once everything is saved.
    """
    optim, loop = engine.config.optim, engine.config.loop
    examples = Examples(clips, draw, loop.seed)
    order = BatchOrder(loop.seed, len(clips), optim.batch_size, engine.processes, loop.accumulate)
    learner, meter = Learner(objective, engine), Meter(engine)
    start = resume(engine, learner)
    if engine.main and start:
        say_what_changes(engine.recipe, optim, start)
    keeper, pace = Keeper(engine, learner), Pace(engine, start)

    batches = engine.batches(examples, order, start, pace.most)
    memory = PeakMemory(engine.device, every=0.05)
    with StopRequest(loop.max_hours, engine.began) as stop, closing(Record(engine, start)) as record, memory:
        for done, parts in enumerate(batches, start + 1):
            meter.add(done, learner.step(parts, done - 1))
            record.advance()
            if not (engine.reads_after(done) or (engine.alone and stop.reason)):
                continue

            losses = meter.read()
            check_finite(losses, examples, order, engine)
            row = mean_of(losses) | {"rate": learning_rate(done - 1, engine.optim)}
            pace.look(done)
            found = None
            if engine.main and engine.due(done, loop.validate_every, last=True):
                found = learner.average_does(validate)
                row |= {f"val_{name}": value for name, value in found.items()}
            record.add(done, row)
            due = loop.sample_every > 0 and engine.due(done, loop.sample_every, last=True)
            if engine.main and due and sample is not None:
                record.picture(done, lambda path: learner.average_does(lambda network: sample(network, path)))

            reason = engine.largest(stop.look())
            keeper.consider(done, None if found is None else score(found), final=bool(reason))
            pace.rest()
            if done == engine.steps:
                break
            if reason:
                raise stopped(reason, done, engine.steps, loop.max_hours)
    return finish(engine, learner, memory.peak)


def mean_of(losses: dict[int, dict[str, float]]) -> dict[str, float]:
    """The mean over steps of each loss."""
    names = next(iter(losses.values()))
    return {name: sum(values[name] for values in losses.values()) / len(losses) for name in names}


def check_finite(losses: dict[int, dict[str, float]], examples: Examples, order: BatchOrder, engine: Engine) -> None:
    """Stop before anything is saved when a loss was not a number, and keep the batch of the first such step.

    Raises:
        FloatingPointError: naming the loss, the step and the file with the batch.
    """
    for done, values in losses.items():
        for name, value in values.items():
            scaled = name == "gradient" and engine.config.loop.precision == "fp16"  # such a step is left out
            if abs(value) < float("inf") or scaled:
                continue
            path, where = engine.out / "bad_batch.pt", ""
            if engine.main:
                with suppress(OSError, RuntimeError):  # no room for it, which torch says in many words
                    torch.save(examples.batch(order.places(done - 1)), path)
                    where = f"the batch is in {path}; "
            raise FloatingPointError(f"{name} is {value} in step {done - 1}; {where}earlier checkpoints are untouched")


def resume(engine: Engine, learner: Learner[Any]) -> int:
    """Restore the newest whole checkpoint of the run in every process.

    Returns:
        The number of steps done; 0 if there is no checkpoint.

    Raises:
        CheckpointError: no checkpoint is whole, or a machine does not have that of the main process.
    """
    folder = engine.out / "checkpoints"
    state = saving.newest_state(folder) if engine.main else None
    step = engine.from_main(0 if state is None else state["step"])
    if not step:
        return 0
    if state is None:
        path = folder / saving.name_of(step)
        if not saving.is_whole(path):
            raise CheckpointError(f"{path} is not on this machine: copy it here, or let --out be on a shared disk")
        state = saving.read_state(path)
    try:
        learner.restore(state)
        engine.seconds_before = float(state["seconds"])
        engine.processor.before = float(state.get("processor_seconds", 0.0))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"checkpoint {step} in {folder} does not fit this run: {why}") from None
    return step


def say_what_changes(recipe: Recipe, optim: OptimConfig, start: int) -> None:
    """A line on a run that now has more steps, unless its rate does not depend on how many there are."""
    last = (recipe.get("resumed") or [{}])[-1]
    if "steps" not in last or optim.schedule == "constant" or start >= optim.steps:
        return
    before, now = last["steps"]
    rates = [learning_rate(min(start, steps - 1), replace(optim, steps=steps)) for steps in (before, now)]
    print(
        f"lfdm: --steps {before} -> {now}: the rate goes on from {rates[0]:.2g} to {rates[1]:.2g}, as the "
        f"{optim.schedule!r} schedule of {now} steps has it; a run of {now} from the start would end otherwise",
        file=sys.stderr,
    )


class Keeper:
    """Saves when it is time to, and when validation has never been better."""

    def __init__(self, engine: Engine, learner: Learner[Any]):
        self.engine, self.learner, self.folder = engine, learner, engine.out / "checkpoints"
        self.best, self.late, self.saved = saving.best_score(self.folder), False, time.monotonic()
        if engine.main:
            self.folder.mkdir(exist_ok=True)
            saving.check_room(self.folder, saving.size_of(learner.state()))

    def consider(self, done: int, score: float | None, final: bool) -> None:
        """Save after step `done` if that is due. A full disk is reported, and saving tried again at the next reading.

        Args:
            score: what validation found; None: it was not asked.
            final: the run stops here.

        Raises:
            OSError: there is no room, and the run stops here or ends.
        """
        final = final or done == self.engine.steps
        improved = score is not None and score > self.best
        self.best = max(self.best, score) if score is not None else self.best
        minutes = self.engine.config.loop.save_minutes
        due = self.engine.due(done, self.engine.config.loop.save_every)
        due = due or (minutes is not None and time.monotonic() - self.saved >= 60 * minutes)
        if not self.engine.main or not (due or final or improved or self.late):
            return
        took = {"seconds": self.engine.seconds, "processor_seconds": self.engine.processor.seconds}
        state = {"step": done} | took | self.learner.state()
        try:
            saving.save_state(self.folder, done, state, self.engine.config.loop.keep, score)
            self.late, self.saved = False, time.monotonic()
        except OSError as error:
            if final:
                raise
            self.late = True
            print(f"\nlfdm: not saved after step {done}, will try again: {error}", file=sys.stderr)


def finish(engine: Engine, learner: Learner[Network], peak: int) -> Network:
    """Write the recipe, with the most memory in bytes that this process held, and pick the finished model's weights."""
    if engine.main:
        loop = engine.config.loop
        made = {"seconds": engine.seconds, "processor_seconds": round(engine.processor.seconds, 1), "peak_memory": peak}
        made |= {} if loop.until is None and loop.cpu_minutes is None else {"steps": engine.steps}
        write_json(engine.out / RECIPE, engine.recipe | made)
    if engine.main and engine.config.loop.final == "best":
        best = saving.best(engine.out / "checkpoints")
        if best is not None:
            learner.average.module.load_state_dict(saving.read_state(best)["average"])
    return learner.average.module.eval()

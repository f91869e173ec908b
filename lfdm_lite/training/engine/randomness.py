"""Which clips a step sees, and every random number of a step: functions of seed, step and place in the batch alone.

So a run goes on after an interruption as if there had been none, and does not depend on how many processes share the
batch, or into how many parts it is cut.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

Item = dict[str, Any]  # what a data set knows of one clip, or what a step sees of it


class Place(NamedTuple):
    """One place in the batch of one step, and the clip that is there."""

    step: int
    index: int  # type: ignore[assignment]  # in the whole batch, of all processes; nobody asks a place for tuple.index
    clip: int


def key_of(seed: int, step: int, index: int) -> int:
    """A hash of three numbers, so that runs, steps and places that are close have unrelated random numbers."""
    digest = hashlib.blake2b(f"{seed} {step} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_of(seed: int, step: int, index: int) -> torch.Generator:
    """The source of everything random about place `index` in the batch of `step`."""
    return torch.Generator().manual_seed(key_of(seed, step, index))


def step_indices(seed: int, count: int, batch_size: int, start: int) -> Iterator[list[int]]:
    """The clips of step `start`, `start + 1`, …: shuffled epoch after epoch, a function of seed and step alone."""
    position = start * batch_size
    while True:
        picked: list[int] = []
        while len(picked) < batch_size:
            epoch, offset = divmod(position, count)
            order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
            taken = order[offset : offset + batch_size - len(picked)]
            picked += taken.tolist()
            position += len(taken)
        yield picked


class Examples(Dataset[Item]):
    """What steps see of clips: `examples[Place]` is a clip after everything random has been decided.

    Args:
        clips: a data set of dictionaries.
        draw: decides, from a clip and a generator; may run in another process.
        seed: of the run.
    """

    def __init__(self, clips: Any, draw: Callable[[Item, torch.Generator], Item], seed: int):
        self.clips, self.draw, self.seed = clips, draw, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: Place) -> Item:
        return self.draw(self.clips[place.clip], generator_of(self.seed, place.step, place.index))

    def batch(self, places: list[Place]) -> dict[str, Tensor]:
        """Several examples, stacked."""
        return default_collate([self[place] for place in places])


class BatchOrder:
    """The batches of a run, cut for processes and for gradient accumulation.

    Args:
        seed, count, batch_size: as in `step_indices`.
        processes: how many share each batch.
        parts: into how many parts each of them cuts its share.

    Raises:
        ValueError: the batch cannot be cut into that many equal parts.
    """

    def __init__(self, seed: int, count: int, batch_size: int, processes: int = 1, parts: int = 1):
        if count < 1:
            raise ValueError("there are no clips to train on")
        if batch_size < 1 or parts < 1 or batch_size % (processes * parts):
            raise ValueError(
                f"a batch of {batch_size} cannot be cut into equal parts for {processes} processes with "
                f"{parts} parts each: choose --batch-size as a multiple of {processes * max(1, parts)}"
            )
        self.seed, self.count, self.batch_size = seed, count, batch_size
        self.processes, self.parts = processes, parts

    def places(self, step: int) -> list[Place]:
        """The whole batch of a step."""
        clips = next(step_indices(self.seed, self.count, self.batch_size, step))
        return [Place(step, index, clip) for index, clip in enumerate(clips)]

    def of_process(self, process: int, start: int, stop: int) -> Iterator[list[Place]]:
        """The parts that a process computes in the steps from `start` to `stop`, one after the other."""
        size = self.batch_size // (self.processes * self.parts)
        for step in range(start, stop):
            places = self.places(step)
            for part in range(self.parts):
                first = (process * self.parts + part) * size
                yield places[first : first + size]

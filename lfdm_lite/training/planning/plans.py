"""What a run will cost, from a few steps of it on this device: memory by batch size, time and money."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from ...autoencoder import LFAEConfig
from ..configs import AutoencoderRun, DiffusionRun
from ..engine.measuring import memory_at_hand
from .trial import OutOfMemory, Run, Trial, try_steps

ROOM = 0.9  # share of the memory at hand that a run may fill
PATIENCE = 300.0  # seconds that a trial of the suggested size may take
BATCH_NORMS = "; but then batch norms know their mean from fewer examples"
CLEARLY = 0.9  # a smaller part is worth a word if its step takes less than this share of the suggested one's


@dataclass(frozen=True)
class StagePlan:
    """One stage of a run: what was measured, and what follows."""

    name: str
    run: Run
    share: int  # examples of a step that one process sees
    trials: tuple[Trial, ...]  # by part size
    part: int  # examples at once that are suggested; 0: not even the smallest fits
    memory: int  # bytes at hand

    @property
    def accumulate(self) -> int:
        """Parts into which a process should cut its share."""
        return self.share // self.part if self.part else 0

    def peak_of(self, part: int) -> float:
        """Bytes with `part` examples at once; more of them never take less than what fewer were seen to take."""
        seen = max((trial.peak for trial in self.trials if trial.part <= part), default=0)
        return max(float(seen), line(self.trials, part, lambda trial: trial.peak))

    def seconds_of(self, part: int) -> float:
        """Of a step whose share is computed in parts of that size."""
        return self.share / part * line(self.trials, part, lambda trial: trial.seconds)

    def foretold(self) -> tuple[float, float]:
        """Memory and seconds that the largest part would have got, had it not been tried: how good the line is here."""
        last, without = self.trials[-1].part, replace(self, trials=self.trials[:-1])
        return without.peak_of(last), without.seconds_of(last)

    @property
    def faster(self) -> Trial | None:
        """The fastest of the smaller parts that were tried, if its step is clearly faster than the suggested one's."""
        smaller = [trial for trial in self.trials if trial.part < self.part]
        best = min(smaller, key=lambda trial: trial.seconds / trial.part, default=None)
        return best if best and self.seconds_of(best.part) < CLEARLY * self.seconds_of(self.part) else None

    @property
    def flops(self) -> float:
        """Floating-point operations of a step, of one process."""
        largest = self.trials[-1]
        return largest.flops * self.share / largest.part

    @property
    def hours(self) -> float:
        """Of the whole stage, training alone."""
        return self.hours_of(self.part) if self.part else float("inf")

    def hours_of(self, part: int) -> float:
        """The same with another part size."""
        return self.run.optim.steps * self.seconds_of(part) / 3600

    def figures(self) -> dict[str, Any]:
        """What `describe` tells, as JSON values: times in seconds, memory in bytes."""
        first = self.trials[0]
        return {
            "device": first.device,
            "parameters": first.parameters,
            "steps": self.run.optim.steps,
            "batch_size": self.run.optim.batch_size,
            "at_once": self.part,
            "memory": self.peak_of(self.part),
            "memory_at_hand": self.memory,
            "seconds_per_step": self.seconds_of(self.part),
            "hours": self.hours,
            "flops_per_step": self.flops,
            "flops_per_second_of_a_matrix_product": first.rate,
            "trials": [asdict(trial) for trial in self.trials],
        }


def line(trials: tuple[Trial, ...], part: int, value: Callable[[Trial], float]) -> float:
    """A trial's value at `part`: on the line through the trials on either side, or beyond them the two nearest."""
    known = {trial.part: float(value(trial)) for trial in trials}
    if part in known or len(known) == 1:
        return known.get(part, next(iter(known.values())) * part / next(iter(known)))
    parts = sorted(known)
    right = min(max(1, bisect_left(parts, part)), len(parts) - 1)
    a, b = parts[right - 1], parts[right]
    return max(0.0, known[a] + (known[b] - known[a]) * (part - a) / (b - a))


def divisors(number: int) -> list[int]:
    """Of a whole number, smallest first."""
    return [d for d in range(1, number + 1) if number % d == 0]


def plan_stage(
    name: str,
    run: Run,
    autoencoder: LFAEConfig,
    device: torch.device,
    processes: int = 1,
    memory: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> StagePlan:
    """Try a few steps at the two smallest sizes, then larger ones from the largest that should fit; suggest one tried.

    Memory does not grow evenly: on a CPU large work keeps less of itself for the backward pass.

    Args:
        autoencoder: of stage one, which stage two works on.
        processes: that share the batch.
        memory: bytes at hand for each; by default those of this device.
        tell: is told what is being tried.

    Raises:
        ValueError: the batch cannot be shared by so many.
        RuntimeError: a trial failed for another reason than memory.
    """
    if run.optim.batch_size % processes:
        raise ValueError(f"a batch of {run.optim.batch_size} cannot be shared by {processes} processes")
    share = run.optim.batch_size // processes
    memory = memory_at_hand(device) if memory is None else memory
    sizes = divisors(share)
    if isinstance(run, AutoencoderRun) and share > 1:
        sizes = sizes[1:]  # batch norms of a single example's 1x1 map have no variance
    trials: dict[int, Trial] = {}

    def attempt(part: int) -> bool:
        tell(f"{name}: {part} at once")
        try:
            trials[part] = try_steps(run, part, autoencoder)
        except OutOfMemory:
            return False
        return trials[part].peak <= ROOM * memory

    def found(part: int) -> StagePlan:
        return StagePlan(name, run, share, tuple(trials[p] for p in sorted(trials)), part, memory)

    fitting = [part for part in sizes[:2] if attempt(part)]
    if not fitting:
        return found(0)
    for part in reversed(sizes):
        plan = found(part)
        long = 4 * line(plan.trials, part, lambda trial: trial.seconds) > PATIENCE
        if part in fitting or (
            part not in trials and not long and plan.peak_of(part) <= ROOM * memory and attempt(part)
        ):
            return found(part)
    raise AssertionError("one of those that fit is among the sizes")


def describe(plan: StagePlan, price: float | None, processes: int) -> Iterator[str]:
    """The plan of a stage, line by line.

    Args:
        price: of an hour of one device, in whatever currency.
    """
    first, optim = plan.trials[0] if plan.trials else None, plan.run.optim
    if first is None or not plan.part:
        yield f"{plan.name}: not even the smallest part fits into {gigabytes(plan.memory)}"
        return
    yield f"{plan.name}: {first.parameters:,} parameters, {optim.steps:,} steps of {optim.batch_size}"
    yield "  at once      memory   a step"
    for part in divisors(plan.share):
        if part < first.part:
            continue
        how = "measured" if any(trial.part == part for trial in plan.trials) else "from those"
        marks = how + (", does not fit" if plan.peak_of(part) > plan.memory else "")
        yield f"  {part:7d}  {gigabytes(plan.peak_of(part)):>10}   {plan.seconds_of(part):.3g} s   {marks}"
    if len(plan.trials) > 2:
        last, (peak, seconds) = plan.trials[-1], plan.foretold()
        yield (
            f"  without its trial {last.part} would read {gigabytes(peak)}, {seconds:.3g} s: it takes "
            f"{last.peak / peak:.1f} times that memory, {plan.seconds_of(last.part) / seconds:.1f} times that time"
        )
    rate = plan.flops / plan.seconds_of(plan.part)
    yield (
        f"  arithmetic: {plan.flops / 1e9:,.3g} GFLOP a step, {rate / 1e9:,.3g} GFLOP a second: "
        f"{rate / first.rate:.0%} of what a large matrix product reaches here"
    )
    options = f"--accumulate {plan.accumulate}" if plan.accumulate > 1 else "the whole batch at once"
    yield f"  suggested for {gigabytes(plan.memory)}: {options}, {gigabytes(plan.peak_of(plan.part))}"
    if (other := plan.faster) is not None:
        yield (
            f"  faster: --accumulate {plan.share // other.part}, {plan.seconds_of(other.part):.3g} s a step, "
            f"{spell(plan.hours_of(other.part))}" + BATCH_NORMS * isinstance(plan.run, AutoencoderRun)
        )
    cost = f", {price * plan.hours * processes:,.2f} at {price:g} an hour" if price is not None else ""
    devices = f" on {processes} such devices" if processes > 1 else ""
    yield f"  time: {spell(plan.hours)}{devices}{cost}"


def gigabytes(number: float | int) -> str:
    """Bytes as a person reads them."""
    return f"{number / 1e9:.2f} GB"


def spell(hours: float) -> str:
    """Hours as a person says them."""
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def with_switches(
    run: Run, precision: Literal["no", "bf16", "fp16"] | None, compile: bool, checkpointing: bool
) -> Run:
    """The run as it would be with these switches of `lfdm train`; None and False leave it as it is."""
    loop = replace(run.loop, precision=precision or run.loop.precision, compile=compile or run.loop.compile)
    run = replace(run, loop=loop)
    return replace(run, checkpointing=True) if checkpointing and isinstance(run, DiffusionRun) else run

"""`lfdm plan`: what a preset will cost on this device, before anyone spends a night."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from .common import Flag, UsageError, parse, pick_device
from .outputs import output_file, output_folder, write_report
from .terminal import say


@dataclass(frozen=True)
class Plan:
    """Print parameters, memory by batch size, time and cost of a preset's two stages, from a few steps on this device.

    The steps see random clips, so no data is needed. Drawing or decoding clips, validation and samples come on top.
    """

    preset: Positional[Annotated[str, arg(metavar="PRESET")]]
    """One of the presets of `lfdm train`."""
    stage: Literal["both", "autoencoder", "diffusion"] = "both"
    """Which to try."""
    price: Annotated[float | None, arg(metavar="PRICE", help_behavior_hint="(default: no cost is printed)")] = None
    """Of an hour of one device, in your currency."""
    memory: Annotated[float | None, arg(metavar="GB", help_behavior_hint="(default: what this device has)")] = None
    """Gigabytes that may be filled."""
    processes: int = 1
    """Devices that share each batch."""
    precision: Annotated[Literal["no", "bf16", "fp16"] | None, arg(help_behavior_hint="(default: the preset's)")] = None
    """Of the convolutions."""
    compile: Flag = False
    """With torch.compile; the trial then takes minutes more."""
    checkpointing: Flag = False
    """Stage two keeps less for the backward pass."""
    out: Annotated[Path | None, arg(metavar="FILE.json", help_behavior_hint="(default: none)")] = None
    """The same figures as JSON."""
    profile: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: none)")] = None
    """Profile one step of each stage into FOLDER/STAGE: `profile.txt` and `profile.png`."""


def plan(arguments: list[str]) -> None:
    options = parse(Plan, "lfdm plan", arguments)
    if options.processes < 1:
        raise UsageError(f"--processes is {options.processes}; expected at least 1")
    if options.memory is not None and not 0 < options.memory < math.inf:
        raise UsageError(f"--memory is {options.memory:g}; expected gigabytes above 0")
    if options.price is not None and not 0 <= options.price < math.inf:
        raise UsageError(f"--price is {options.price:g}; expected what an hour costs, 0 or more")
    if options.out:
        output_file(options.out)
    if options.profile:
        output_folder(options.profile, "--profile")
    import torch

    from ..training import PRESETS
    from ..training.planning.plans import describe, plan_stage, spell, with_switches
    from ..training.planning.trial import try_steps

    if options.preset not in PRESETS:
        raise UsageError(f"preset {options.preset!r} is not one of: {', '.join(PRESETS)}")
    gpu = torch.cuda.is_available()  # training knows CUDA and the CPU alone
    if options.precision == "fp16" and not gpu:
        raise UsageError("--precision fp16 needs a GPU; choose bf16 or no")
    preset, device = PRESETS[options.preset], pick_device("cuda" if gpu else "cpu")
    memory = None if options.memory is None else int(options.memory * 1e9)
    model, plans = preset.autoencoder.model, {}
    stages = ("autoencoder", "diffusion") if options.stage == "both" else (options.stage,)
    for name in stages:
        run = with_switches(getattr(preset, name), options.precision, options.compile, options.checkpointing)
        found = plan_stage(name, run, model, device, options.processes, memory, tell=tell)
        say(*describe(found, options.price, options.processes), "")
        plans[name] = found
        if options.profile and found.part:
            try_steps(run, found.part, model, 1, profile=(options.profile / name).absolute())
            say(f"  profile: {options.profile / name}\n")
    if len(stages) > 1:
        say(f"both stages: {spell(sum(found.hours for found in plans.values()))}")
    if options.out:
        write_report(output_file(options.out), {name: found.figures() for name, found in plans.items() if found.part})


def tell(what: str) -> None:
    """Say what is being tried, apart from the result."""
    say(f"trying {what} …", error=True)

"""What each `lfdm` command does. Options are dataclasses, so that `--help` and the code say the same."""

from collections.abc import Callable

from .common import UsageError
from .convert import convert
from .data import data
from .evaluate import evaluate
from .generate import generate
from .info import info
from .plan import plan
from .train import train

COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "generate": generate,
    "train": train,
    "evaluate": evaluate,
    "convert": convert,
    "data": data,
    "info": info,
    "plan": plan,
}

__all__ = ["COMMANDS", "UsageError"]

"""`lfdm data`: look at a data set, write it as videos, or prepare one of the paper's for training."""

from collections.abc import Callable

from .common import pick
from .export import export
from .prepare import prepare
from .preview import preview

WHAT: dict[str, Callable[[list[str]], int | None]] = {"preview": preview, "export": export, "prepare": prepare}


def data(arguments: list[str]) -> int | None:
    what, rest = pick("lfdm data", "WHAT", tuple(WHAT), arguments)
    return WHAT[what](rest)

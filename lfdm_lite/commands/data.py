"""`lfdm data`: look at a data set, write it as videos, or prepare one of the paper's for training."""

from .export import Export, export
from .parsing import parse
from .prepare import Prepare, prepare
from .preview import Preview, preview


def data(arguments: list[str]) -> int | None:
    match parse({"preview": Preview, "export": Export, "prepare": Prepare}, "lfdm data", arguments):
        case Preview() as options:
            return preview(options)
        case Export() as options:
            return export(options)
        case Prepare() as options:
            return prepare(options)

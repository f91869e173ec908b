"""The kinds, a module for each sort of input; importing this package enters them all into `sample.KINDS`."""

from . import (
    beside,
    caches,
    checkpoints,
    films,
    flows,
    folders,
    limits,
    options,
    outputs,
    pictures,
    published,
    runs,
    tables,
    weights,
)

__all__ = [
    "beside",
    "caches",
    "checkpoints",
    "films",
    "flows",
    "folders",
    "limits",
    "options",
    "outputs",
    "pictures",
    "published",
    "runs",
    "tables",
    "weights",
]

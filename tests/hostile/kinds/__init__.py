"""The kinds, a module for each sort of input; importing this package enters them all into `sample.KINDS`."""

from . import (  # noqa: F401
    beside,
    caches,
    checkpoints,
    films,
    flows,
    folders,
    options,
    outputs,
    pictures,
    published,
    runs,
    tables,
    weights,
)

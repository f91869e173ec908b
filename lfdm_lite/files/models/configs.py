"""Configs on disk: JSON values → the dataclasses of the networks, all within bounds before anything is built."""

import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar

from ..reading import CheckpointError, one_line, shown
from ..variants import config_class

Config = TypeVar("Config")

# What a config of a checkpoint may say, by the name of its field; far above what any model of the project has.
WHOLE, NUMBER, ENTRIES, LETTERS = (0, 65_536), (-1e6, 1e6), 65_536, 1_000  # of all fields but these:
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("num_down", "region_depth", "flow_depth", "background_depth"), (0, 12)),  # halvings
    **dict.fromkeys(("blocks", "num_residual"), (0, 256)),  # layers behind one another
    **dict.fromkeys(("num_frames", "grid"), (1, 4_096)),
    **dict.fromkeys(("patch", "motion_stride"), (1, 64)),
    "num_steps": (1, 100_000),
    "image_size": (1, 8_192),
    "temperature": (1e-6, 1e6),
    "guidance_scale": (0, 1000),
}
LEVELS = 12  # entries of the lists that make a level each
PER_LEVEL = ("dim_mults", "spatial_attention", "channels", "split_heads")


def check_limits(value: Any, where: str, name: str = "") -> None:
    """Look at all numbers, texts and lists of a config, before one of them decides how much is built.

    Args:
        value: JSON values.
        where: named in errors.
        name: of the field that holds them.

    Raises:
        CheckpointError: one is out of bounds; says which, and the bounds.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            check_limits(inner, f"{where}: {key}" if not name else f"{where}.{key}", key)
    elif isinstance(value, list):
        most = LEVELS if name in PER_LEVEL else ENTRIES
        if len(value) > most:
            raise CheckpointError(f"{where} has {len(value)} entries, expected at most {most}")
        for inner in value:
            check_limits(inner, where, name)
    elif isinstance(value, str):
        if len(value) > LETTERS:
            raise CheckpointError(f"{where} is a text of {len(value)} letters, expected at most {LETTERS}")
    elif isinstance(value, bool):
        if name in LIMITS:
            raise CheckpointError(f"{where} is {value}, expected a number")
    elif isinstance(value, int | float):
        low, high = LIMITS.get(name, WHOLE if isinstance(value, int) else NUMBER)
        if not low <= value <= high:
            raise CheckpointError(f"{where} is {value}, expected a number from {low:,.10g} to {high:,.10g}")


def read_fields(config: Mapping[str, Any], names: Iterable[str], where: Any) -> tuple[Any, ...]:
    """Pick the named fields of a config that must have these and no others (beside "kind" and "format_version").

    Raises:
        CheckpointError: a field is missing or unknown.
    """
    names = list(names)
    missing = [name for name in names if name not in config]
    if missing:
        raise CheckpointError(f"{where} lacks the field {missing[0]!r}")
    unknown = [name for name in config if name not in {*names, "kind", "format_version"}]
    if unknown:
        raise CheckpointError(f"{where} has an unknown field {shown(unknown[0])}; known are: {', '.join(names)}")
    return tuple(config[name] for name in names)


def read_labels(labels: Any, count: int, where: Any) -> list[str]:
    """Check that a config's labels are `count` different names.

    Raises:
        CheckpointError: they are not.
    """
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise CheckpointError(f"{where}: labels is {shown(labels)}, expected a list of names")
    if len(labels) != count or len(set(labels)) != count:
        names = ", ".join(labels) if len(labels) <= 20 else f"{', '.join(labels[:20])}, …"
        raise CheckpointError(f"{where}: {len(labels)} labels ({names[:400]}), expected {count} different ones")
    return labels


def make_config(cls: type[Config], values: Any, where: Any) -> Config:
    """Rebuild a config dataclass from JSON values; fields that are absent keep their defaults.

    Args:
        cls: a dataclass of numbers, strings, tuples and further dataclasses.
        values: an object as `dataclasses.asdict` and JSON make it (tuples have become lists).
        where: named in errors, e.g. "config.json: autoencoder".

    Raises:
        CheckpointError: `values` is no object, has an unknown field, or a value of the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{where} is {shown(values)}, expected an object with the fields of {cls.__name__}")
    try:
        kind, values = config_class(cls, values)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from None
    hints = typing.get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.init]
    for name in values:
        if name not in known:
            raise CheckpointError(
                f"{where} has an unknown field {shown(name)}; {kind.__name__} knows: {', '.join(known)}"
            )
    arguments = {name: _decode(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**arguments)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not fit {kind.__name__}: {one_line(error)}") from None


def _decode(hint: Any, value: Any, where: str) -> Any:
    """Turn a JSON value into what a dataclass field of type `hint` holds; a bool is no number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return make_config(hint, value, where)
    if origin in (typing.Union, UnionType):
        for option in arguments:
            try:
                return _decode(option, value, where)
            except CheckpointError:
                continue
    elif origin is Literal:
        if any(type(value) is type(option) and value == option for option in arguments):
            return value
    elif hint is NoneType:
        if value is None:
            return None
    elif tuple in (hint, origin) or list in (hint, origin):
        if isinstance(value, list | tuple):
            inner = arguments[0] if arguments and (len(arguments) == 1 or arguments[-1] is Ellipsis) else None
            inners = [inner] * len(value) if inner is not None else list(arguments) or [Any] * len(value)
            if len(inners) == len(value):
                kind = list if list in (hint, origin) else tuple
                return kind(_decode(i, v, f"{where}[{n}]") for n, (i, v) in enumerate(zip(inners, value, strict=True)))
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif hint in (bool, str):
        if isinstance(value, hint):
            return value
    else:
        return value
    name = getattr(hint, "__name__", None) if not arguments else str(hint).replace("typing.", "")
    raise CheckpointError(f"{where} is {shown(value)}, expected {name}")

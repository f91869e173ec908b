"""Checkpoint folders: `model.safetensors` and `config.json`.

They are written so that a reader never meets half a file. Everything that can be wrong with one ends in a
`CheckpointError` of one line: what was found, what was expected.
"""

import json
import os
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 1  # raised when a folder written today could not be read by an older library

Config = TypeVar("Config")


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be read, said in one line."""


# ---------------------------------------------------------------- writing


def write_atomically(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place in one step.

    Whoever reads `path`, even after a crash in the middle, finds the old file or the new one, whole.

    Args:
        path: the file to create or replace; its folder must exist.
        write: called once with the temporary path; if it raises, `path` is left as it was.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, values: Any) -> None:
    """Write `values` as indented JSON, atomically."""
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_module(
    folder: str | Path, module: nn.Module, kind: str, config: Mapping[str, Any], dtype: torch.dtype | None = None
) -> Path:
    """Write a module's weights and the config that rebuilds it into `folder`.

    Args:
        folder: created if needed; other files in it are left alone.
        module: its `state_dict` is stored.
        kind: what the folder holds, e.g. "LFDM"; `read_config` refuses another kind.
        config: JSON values. "kind" and "format_version" are added.
        dtype: store the parameters (never the buffers) in this precision, e.g. `torch.float16`; None keeps theirs.

    Returns:
        The folder.

    Raises:
        ValueError: if `dtype` is not a floating-point type.
    """
    from safetensors.torch import save_file

    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype {dtype} is not a floating-point type, such as torch.float16 or torch.float32")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"cannot save a checkpoint to {folder}: it is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    tensors = {
        name: tensor.detach().to(dtype=dtype if name in parameters else None, device="cpu", copy=True).contiguous()
        for name, tensor in module.state_dict().items()
    }
    # The weights go first: until config.json is there, a new folder does not look like a checkpoint.
    write_atomically(folder / WEIGHTS_FILE, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))
    write_json(folder / CONFIG_FILE, {"kind": kind, "format_version": FORMAT_VERSION, **config})
    return folder


# ---------------------------------------------------------------- reading


def read_json(path: str | Path) -> Any:
    """The values in a JSON file.

    Raises:
        CheckpointError: it cannot be read, or is no JSON.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise CheckpointError(f"{path} is no file")
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise CheckpointError(f"{path} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None


def read_config(folder: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Read a checkpoint folder's `config.json`.

    Args:
        folder: a folder written by `save_module`.
        kind: what the folder must hold; None accepts any kind.

    Raises:
        CheckpointError: no such folder, no config in it, invalid JSON, another kind, or a newer format.
    """
    folder = Path(folder)
    if not folder.exists():
        raise CheckpointError(f"no checkpoint folder at {folder}: there is nothing of that name")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a checkpoint is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"no checkpoint in {folder}: it has no {CONFIG_FILE}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not valid JSON: it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a JSON {type(config).__name__}, expected an object")
    if kind is not None and config.get("kind") != kind:
        raise CheckpointError(f"{path} is of kind {config.get('kind')!r}, expected {kind!r}")
    version = config.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(f"{path} has format_version {version!r}; this lfdm_lite reads 1 to {FORMAT_VERSION}")
    return config


def read_fields(config: Mapping[str, Any], names: Iterable[str], where: str | Path) -> tuple[Any, ...]:
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
        raise CheckpointError(f"{where} has an unknown field {unknown[0]!r}; known are: {', '.join(names)}")
    return tuple(config[name] for name in names)


def read_labels(labels: Any, count: int, where: str | Path) -> list[str]:
    """Check that a config's labels are `count` different names.

    Raises:
        CheckpointError: they are not.
    """
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise CheckpointError(f"{where}: labels is {labels!r}, expected a list of names")
    if len(labels) != count or len(set(labels)) != count:
        raise CheckpointError(f"{where}: {len(labels)} labels ({', '.join(labels)}), expected {count} different ones")
    return labels


def make_config(cls: type[Config], values: Any, where: str | Path) -> Config:
    """Rebuild a config dataclass from JSON values; fields that are absent keep their defaults.

    Args:
        cls: a dataclass of numbers, strings, tuples and further dataclasses.
        values: an object as `dataclasses.asdict` and JSON make it (tuples have become lists).
        where: named in errors, e.g. "config.json: autoencoder".

    Raises:
        CheckpointError: `values` is no object, has an unknown field, or a value of the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{where} is {values!r}, expected an object with the fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    known = [field.name for field in fields(cls) if field.init]
    for name in values:
        if name not in known:
            raise CheckpointError(f"{where} has an unknown field {name!r}; {cls.__name__} knows: {', '.join(known)}")
    arguments = {name: _decode(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not fit {cls.__name__}: {_one_line(error)}") from None


def _decode(hint: Any, value: Any, where: str) -> Any:
    """Turn a JSON value into what a dataclass field of type `hint` holds."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return make_config(hint, value, where)
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            try:
                return _decode(option, value, where)
            except CheckpointError:
                continue
    elif origin is Literal:
        if value in arguments:
            return value
    elif hint is type(None):
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
        if isinstance(value, int | float) and not isinstance(value, bool):
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
    raise CheckpointError(f"{where} is {value!r}, expected {name}")


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint folder's `model.safetensors` onto the CPU.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"no weights in {folder}: it has no {WEIGHTS_FILE}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {_one_line(error)}") from None


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy tensors into a module, in the module's own precision; every name and shape must agree.

    Raises:
        CheckpointError: a tensor is missing, extra or misshapen (the first is named, with both shapes).
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    for name, tensor in expected.items():
        if name in tensors and tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{where}: tensor {name!r} has shape {_shape(tensors[name])}, expected {_shape(tensor)}"
            )
    if missing:
        name = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(f"{where}: tensor {name!r} of shape {_shape(expected[name])} is missing{more}")
    if extra:
        more = f" (and {len(extra) - 1} more)" if len(extra) > 1 else ""
        raise CheckpointError(f"{where}: unexpected tensor {extra[0]!r} of shape {_shape(tensors[extra[0]])}{more}")
    module.load_state_dict(dict(tensors), strict=True)


def build(make: Callable[[], nn.Module], where: str | Path) -> nn.Module:
    """Build a network from a config that was read from disk; what its constructor refuses is a fault of the file."""
    try:
        return make()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f"{where} does not describe a model: {_one_line(error)}") from None


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Checkpoint folders: `model.safetensors`, with a copy of the config in it, and `config.json`.

A folder is replaced in one step, the renaming of the weights: they carry their own config. `config.json`, which people
and the Hub read and may edit, names the fingerprint of its weights. One that names other weights was left behind by a
save that was killed, and the copy in the weights counts. Everything that can be wrong ends in a `CheckpointError` of
one line: what was found, what was expected.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .atomic import write_atomically, write_json
from .models.configs import check_limits
from .models.weights import (
    Network,
    WithoutMemory,
    build,
    check_finite,
    check_fit,
    fingerprint,
    load_weights,
    plain_names,
    precision,
    read_header,
    read_safetensors,
    write_safetensors,
)
from .reading import CheckpointError, parse_json, read_json, shown

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 2  # raised when a folder written today could not be read by an older library; 1 had no fingerprints
COPY, REPLACED = "config", "replaced"  # in the metadata of the weights: config.json; hash of one of format 1 before it


# ---------------------------------------------------------------- writing


def save_module(
    folder: str | Path,
    module: nn.Module,
    kind: str,
    config: Mapping[str, Any],
    dtype: torch.dtype | str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a module's weights and the config that rebuilds it into `folder`, in one step.

    Args:
        folder: created if needed; other files in it are left alone.
        module: its `state_dict` is stored, without the names that wrappers of torch put in.
        kind: what the folder holds, e.g. "LFDM"; `read_config` refuses another kind.
        config: JSON values. "kind", "format_version" and "weights" are added.
        dtype: store the parameters (never the buffers) in this precision, e.g. `torch.float16`; None keeps theirs.
        overwrite: also replace what is no checkpoint of this kind.

    Returns:
        The folder.

    Raises:
        ValueError: `dtype` is no floating-point type, the folder is a file or holds another kind of model, or what
            would be written could not be read back: a number that is infinite or none, or out of bounds.
    """
    dtype = None if dtype is None else precision(dtype)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"cannot save a checkpoint to {folder}: it is a file, not a folder")
    if not overwrite:
        check_free(folder, kind)
    tensors = to_store(module, dtype, folder)
    head = {"kind": kind, "format_version": FORMAT_VERSION, "weights": fingerprint(tensors)}
    text = json.dumps(head | dict(config))
    values = parse_json(text, f"the config for {folder}")
    check_limits(values, f"the config for {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", COPY: text} | of_format_1(folder)
    # From the first of these on the folder holds the new model; until config.json is there, a new folder holds none.
    write_atomically(folder / WEIGHTS_FILE, lambda temporary: write_safetensors(temporary, tensors, metadata))
    write_json(folder / CONFIG_FILE, values)
    return folder


def to_store(module: nn.Module, dtype: torch.dtype | None, where: Any) -> dict[str, Tensor]:
    """Copies of a module's tensors as they are stored: plain names, contiguous, on the CPU, finite.

    Raises:
        CheckpointError: a number is infinite or none, or becomes it in `dtype`.
    """
    state = module.state_dict()
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    tensors = {
        plain: state[name].detach().to("cpu", dtype if name in parameters else None, copy=True).contiguous()
        for plain, name in plain_names(state, where).items()
    }
    check_finite(tensors, f"not saved to {where}")
    return tensors


def of_format_1(folder: Path) -> dict[str, str]:
    """The hash of a config.json that names no weights, by which it is known should it stay behind."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        named = "weights" in read_json(path)
    except (CheckpointError, TypeError):
        named = False
    return {} if named else {REPLACED: hash_of(path)}


def check_free(folder: str | Path, kind: str | None = None) -> None:
    """Raise if a checkpoint in `folder` would be lost by saving one of this kind there.

    Args:
        kind: what may be replaced; None: nothing.

    Raises:
        CheckpointError: the folder holds a checkpoint, of another kind or of none that can be read.
    """
    folder = Path(folder)
    there = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if os.path.lexists(folder / name)]
    if not there:
        return
    try:
        found = (read_config(folder) if CONFIG_FILE in there else stored_copy(folder)[0]).get("kind")
    except CheckpointError:
        found = None
    if kind is None or found != kind:
        holds = (
            f"a checkpoint of kind {shown(found)}" if isinstance(found, str) else f"a {there[0]} that is none of ours"
        )
        raise CheckpointError(f"{folder} holds {holds}, which would be lost; choose another folder, or empty this one")


# ---------------------------------------------------------------- reading


def read_config(folder: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Read what a checkpoint folder's weights are: its `config.json`, or their own copy if it belongs to others.

    Args:
        folder: a folder written by `save_module`.
        kind: what the folder must hold; None accepts any kind.

    Raises:
        CheckpointError: no such folder, no config in it, invalid JSON, another kind, a newer format, or values out of
            bounds.
    """
    folder = Path(folder)
    if not folder.exists():
        raise CheckpointError(f"no checkpoint folder at {folder}: there is nothing of that name")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a checkpoint is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    path = folder / CONFIG_FILE
    if not path.exists():
        raise CheckpointError(f"no checkpoint in {folder}: it has no {CONFIG_FILE}")
    config, (copy, replaced) = read_json(path, "the config of a checkpoint"), stored_copy(folder)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a JSON {type(config).__name__}, expected an object")
    left_behind = config["weights"] != copy.get("weights") if "weights" in config else replaced == hash_of(path)
    if copy and left_behind:
        config, path = copy, folder / WEIGHTS_FILE
    if kind is not None and config.get("kind") != kind or not isinstance(config.get("kind"), str):
        wanted = "the name of a kind" if kind is None else repr(kind)
        raise CheckpointError(f"{path} is of kind {shown(config.get('kind'))}, expected {wanted}")
    version = config.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(f"{path} has format_version {shown(version)}; this lfdm_lite reads 1 to {FORMAT_VERSION}")
    check_limits(config, str(path))
    return {name: value for name, value in config.items() if name != "weights"}


def stored_copy(folder: Path) -> tuple[dict[str, Any], str | None]:
    """The config that a folder's weights carry, empty if there is none; and the hash of the one of format 1 before it.

    Raises:
        CheckpointError: the weights are damaged.
    """
    path = folder / WEIGHTS_FILE
    if not path.exists():
        return {}, None
    _, metadata = read_header(path)
    if COPY not in metadata:
        return {}, None
    config = parse_json(metadata[COPY], f"{path}: its config")
    if not isinstance(config, dict) or not isinstance(config.get("weights"), str):
        raise CheckpointError(f"{path}: its config is {shown(config)}, expected an object with a fingerprint")
    return config, metadata.get(REPLACED)


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint folder's `model.safetensors` onto the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, no safetensors file, or has changed since it was written.
    """
    path = Path(folder) / WEIGHTS_FILE
    if not path.exists():
        raise CheckpointError(f"no weights in {folder}: it has no {WEIGHTS_FILE}")
    (copy, _), tensors = stored_copy(Path(folder)), read_safetensors(path)
    if copy and copy["weights"] != fingerprint(tensors):
        raise CheckpointError(f"{path} is damaged: its numbers are not those that were written; take another copy")
    return tensors


def load_module(folder: str | Path, make: Callable[[], Network]) -> Network:
    """The module that `make` builds, with a folder's weights in it.

    It is built twice, first without memory: what the weights' header does not confirm is never allocated. If
    another process replaces the folder meanwhile, all is read again.

    Args:
        folder: a folder written by `save_module`.
        make: builds the module that the folder's config describes; it reads the config itself.

    Raises:
        CheckpointError: the folder does not hold a whole, fitting checkpoint.
    """
    weights = Path(folder) / WEIGHTS_FILE
    while True:
        before = identity(weights)
        try:
            module = read_module(Path(folder), make)
        except CheckpointError:
            if identity(weights) == before:
                raise
        else:
            if identity(weights) == before:
                return module


def read_module(folder: Path, make: Callable[[], Network]) -> Network:
    """`load_module` of a folder that stays as it is."""
    with WithoutMemory():
        sketch = build(make, folder / CONFIG_FILE)
    path = folder / WEIGHTS_FILE
    if path.exists():
        header, _ = read_header(path)
        check_fit(sketch.state_dict(), {p: header[n] for p, n in plain_names(header, path).items()}, path)
    tensors = read_tensors(folder)
    module = build(make, folder / CONFIG_FILE)
    load_weights(module, tensors, path)
    return module


def hash_of(path: Path) -> str:
    """The SHA-256 of a small file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that replaces it; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

"""What `torch.save` wrote, such as `.pth`, and pickles of numpy's arrays: nothing in them is run, damage is noticed."""

import contextlib
import io
import math
import pickle
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..reading import CheckpointError, one_line, regular_file, shown

MEMBERS = r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
MAX_PICKLE = 64_000_000  # bytes of the names and counters in a file; those of the authors have less than one


def read_pickle(path: str | Path, what: str) -> Any:
    """What `torch.save` wrote, on the CPU; tensors are mapped from the file, not copied.

    Nothing but tensors, plain containers and numpy's numbers is unpickled, so that a file cannot run code. Its
    checksums are compared; files that torch wrote before 1.6 have none.

    Args:
        what: it should be; ends the message if there is no such file.

    Raises:
        CheckpointError: no such file, a truncated, damaged or foreign one, or one that holds more.
    """
    path = regular_file(path, what)
    in_zip = check_members(path)
    try:
        with numbers_of_numpy():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"{found[1]}" if found else one_line(error).partition("WeightsUnpickler error: ")[2] or "no pickle"
        raise CheckpointError(
            f"{path} was refused and nothing in it was run: it holds more than tensors and plain containers ({what})"
        ) from None
    except Exception as error:  # whatever torch trips over, the file is to blame
        raise CheckpointError(f"{path} is truncated or no file of torch.save: {one_line(error)}") from None


def check_members(path: Path) -> bool:
    """Look whether a zip archive is whole and holds what `torch.save` puts there; False if it is none, as before 1.6.

    torch.load with mmap=True looks at no checksum (torch 2.13), zipfile does, in 1 s a gigabyte.

    Raises:
        CheckpointError: it is not.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\3\4":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            times = Counter(member.filename for member in members)
            for member in members:
                plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
                if not re.fullmatch(MEMBERS, member.filename) or not plain or times[member.filename] > 1:
                    why = "twice" if times[member.filename] > 1 else "in a way that torch.save does not write"
                    raise CheckpointError(f"{path} holds {shown(member.filename)} {why}; it was not read further")
                if member.filename.endswith(".pkl") and member.file_size > MAX_PICKLE:
                    raise CheckpointError(f"{path} holds {member.file_size:,} bytes of names; expected {MAX_PICKLE:,}")
            if len({member.filename.partition("/")[0] for member in members}) > 1:
                raise CheckpointError(f"{path} holds several folders; torch.save writes one")
            damaged = archive.testzip()
    except CheckpointError:
        raise
    except Exception as error:  # zipfile raises of damaged archives what it meets: BadZipFile, zlib.error, EOFError, …
        raise CheckpointError(f"{path} is truncated or no file of torch.save: {one_line(error)}") from None
    if damaged:
        raise CheckpointError(f"{path} is damaged: the checksum of {shown(damaged)} is wrong; take another copy")
    return True


def numbers_of_numpy() -> contextlib.AbstractContextManager[None]:
    """Inside, counters and scores may be numbers of numpy, by the names that numpy 1 and numpy 2 save them under.

    These make a number of bytes and run nothing. torch can be told so from 2.6 on; before, such files are refused.
    """
    if torch.__version__ < (2, 6):  # type: ignore[operator]  # torch says that it is a text alone
        return contextlib.nullcontext()
    core = getattr(np, "_core", None) or np.core
    scalar = [(core.multiarray.scalar, f"numpy.{name}.multiarray.scalar") for name in ("core", "_core")]
    types = [type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")]
    return torch.serialization.safe_globals([*scalar, np.dtype, *types])


class PickledType:
    """Stands in for `numpy.dtype`: the name of a plain number and, as its state, an order of bytes."""

    NAMES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    order = "|"

    def __init__(self, name: Any, *flags: Any) -> None:
        if name not in self.NAMES:
            raise CheckpointError(f"it holds more than arrays of plain numbers (type {shown(name)})")
        self.name = name

    def __setstate__(self, state: Any) -> None:
        match state:
            case (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
                self.order = order
            case _:
                raise CheckpointError(f"it holds more than arrays of plain numbers (type {shown(state)})")


class PickledArray:
    """Stands in for `numpy.ndarray` and for what makes one, so that no state of an array reaches numpy unchecked."""

    array: np.ndarray | None = None

    def __init__(self, *empty: Any) -> None:
        """numpy pickles an array as an empty one, which is of no use here, and the state to be set."""

    def __setstate__(self, state: Any) -> None:
        match state:
            case (1, tuple(shape), PickledType() as kind, bool(fortran), bytes(content)):
                number = np.dtype(f"{kind.order}{kind.name}")
            case _:
                raise CheckpointError("it holds an array in a form that numpy does not write for plain numbers")
        whole = all(type(size) is int and size >= 0 for size in shape)
        if not whole or math.prod(shape) * number.itemsize != len(content):
            raise CheckpointError(
                f"it holds {len(content):,} bytes for an array of {number.name} of shape {shown(shape)}"
            )
        order: Literal["F", "C"] = "F" if fortran else "C"
        self.array = np.frombuffer(content, number).reshape(shape, order=order).copy(order)


class ArrayUnpickler(pickle.Unpickler):
    """Makes plain containers and stand-ins for arrays; whatever else a pickle names is refused before it is touched."""

    MADE = {
        ("numpy.core.multiarray", "_reconstruct"): PickledArray,  # numpy 1
        ("numpy._core.multiarray", "_reconstruct"): PickledArray,  # numpy 2
        ("numpy", "ndarray"): PickledArray,
        ("numpy", "dtype"): PickledType,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.MADE[module, name]
        except KeyError:
            raise CheckpointError(f"it holds more than numpy's arrays ({shown(f'{module}.{name}')})") from None


def read_arrays(content: bytes, where: str) -> Any:
    """What a pickle of plain containers and numpy's arrays of plain numbers holds; nothing in it is run.

    Args:
        where: named in errors.

    Returns:
        a nest of dict, list and tuple with str, int, float, bool, None and arrays of numbers in it.

    Raises:
        CheckpointError: it is truncated or no pickle, or holds more.
    """
    try:
        return _with_arrays(ArrayUnpickler(io.BytesIO(content)).load(), {})
    except CheckpointError as error:
        raise CheckpointError(f"{where} was refused and nothing in it was run: {error}") from None
    except Exception as error:  # whatever pickle and numpy trip over, the content is to blame
        raise CheckpointError(f"{where} is truncated or no pickle: {one_line(error)}") from None


def _with_arrays(tree: Any, done: dict[int, Any]) -> Any:
    """The nest with arrays in the place of their stand-ins; what it holds twice is looked at once, by its `id`."""
    if id(tree) in done:
        return done[id(tree)]
    made: Any
    if type(tree) is dict:
        made = {_with_arrays(name, done): _with_arrays(inner, done) for name, inner in tree.items()}
    elif type(tree) in (list, tuple):
        made = type(tree)(_with_arrays(inner, done) for inner in tree)
    elif type(tree) is PickledArray and tree.array is not None:
        made = tree.array
    elif tree is None or type(tree) in (str, int, float, bool):
        made = tree
    else:
        raise CheckpointError(f"it holds more than plain containers and numpy's arrays ({type(tree).__name__})")
    done[id(tree)] = made
    return made

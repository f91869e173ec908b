"""What `torch.save` wrote, such as `.pth` files: read without running anything in them, damage noticed."""

import contextlib
import pickle
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

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


def numbers_of_numpy() -> contextlib.AbstractContextManager:
    """Inside, counters and scores may be numbers of numpy, by the names that numpy 1 and numpy 2 save them under.

    These make a number of bytes and run nothing. torch can be told so from 2.6 on; before, such files are refused.
    """
    if torch.__version__ < (2, 6):
        return contextlib.nullcontext()
    core = getattr(np, "_core", None) or np.core
    scalar = [(core.multiarray.scalar, f"numpy.{name}.multiarray.scalar") for name in ("core", "_core")]
    types = [type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")]
    return torch.serialization.safe_globals([*scalar, np.dtype, *types])

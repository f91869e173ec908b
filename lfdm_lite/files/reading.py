"""What every reader of files asks first: is it a file, of a size that one can hold, and is its JSON such as we write?

Nothing here needs torch.
"""

import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAX_JSON = 16_000_000  # bytes of a JSON file; the largest that the project writes has 1 MB
MAX_NESTING = 40  # objects and lists within one another in it
MAX_DIGITS = 20  # of a whole number in it: those of 64 bits
DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # let a text read in another order


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, said in one line."""


def regular_file(
    path: str | Path, what: str, *, most: int | None = None, error: type[ValueError] = CheckpointError
) -> Path:
    """The path, if a file lies there: no folder, and no pipe, socket or device, which would block or never end.

    Args:
        path: it is looked at, not opened.
        what: it should be, e.g. "one of the authors' .pth checkpoints"; ends the message.
        most: bytes that it may have.
        error: class of what is raised.

    Raises:
        CheckpointError, or `error`: no file, or a larger one.
    """
    path = Path(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{path}: no such file; expected {what}") from None
    except (OSError, ValueError) as problem:  # a ValueError is a null character in the name
        raise error(f"{str(path)!r} cannot be opened ({one_line(problem)}); expected {what}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise error(f"{path}: {kind}, not a file; expected {what}")
    if not os.access(path, os.R_OK):
        raise error(f"{path}: cannot be read; check its permissions")
    if most is not None and found.st_size > most:
        raise error(f"{path}: {found.st_size:,} bytes, more than {most:,}; expected {what}")
    return path


def read_json(path: str | Path, what: str = "a JSON file", *, error: type[ValueError] = CheckpointError) -> Any:
    """The values in a JSON file: UTF-8, finite numbers, every name once in its object.

    Args:
        what: it should be; ends the message if no such file can be read.
        error: class of what is raised.

    Raises:
        CheckpointError, or `error`: it cannot be read, or is no such JSON.
    """
    path = regular_file(path, what, most=MAX_JSON, error=error)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"{path} cannot be read ({one_line(problem)}); expected {what}") from None
    return parse_json(content, str(path), error=error)


def parse_json(content: bytes | str, where: str, *, error: type[ValueError] = CheckpointError) -> Any:
    """`read_json` of what is in memory already; `where` is named in errors."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        values = json.loads(
            text, object_pairs_hook=_each_once, parse_constant=_finite, parse_float=_finite, parse_int=_short_enough
        )
        _check_nesting(values)
    except UnicodeDecodeError:
        raise error(f"{where} is not valid JSON: it is not UTF-8 text") from None
    except RecursionError:
        raise error(f"{where} is nested more than {MAX_NESTING} deep") from None
    except ValueError as problem:
        raise error(f"{where} is not valid JSON: {one_line(problem)}") from None
    return values


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {shown(next(n for n in names if names.count(n) > 1))} stands there twice")
    return values


def _finite(text: str) -> float:
    number = float(text.replace("Infinity", "inf"))
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is no finite number")
    return number


def _short_enough(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def _check_nesting(values: Any, depth: int = 1) -> None:
    if depth > MAX_NESTING:
        raise RecursionError
    for value in values.values() if isinstance(values, dict) else values if isinstance(values, list) else ():
        if isinstance(value, dict | list):
            _check_nesting(value, depth + 1)


def printable(text: str) -> str:
    """The text with control characters as escapes, all but tab and new line: a terminal would obey them."""
    return "".join(f"\\u{ord(c):04x}" if is_control(c) else c for c in text)


def is_control(c: str) -> bool:
    """Whether a terminal does something at a character other than showing it."""
    if c in "\t\n":
        return False
    return unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in DIRECTIONS


def shown(value: Any, most: int = 80) -> str:
    """A value for a message: its repr, cut short."""
    text = repr(value) if not isinstance(value, str) else repr(value[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def one_line(problem: BaseException, most: int = 200) -> str:
    """What an error says, in one line, cut short, without control characters.

    And without the path that Pillow (13.0) repeats: our messages begin with it.
    """
    text = " ".join(str(getattr(problem, "strerror", None) or problem).split()) or type(problem).__name__
    text = re.sub(r"^(cannot identify image file) '.*'$", r"\1", text)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""What `lfdm` prints, and how: names and texts of data can move no cursor and hide nothing."""

import sys
from typing import Any

from ..files.reading import printable


def say(*lines: Any, error: bool = False) -> None:
    """Print lines, to stderr if they are no result. All that a command prints goes through here."""
    for line in lines:
        print(printable(str(line)), file=sys.stderr if error else sys.stdout, flush=True)


def one_line(text: str, most: int = 500) -> str:
    """A text as one line of at most `most` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

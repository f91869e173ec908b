"""What `lfdm` prints, and how: names and texts of data can move no cursor and hide nothing."""

import sys
import unicodedata
from typing import Any

DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # let a text read in another order


def say(*lines: Any, error: bool = False) -> None:
    """Print lines, to stderr if they are no result. All that a command prints goes through here."""
    for line in lines:
        print(printable(str(line)), file=sys.stderr if error else sys.stdout, flush=True)


def printable(text: str) -> str:
    """The text with control characters as escapes, all but tab and new line: a terminal would obey them."""
    return "".join(f"\\u{ord(c):04x}" if is_control(c) else c for c in text)


def is_control(c: str) -> bool:
    """Whether a terminal does something at a character other than showing it."""
    if c in "\t\n":
        return False
    return unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in DIRECTIONS


def one_line(text: str, most: int = 500) -> str:
    """A text as one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

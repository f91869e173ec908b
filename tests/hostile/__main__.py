"""`python -m tests.hostile [NUMBER | WORD ...]` runs samples and prints what is wrong with each.

A number is one sample; a word stands for the first two of each kind with that word in its name or its module's. Without
any, the 150 of a usual run.
"""

import sys
import tempfile
from pathlib import Path

from .sample import KINDS
from .session import Session, name_of


def numbers_of(word: str) -> list[int]:
    if word.isdigit():
        return [int(word)]
    named = [
        i for i, (name, make) in enumerate(KINDS.items()) if word in f"{make.__module__.rpartition('.')[2]} {name}"
    ]
    return [*named, *(i + len(KINDS) for i in named)]


def main(words: list[str]) -> int:
    numbers = sorted({number for word in words for number in numbers_of(word)}) or list(range(150))
    with tempfile.TemporaryDirectory() as folder:
        session, bad = Session(Path(folder), numbers), 0
        try:
            for number, future in session.found.items():
                command, found = future.result()
                if found:
                    bad += 1
                    print(f"{number} {name_of(number)}: lfdm {command!r}"[:400])
                    print("\n".join(f"    {line[:300]}" for line in found), flush=True)
        finally:
            session.close()
    print(f"{bad} of {len(numbers)} went wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

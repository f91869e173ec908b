"""`python -m tests.hostile [FIRST [LAST]]` runs these samples again and prints what is wrong with each."""

import sys
import tempfile
from pathlib import Path

from .session import Session, name_of


def main(first: int = 0, last: int | None = None) -> int:
    numbers = range(first, (first if last is None else last) + 1) if len(sys.argv) > 1 else range(150)
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
    sys.exit(main(*map(int, sys.argv[1:])))

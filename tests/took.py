"""Run a command and note how long it took: `python -m tests.took ROW[/PART] COMMAND ...`.

The Makefile runs its stages so. A note is a small file below `_build/minutes/`, a later run of the same part replaces
it, and `python -m tests.budgets` adds up the parts of each row. A command that fails leaves no note.
"""

import subprocess
import sys
import time
from pathlib import Path

NOTES = Path(__file__).parents[1] / "_build" / "minutes"


def main(part: str, *command: str, notes: Path = NOTES) -> int:
    """The exit status of the command, as a shell would give it."""
    began = time.monotonic()
    try:
        code = subprocess.call(command)
    except KeyboardInterrupt:
        return 130
    if code == 0:
        note = notes / part.replace("/", ".")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{time.monotonic() - began:.1f}\n", encoding="utf-8")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

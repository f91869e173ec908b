"""The command gets little memory, less and more of it: `python -m tests.little_memory 0 20 40 80`.

For each number, a process that has loaded everything may have as many megabytes more (the shell's `ulimit -v`), and
makes a clip or trains. It prints what became of it, as JSON.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import tempfile
from pathlib import Path
from typing import NamedTuple

from lfdm_lite import cli

WORDS = {
    "generate": "generate assets/examples/person_a.png --label fear --seed 0 --steps 2 --out {out}/clip.gif",
    "mp4": "generate assets/examples/person_a.png --label fear --seed 0 --steps 2 --out {out}/clip.mp4",
    "train": "train judge --preset tiny --no-progress --out {out}/run",
    "info": "info",
}


class Outcome(NamedTuple):
    megabytes: int
    status: int  # of the command; negative: the signal that ended it
    errors: list[str]  # lines in which the command tells of one
    files: list[str]  # below the folder that the command writes to


def address_space() -> int:
    """Bytes that this process has, touched or not."""
    found = re.search(r"^VmSize:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(found[1])


def attempt(words: str, megabytes: int) -> Outcome:
    """Run the command in a process of its own, which ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        said, out = Path(folder, "said"), Path(folder, "out")
        out.mkdir()
        child = os.fork()
        if not child:
            with open(said, "wb", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            status = 99
            with contextlib.suppress(BaseException):
                resource.setrlimit(resource.RLIMIT_AS, (address_space() + megabytes * 2**20,) * 2)
                status = cli.main(words.format(out=out).split())
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        lines = re.split(r"[\r\n]", said.read_text(encoding="utf-8", errors="replace"))
        errors = [line for line in lines if line.startswith("lfdm: error")]
        return Outcome(megabytes, status, errors, sorted(str(p.relative_to(out)) for p in out.rglob("*.*")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", type=int, nargs="+")
    parser.add_argument("--command", choices=WORDS, default="generate")
    options = parser.parse_args()
    with contextlib.redirect_stdout(None), tempfile.TemporaryDirectory() as folder:
        cli.main(WORDS[options.command].format(out=folder).split())  # what it needs is loaded now
    print(json.dumps([attempt(WORDS[options.command], megabytes)._asdict() for megabytes in options.megabytes]))


if __name__ == "__main__":
    main()

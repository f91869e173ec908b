"""The command writes to a disk that is full, nearly full, or read-only: `unshare -m python -m tests.small_disk FOLDER`.

A file system in memory is laid over an empty folder, for this process alone; without root's rights, `unshare -rm` gives
them. It prints what became of each command, as JSON.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from lfdm_lite import cli

GENERATE = "generate assets/examples/person_a.png --label {label} --seed 0 --steps 2 --out {to}"
TRAIN = "train judge --preset tiny --no-progress --out {to}"
EXPORT = "data export faces --clips 3 --out {to}"


class Outcome(NamedTuple):
    case: str
    status: int  # of the command
    error: str  # its lines on stderr that tell of one
    files: dict[str, str]  # on the disk, and a checksum of each


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(folder)], check=True)


def fill(folder: Path, kilobytes: int) -> None:
    """Leave the disk as much room."""
    room = os.statvfs(folder)
    (folder / "fill").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - 1024 * kilobytes)))


def content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "fill")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(case: str, words: str, folder: Path) -> Outcome:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(None):
        status = cli.main(words.split())
    told = [line for line in errors.getvalue().splitlines() if line.startswith("lfdm: error")]
    return Outcome(case, status, "\n".join(told), content(folder))


def main(folder: Path) -> None:
    mount(folder, "-t", "tmpfs", "-o", "size=8m", "none")
    clip, film, trained, exported = (folder / name for name in ("clip.gif", "film.mp4", "run", "set"))
    done = [run("room", GENERATE.format(label="fear", to=clip), folder)]
    for room in (0, 8):
        fill(folder, room)
        done += [
            run(f"clip {room}", GENERATE.format(label="surprise", to=clip), folder),
            run(f"film {room}", GENERATE.format(label="surprise", to=film), folder),
            run(f"export {room}", EXPORT.format(to=exported), folder),
            run(f"training {room}", TRAIN.format(to=trained), folder),
        ]
        (folder / "fill").unlink()
    resume = " --resume" * (trained / "recipe.json").exists()
    done += [run("training", TRAIN.format(to=trained) + resume, folder)]
    done += [run("export", EXPORT.format(to=exported), folder)]
    mount(folder, "-o", "remount,ro")
    for words, name in ((GENERATE, clip), (TRAIN, folder / "two"), (EXPORT, exported)):
        done += [run(f"{name.stem} read-only", words.format(label="anger", to=name), folder)]
    print(json.dumps([outcome._asdict() for outcome in done], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

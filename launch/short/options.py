"""What the short run can be asked for."""

import argparse
import errno
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command was asked for."""

    minutes: float  # of everything, from `began` on
    max_bytes: int  # of a file that is left
    preset: str
    device: str  # auto, cuda or cpu
    out: Path  # what is left
    work: Path  # checkpoints, clips, what the parts print
    clips: int  # to measure on
    seed: int
    compile: bool  # try torch.compile too
    began: float  # as time.time() has it
    command: str


def parsed(words: list[str]) -> Options:
    """The options, with both folders made; what makes no sense ends here, in one line."""
    parser = argparse.ArgumentParser("launch/short_gpu.sh", description="A whole run in minutes, in slices of time.")
    parser.add_argument("--minutes", type=float, default=9.0, help="all of it, from the start of the command (9)")
    parser.add_argument("--max-file", type=float, default=15.0, help="megabytes of a file that is left (15)")
    parser.add_argument("--preset", default="faces128s", help="what is trained (faces128s)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--out", type=Path, default=Path("runs/short_gpu"), help="folder that is left (runs/short_gpu)")
    parser.add_argument("--work", type=Path, help="folder of checkpoints and clips, gigabytes (the former with .work)")
    parser.add_argument("--clips", type=int, default=96, help="test clips to measure on, if there is time (96)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and steps (0)")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="do not try torch.compile")
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    out = Path(os.path.abspath(given.out))  # without dots, so that it has a name
    work = Path(os.path.abspath(given.work or out.parent / f"{out.name}.work"))
    shown = [word for i, word in enumerate(words) if "--began" not in (word, words[i - 1] if i else "")]
    for name, value, least in (("minutes", given.minutes, 0.5), ("max-file", given.max_file, 0.05)):
        if not least <= value <= 10_000:
            parser.error(f"--{name} is {value:g}; expected {least:g} to 10000")
    if given.clips < 12:
        parser.error(f"--clips is {given.clips}; expected at least 12")
    real = [Path(os.path.realpath(path)) for path in (out, work)]
    if real[0].is_relative_to(real[1]) or real[1].is_relative_to(real[0]):
        parser.error(f"--out is {out}, --work {work}; expected two folders, neither inside the other")
    try:
        for path in (out, work):
            if path.exists() and not path.is_dir():
                parser.error(f"{path} is a file; expected a new or an empty folder")
            if path.is_dir() and any(os.scandir(path)):
                parser.error(f"{path} is not empty; choose another --out or --work, or empty it")
        make(out, work)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}; choose another --out or --work")
    return Options(
        minutes=given.minutes,
        max_bytes=int(given.max_file * 1e6),
        preset=given.preset,
        device=given.device,
        out=out,
        work=work,
        clips=given.clips,
        seed=given.seed,
        compile=given.compile,
        began=given.began,
        command=shlex.join(["launch/short_gpu.sh", *shown]),
    )


def make(*folders: Path) -> None:
    """Make folders, and those that they are in; if one of them cannot be made or written in, none is left.

    Raises:
        OSError: names it.
    """
    made: list[Path] = []
    try:
        for folder in folders:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir()
                made.append(path)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError:
        for path in reversed(made):
            path.rmdir()
        raise

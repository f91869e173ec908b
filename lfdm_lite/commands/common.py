"""What several `lfdm` commands need."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import FlagCreatePairsOff

Flag = FlagCreatePairsOff[bool]
SHIPPED = Path("assets", "checkpoints", "faces64")


class UsageError(ValueError):
    """A command line that asks for something impossible."""


def default_checkpoint() -> Path:
    """$LFDM_CHECKPOINT, or the checkpoint that comes with the sources, or the one below the working folder."""
    if named := os.environ.get("LFDM_CHECKPOINT"):
        return Path(named)
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package, Path.cwd()):
        if (root / SHIPPED / "config.json").is_file():
            return root / SHIPPED
    raise UsageError(
        f"the shipped checkpoint {SHIPPED.as_posix()} is not at hand: "
        "name one by --checkpoint FOLDER or LFDM_CHECKPOINT"
    )


def pick_device(name: str) -> Any:
    """The torch device of that name; "auto" is a CUDA GPU where there is one, else the CPU."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from None


def pick(prog: str, what: str, choices: tuple[str, ...], arguments: list[str]) -> tuple[str, list[str]]:
    """Take the first word, which must be one of `choices`."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: {prog} {{{','.join(choices)}}} [OPTIONS]\n\n`{prog} {what} --help` lists the options of each.")
        raise SystemExit(0)
    if not arguments or arguments[0] not in choices:
        given = f"{arguments[0]!r} is not one of" if arguments else "one of these must follow"
        raise UsageError(f"{prog}: {given}: {', '.join(choices)}")
    return arguments[0], arguments[1:]


def value_of(option: str, arguments: list[str]) -> str | None:
    """What is given to an option, before the real parsing."""
    for i, word in enumerate(arguments):
        if word == option and i + 1 < len(arguments):
            return arguments[i + 1]
        if word.startswith(option + "="):
            return word.split("=", 1)[1]
    return None


def file_name(text: str) -> str:
    """A label or an image's name, fit for a file name everywhere."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


def parse(options: type, prog: str, arguments: Sequence[str], **settings):
    """tyro's parser, with its errors as one line.

    Raises:
        UsageError: what tyro says against `arguments`.
        SystemExit: after `--help`.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(options, prog=prog, args=list(arguments), **settings)
    except SystemExit as stop:
        if not stop.code:
            raise
    lines = [line.strip("│ ") for line in complaint.getvalue().splitlines()]
    lines = [line for line in lines if line and not line.startswith("╭")]
    end = next((i for i, line in enumerate(lines) if line.startswith(("─", "╰"))), len(lines))
    raise UsageError(" ".join(lines[:end]).rstrip(".") + f" (see {prog} --help)")

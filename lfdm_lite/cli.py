"""The `lfdm` command: generate, train, evaluate, convert, export-onnx, data, plan, info, doctor.

Here: which command runs, and what becomes of its errors. What the commands do is in `commands`.
"""

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence

from .commands.terminal import one_line, say
from .files.reading import printable

OVERVIEW = """\
usage: lfdm COMMAND [OPTIONS]

Latent flow diffusion: an image and a label become a video.

  lfdm generate IMAGE --label surprise --out out.gif     generate a video
  lfdm train    autoencoder|diffusion|decoder|judge --preset faces64 --out runs/x [--resume]
                few-steps --checkpoint FOLDER --out FOLDER   a fast network beside a model, for generate --fast
                lfdm|vdm|ldm|lamd --cpu-minutes 40 --out runs/y  LFDM or a rival of it, both stages within a budget
  lfdm evaluate CHECKPOINT --data faces --split test     measure a model on clips of unseen people
  lfdm convert  LFAE.pth DM.pth --out FOLDER             the authors' checkpoints, to ours and back
  lfdm export-onnx CHECKPOINT --out FOLDER               a model for the browser
  lfdm data     preview|export faces --out FILE|FOLDER   look at a data set, write it as videos
                prepare mug|mhad|natops SRC DST          the paper's data sets, once you have obtained them
                lpips|i3d                                fetch published networks that measure: LPIPS, and FVD
  lfdm plan     PRESET                                   memory, time and cost of a run, before you start it
  lfdm info     [CHECKPOINT]                             what is in it, how it was trained, its metrics
  lfdm doctor   [--json]                                 what this machine has and lacks, for a report of a fault

`lfdm COMMAND --help` lists a command's options.
"""

MESSAGE_PREFIX = "lfdm: error: "
# What torch, oneDNN and the loader of libraries say, and torch of a process that the system has killed.
OUT_OF_MEMORY = "out of memory|allocate memory|create a primitive|map segment|new thread|dataloader worker"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words behind `lfdm`; those of the process unless given.

    Returns:
        The exit status: 0; 2 after an error of the user's, 1 after one of ours, either said in one line on stderr;
        130 after Ctrl-C. With `LFDM_DEBUG=1` in the environment errors keep their traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(OVERVIEW, end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from . import __version__

        print(f"lfdm {__version__}")
        return 0
    try:
        with plain_output():
            return run(arguments)
    except KeyboardInterrupt:
        say("lfdm: interrupted", error=True)
        return 130
    except BrokenPipeError:  # `lfdm info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # after --help
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if os.environ.get("LFDM_DEBUG"):
            raise
        status, said = describe(error)
        say(MESSAGE_PREFIX + one_line(said), error=True)
        return status


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Characters that a stream cannot show become escapes, and a warning one line without its place in the code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"lfdm: warning: {printable(str(message))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def run(arguments: list[str]) -> int:
    """Parse the words behind `lfdm` and carry out what they ask for.

    Returns:
        The exit status.

    Raises:
        ValueError: a word that no command can take.
        ModuleNotFoundError: a package is missing.
    """
    if any("\0" in word for word in arguments):
        raise ValueError("an argument holds a null character, which no name of a file can")
    from . import commands

    return commands.run(arguments)


def describe(error: Exception) -> tuple[int, str]:
    """The exit status after an exception, and what to say to whoever typed the command."""
    text, kind = str(error), type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("lfdm_lite"):
        from .files.machine.packages import advice

        name = error.name.partition(".")[0]
        return 2, f"this needs the package {name!r}, which is not installed: {advice(name)}"
    behind: list[BaseException] = [error]
    while cause := behind[-1].__context__:  # a file that finds no room in memory was maybe taken for a damaged one
        behind.append(cause)
    if isinstance(error, MemoryError) or any(map(lacks_memory, behind)):
        return 2, "there is not enough memory for this; smaller pictures, or fewer frames, clips or processes need less"
    if isinstance(error, OSError) and error.filename is not None:
        return 2, f"{error.filename}: {error.strerror}"
    ours = isinstance(error, ImportError) and (error.name or "").startswith("lfdm_lite")
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)) and not ours:
        return 2, text or kind
    how = "a fault of lfdm's own; LFDM_DEBUG=1 in the environment shows where it happened, for a report"
    return 1, f"{kind}: {one_line(text, 300)} ({how})"


def lacks_memory(error: BaseException) -> bool:
    """Whether it says so. Texts of OSErrors and ValueErrors are not searched: they hold names of files."""
    if isinstance(error, OSError | ValueError):
        return getattr(error, "errno", None) == errno.ENOMEM or str(error) == "quantization error"
    return re.search(OUT_OF_MEMORY, str(error), re.IGNORECASE) is not None


if __name__ == "__main__":
    sys.exit(main())

"""The `lfdm` command: generate, train, evaluate, convert, data, info.

Here: which command runs, and what becomes of its errors. What the commands do is in `commands`.
"""

import os
import sys
from collections.abc import Sequence

OVERVIEW = """\
usage: lfdm COMMAND [OPTIONS]

Latent flow diffusion: an image and a label become a video.

  lfdm generate IMAGE --label surprise --out out.gif     generate a video
  lfdm train    autoencoder|diffusion|decoder|judge --preset faces64 --out runs/x [--resume]
  lfdm evaluate CHECKPOINT --data faces --split test     measure a model on clips of unseen people
  lfdm convert  LFAE.pth DM.pth --out FOLDER             the authors' checkpoints, to ours and back
  lfdm data     preview|export faces --out FILE|FOLDER   look at a data set, write it as videos
                prepare mug|mhad|natops SRC DST          the paper's data sets, once you have obtained them
  lfdm plan     PRESET                                   memory, time and cost of a run, before you start it
  lfdm info     [CHECKPOINT]                             what is in it, how it was trained, its metrics

`lfdm COMMAND --help` lists a command's options.
"""

MESSAGE_PREFIX = "lfdm: error: "


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words behind `lfdm`; those of the process unless given.

    Returns:
        The exit status: 0; 2 after an error of the user's, said in one line on stderr; 130 after Ctrl-C.
        With `LFDM_DEBUG=1` in the environment errors keep their traceback.
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
        return run(arguments)
    except KeyboardInterrupt:
        print("lfdm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lfdm info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # after --help
        return int(stop.code or 0)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        of_ours = isinstance(error, ImportError) and (error.name or "").startswith("lfdm_lite")
        if of_ours or os.environ.get("LFDM_DEBUG"):
            raise
        print(MESSAGE_PREFIX + describe(error), file=sys.stderr)
        return 2


def run(arguments: list[str]) -> int:
    """Parse the words behind `lfdm` and carry out what they ask for."""
    try:
        from . import commands
    except ModuleNotFoundError as error:
        if error.name != "tyro":
            raise
        raise ValueError("the lfdm command needs the package 'tyro': pip install tyro") from None

    name, rest = arguments[0], arguments[1:]
    if name not in commands.COMMANDS:
        raise commands.UsageError(f"command {name!r} is not one of: {', '.join(commands.COMMANDS)}")
    command = commands.COMMANDS[name]
    return command(rest) or 0


def describe(error: BaseException) -> str:
    """An exception as one line for whoever typed the command."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"this needs the package {error.name!r}, which is not installed: pip install 'lfdm_lite[all]'"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())

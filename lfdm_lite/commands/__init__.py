"""What each `lfdm` command does. Options are dataclasses, so that `--help` and the code say the same.

A command is chosen here by its name, and its module imported then. tyro's own sub-commands serve one level below
(`lfdm data`, `lfdm train`): to parse one of several, tyro 1.0.17 builds the parser of each, and the options of
`lfdm train` need torch, which takes 1.4 of the 1.5 s that `lfdm generate --help` would take then.
"""

from importlib import import_module

COMMANDS = ("generate", "train", "evaluate", "convert", "export-onnx", "data", "info", "plan", "doctor")
ELSEWHERE = {"export-onnx": "convert"}  # commands whose module has another name


def run(arguments: list[str]) -> int:
    """Carry out what the words behind `lfdm` ask for.

    Returns:
        The exit status.

    Raises:
        UsageError: there is no such command, or its options are not right.
    """
    from .common import UsageError

    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise UsageError(f"command {name!r} is not one of: {', '.join(COMMANDS)}")
    command = name.replace("-", "_")
    return getattr(import_module(f".{ELSEWHERE.get(name, name)}", __name__), command)(rest) or 0

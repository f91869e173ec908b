"""The one process in which commands run, apart from the tests: those check types at run time, which users do not."""

import importlib
import multiprocessing
import os
import sys
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def serve(connection: Connection, environment: dict[str, str]) -> None:
    """Answer requests until the other end closes: ("build", folder), or ("run", arguments, folder, ...)."""
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # a spawned process would spawn its own too: users' do not
    from lfdm_lite import cli, training  # noqa: F401  (what a command loads is loaded before memory is measured)

    connection.send(None)
    while True:
        try:
            what, *request = connection.recv()
        except EOFError:
            return
        if what == "build":
            from .world import build

            connection.send(build(*request))
        else:
            connection.send(run(cli.main, *request))


def run(
    command: Any, arguments: list[str], folder: Path, said: Path, limits: dict[str, Any], environment: dict[str, str]
) -> int:
    """Run a command as a process of its own would: in its folder, with its environment, its words into two files.

    Args:
        command: takes the arguments and gives the exit code.
        said: what is printed goes into the files `out` and `err` in this folder.
        limits: "module:NAME" → the value for this command.
    """
    kept = [os.dup(1), os.dup(2)]
    before = {name: os.environ.get(name) for name in environment}
    changed: list[tuple[Any, str, Any]] = []
    try:
        sys.stdout.flush()
        for number, name in ((1, "out"), (2, "err")):
            opened = os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
        os.chdir(folder)
        os.environ.update(environment)
        for place, value in limits.items():
            module = importlib.import_module(place.split(":")[0])
            changed.append((module, place.split(":")[1], getattr(module, place.split(":")[1])))
            setattr(module, place.split(":")[1], value)
        with warnings.catch_warnings():  # each is said once a command, not once a process
            return command(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for module, name, value in changed:
            setattr(module, name, value)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        os.chdir("/")
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)

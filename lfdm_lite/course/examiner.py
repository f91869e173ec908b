"""The process that runs students' code: `python -m lfdm_lite.course.examiner`, spoken to in lines of JSON.

The first line has the cells that are given in a problem set; they run once. Every further line is one exercise of one
student, which runs in a fork of that state: what one leaves behind no other sees, and nobody waits for imports twice.
Where a system cannot fork there is one further line only.
"""

import builtins
import contextlib
import copy
import functools
import importlib
import io
import json
import os
import re
import selectors
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CellType, FunctionType, ModuleType
from typing import Any

from .confinement import Guard, Limits, confine

Job = dict[str, Any]  # "cells": [{"source", "test": name or None}], "limits"
Found = dict[str, Any]  # "tests": {name: reason or None}, "note": what else is to be said or None
HELPERS = ("lfdm_lite", "torch.testing", "numpy.testing", "builtins")  # whose functions are looked into
RELIED_ON = (*HELPERS, "torch", "numpy", "math")  # whose replacement is no accident
WRAPPERS = (staticmethod, classmethod, property, functools._lru_cache_wrapper)
MISSING = object()  # what a name stands for that is not there
ENDED = "the code ended the process before its tests could run"


class Snapshot:
    """What tests rely on, to be put back after a student's cells.

    Kept are functions, classes and modules under their names in every module; the names of the given cells; and of
    functions and classes that the helpers and the given cells name, what is inside.

    Args:
        given: the namespace of the given cells.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        modules = {name: module for name, module in list(sys.modules.items()) if isinstance(module, ModuleType)}
        helpers = {name: module for name, module in modules.items() if name.startswith(HELPERS)}
        self.kept: list[tuple[str, Any, Mapping[str, Any]]] = [("given", given, given | hiding(given))]
        self.kept.append(("", sys.modules, {n: m for n, m in modules.items() if n in RELIED_ON or n in helpers}))
        for name, module in modules.items():
            names = vars(module)
            before = {key: v for key, v in names.items() if key != "_" and (callable(v) or is_module(v))}
            self.kept.append((name, module, before | hiding(names) if name in helpers else before))
        values = [value for module in (given, *map(vars, helpers.values())) for value in module.values()]
        self.kept += insides(values)

    def put_back(self) -> list[str]:
        """Undo replacements; names of those that are no accident."""
        changed = []
        for label, owner, before in self.kept:
            now = bound(owner)
            for key, value in before.items():
                if now.get(key, MISSING) is not value:
                    bind(owner, key, value)
                    changed.append((f"{label}.{key}".strip("."), owner))
        no_accident: Callable[[str, Any], bool] = lambda name, owner: (
            not isinstance(owner, ModuleType) or name.startswith(HELPERS) or name.rpartition(".")[0] in RELIED_ON
        )
        return [re.sub(r"^given\.|\.__code__$", "", name) for name, owner in changed if no_accident(name, owner)]


def is_module(value: Any) -> bool:
    return issubclass(type(value), ModuleType)  # `isinstance` also asks the value, and PyTorch has some that then warn


def hiding(names: Mapping[str, Any]) -> dict[str, Any]:
    """Names of Python that are free here: to take one would change what functions of this namespace call."""
    return {name: MISSING for name in vars(builtins) if name not in names}


def insides(values: Iterable[Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Of functions and classes among values, and of those inside of these: a name, the owner, and what it holds."""
    ahead, seen = list(values), set()
    while ahead:
        value = ahead.pop()
        if id(value) in seen or isinstance(value, ModuleType):
            continue
        seen.add(id(value))
        label = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}".replace("__main__", "given")
        if isinstance(value, FunctionType):
            yield label, value, bound(value)
            if value.__kwdefaults__:
                yield label, value.__kwdefaults__, dict(value.__kwdefaults__)
            for cell in value.__closure__ or ():
                if callable(bound(cell).get("cell_contents")):
                    yield label, cell, bound(cell)
                    ahead.append(cell.cell_contents)
        elif isinstance(value, type):
            own = {key: v for key, v in vars(value).items() if callable(v) or isinstance(v, WRAPPERS)}
            yield label, value, {key: MISSING for key in dir(value) if key not in vars(value)} | own
            ahead += own.values()
        elif isinstance(value, property):
            ahead += (value.fget, value.fset)
        elif isinstance(value, WRAPPERS):
            ahead.append(value.__wrapped__)  # type: ignore[union-attr]


def bound(owner: Any) -> Mapping[str, Any]:
    """What names stand for in a namespace, a module, a class, a function or what that has closed over."""
    if isinstance(owner, FunctionType):
        return {key: getattr(owner, key) for key in ("__code__", "__defaults__", "__kwdefaults__")}
    if isinstance(owner, CellType):
        try:
            return {"cell_contents": owner.cell_contents}
        except ValueError:  # nothing yet, or nothing any more
            return {}
    return owner if isinstance(owner, dict) else vars(owner)


def bind(owner: Any, name: str, value: Any) -> None:
    """Let a name stand for a value again, or for nothing."""
    if isinstance(owner, dict):
        owner[name] = value
        if value is MISSING:
            del owner[name]
    elif value is MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def own(value: Any) -> Any:
    """Given data as a copy, which a student may change; functions, classes and pictures are shared."""
    data = isinstance(value, list | tuple | set | dict) or type(value).__module__.startswith(("torch", "lfdm_lite"))
    return copy.deepcopy(value) if data else value


def explain(error: BaseException) -> str:
    """What a student is told of an error: the message of a test, and of an accident its kind and where it was."""
    if isinstance(error, NotImplementedError):
        return "not answered yet"
    if isinstance(error, AssertionError):
        return str(error).strip() or "the answer does not hold in this case"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "the code needs more memory than it may have"
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "<answer>"]
    return f"{said} (line {frames[-1].lineno} of the cell, in {frames[-1].name})" if frames else said


def sit(job: Job, namespace: dict[str, Any], snapshot: Snapshot) -> Found:
    """Run one exercise, here: the student's cells, then the tests, which find everything else as it was."""
    guard = confine(Path(job["folder"]), Limits(**job["limits"]))
    found: Found = {"tests": {}, "note": None}
    broken, changed, at_test = None, [], None
    theirs = {key: value if key.startswith("__") else own(value) for key, value in namespace.items()}
    for cell in job["cells"]:
        name = cell["test"]
        try:
            if name is None:
                exec(compile(cell["source"], "<answer>", "exec"), theirs)  # noqa: S102 (confined)
                continue
            changed += snapshot.put_back()
            at_test = {**theirs, **namespace} if at_test is None else at_test  # no answer stands in for what was given
            exec(compile(cell["source"], "<test>", "exec"), at_test)  # noqa: S102 (the instructor's)
            found["tests"][name] = None
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (anything may come)
            reason = explain(error)
            if name is None:
                broken = broken or reason
            else:
                found["tests"][name] = reason if broken is None else f"{reason}; an earlier cell fails: {broken}"
    changed += snapshot.put_back()  # also what the last test's call has replaced
    if changed:
        names = ", ".join(sorted(set(changed))[:3])
        note = f"the code replaced {names}, which tests rely on: no marks"
        found = {"tests": {name: note for name in found["tests"]}, "note": note}
    return said(found, guard)


def said(found: Found, guard: Guard) -> Found:
    """With what the guard refused, even where the code kept that to itself."""
    guard.on = False
    if guard.refused:
        found["note"] = "; ".join(filter(None, [found["note"], guard.refused]))
        found["tests"] = {name: guard.refused for name in found["tests"]}
    return found


def in_fork(job: Job, namespace: dict[str, Any], snapshot: Snapshot) -> Found:
    """`sit` in a process of its own, which is ended when its time or what it may print is used up."""
    limits = Limits(**job["limits"])
    with tempfile.TemporaryDirectory(prefix="lfdm-mark-") as folder:
        answer, theirs = os.pipe()
        printed, their_out = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                os.setsid()
                for end in (answer, printed):
                    os.close(end)
                nothing = os.open(os.devnull, os.O_RDONLY)
                for number, end in enumerate((nothing, their_out, their_out)):
                    os.dup2(end, number)
                sys.stdin, sys.stdout = io.StringIO(), open(1, "w", closefd=False)  # noqa: SIM115
                sys.stderr = sys.stdout
                text = json.dumps(sit(job | {"folder": folder}, namespace, snapshot))
                os.write(theirs, text.encode())
                status = 0
            os._exit(status)
        os.close(theirs)
        os.close(their_out)
        told, why = listen(answer, printed, limits)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(answer)
        os.close(printed)
    tests = [cell["test"] for cell in job["cells"] if cell["test"]]
    try:
        return json.loads(told) if why is None else failed(tests, why)
    except ValueError:
        return failed(tests, ENDED)


def listen(answer: int, printed: int, limits: Limits) -> tuple[bytes, str | None]:
    """What the process answers, and why it must be ended before it has, if so."""
    told, count, until = b"", 0, time.monotonic() + limits.seconds
    with selectors.DefaultSelector() as selector:
        for end in (answer, printed):
            selector.register(end, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return told, too_slow(limits.seconds)
            for key, _ in selector.select(left):
                piece = os.read(key.fd, 65536)
                if key.fd == answer:
                    told += piece
                    if not piece:
                        return told, None
                elif piece:
                    count += len(piece)
                    if count > limits.output:
                        return told, too_much(limits.output)
                else:
                    selector.unregister(key.fd)


def failed(tests: list[str], why: str) -> Found:
    return {"tests": dict.fromkeys(tests, why), "note": why}


def too_slow(seconds: float) -> str:
    return f"the code did not end within {seconds:g} seconds"


def too_much(output: int) -> str:
    return f"the code prints more than {output:,} characters"


def alone(job: Job, namespace: dict[str, Any], snapshot: Snapshot) -> Found:
    """Where a system cannot fork: here, in a process for one exercise, which whoever started it ends in time."""
    output = Limits(**job["limits"]).output
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        found = sit(job, namespace, snapshot)
    tests = [cell["test"] for cell in job["cells"] if cell["test"]]
    return found if out.tell() <= output else failed(tests, too_much(output))


def main() -> None:
    about = json.loads(sys.stdin.readline())
    namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    speaks, sys.stdout = sys.stdout, sys.stderr  # what given cells print is no answer
    if not about["forks"]:  # nor is what a student's code writes past Python; in a fork that is caught
        speaks = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
    for source in about["cells"]:
        exec(compile(source, "<given>", "exec"), namespace)  # noqa: S102 (the instructor's)
    if about["forks"] and "torch" in sys.modules:
        importlib.import_module("torch._dynamo")  # else torch.func does in a fork: slow, and replaces torch.manual_seed
    print("ready", file=speaks, flush=True)
    snapshot, run = Snapshot(namespace), in_fork if about["forks"] else alone
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), namespace, snapshot)), file=speaks, flush=True)
    os._exit(0)  # taking PyTorch apart takes a second


if __name__ == "__main__":
    main()

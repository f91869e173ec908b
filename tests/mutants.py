"""Do a module's own tests notice a small mistake in it? `python -m tests.mutants [MODULE ...] [--go-on]`

60 of each module are tried, which need cosmic-ray (`nox -s mutants` has it), in a copy of the project. One that
survives is explained in `mutants.toml`, or a test is missing. Tests run in a process that forks from this one, which
has imported torch and what else they import, but nothing of the library that they see.
"""

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

from .budgets import ROOT, tracked
from .mistakes import Mutant, draw

MODULES = ("geometry", "regions", "diffusion", "samplers", "evaluation/metrics")  # each with a tests/test_NAME.py
EXPLAINED = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))["survivors"]
KNOWN = {(row["module"], row["operator"], row["was"], row["becomes"]) for row in EXPLAINED}
NOTES = ROOT / "_build" / "mutants.txt"  # what became of which: hashes of the module and of its tests
OURS = re.compile(r"(lfdm_lite|tests|conftest)\b")


class QuickestFirst:
    """Most mutants need not live to meet the tests that take long; the first run, without a mistake, times them."""

    def __init__(self, noted: Path):
        self.seconds = Counter(json.loads(noted.read_text()) if noted.exists() else {})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration


def run_tests(folder: Path, test: str) -> None:
    """In a process of its own: what pytest, called in the copy, says of it."""
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    os.environ["PYTHONPATH"] = str(folder)
    for name in filter(OURS.match, list(sys.modules)):
        del sys.modules[name]
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))  # where a size is wrong, it may be very wrong
    for stream in (1, 2):
        os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    # What survives today survives tomorrow, and an example that fails need not become the shortest.
    phases = [phase for phase in hypothesis.Phase if phase.name not in ("shrink", "explain")]
    hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    order = QuickestFirst(noted := Path(test).with_suffix(".json"))
    code = pytest.main([*"-x -q -p no:cacheprovider -p no:xdist --basetemp basetemp".split(), test], plugins=[order])
    if not noted.exists():
        noted.write_text(json.dumps(order.seconds))
        Path("imported.txt").write_text("\n".join(sys.modules))
    sys.stdout.flush()
    library = sys.modules.get("lfdm_lite")
    os._exit(code if library is None or Path(library.__file__).is_relative_to(folder) else 70)


def outcome(folder: Path, test: str, limit: float) -> str:
    """Whether the tests notice something within so many seconds.

    Raises:
        RuntimeError: if they could not be run.
    """
    (folder / "said.txt").unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(folder, test))
    process.start()
    try:
        process.join(limit)
        code = process.exitcode
    finally:  # also where who waits has had enough
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and all that it started
        process.join()
    if code in (3, 4, 5, 70):
        raise RuntimeError((folder / "said.txt").read_text())
    return "timeout" if code is None else "killed" if code else "survived"


def limit_of(folder: Path, test: str) -> float:
    """Seconds that a mutant may take, from what the tests take without one; what they import is imported here."""
    began = time.monotonic()
    if outcome(folder, test, 1800) != "survived":
        raise RuntimeError((folder / "said.txt").read_text())
    for name in (folder / "imported.txt").read_text().split():
        if not OURS.match(name):
            with suppress(Exception), warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
    return 60 + 3 * (time.monotonic() - began)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def try_module(module: str, folder: Path, count: int) -> Iterator[tuple[Mutant, str]]:
    """What becomes of each mutant. What is noted stands: kills for good, all else while the tests are the same."""
    file, test, limit = folder / "lfdm_lite" / f"{module}.py", f"tests/test_{Path(module).name}.py", None
    source, tests = file.read_text(), hash_of((folder / test).read_text())
    noted = [line.split() for line in NOTES.read_text().splitlines()]
    earlier = {key: what for key, then, what in noted if what == "killed" or then == tests}
    for number, mutant in enumerate(draw(module, source, count)):
        if not (what := earlier.get(key := hash_of(mutant.source))):
            limit = limit or limit_of(folder, test)
            file.write_text(mutant.source)
            os.utime(file, (number, number))  # bytecode is told to be stale by full seconds
            what = outcome(folder, test, limit)
            file.write_text(source)
            with NOTES.open("a") as notes:
                print(key, tests, what, file=notes)
        yield mutant, what


def main() -> int:
    """1 where a mutant survives that `mutants.toml` does not explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"all unless given: {', '.join(MODULES)}")
    parser.add_argument("--count", type=int, default=60, help="mutants of each module")
    parser.add_argument("--go-on", action="store_true", help="where an earlier run was interrupted")
    options, unknown = parser.parse_args(), 0
    table = [f"\n{'module':20} mutants  killed  survived  timeouts   share"]
    NOTES.parent.mkdir(exist_ok=True)
    NOTES.open("a" if options.go_on else "w").close()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for path in tracked():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
        for module in options.modules or MODULES:
            became = Counter()
            for mutant, what in try_module(module, folder, options.count):
                became[what] += 1
                known = mutant[:4] in KNOWN
                unknown += what == "survived" and not known
                if what != "killed":
                    print(f"{what}{' (known)' * known}: lfdm_lite/{module}.py:{mutant.line}, {mutant.operator}")
                    print(f"  - {mutant.was}\n  + {mutant.becomes}", flush=True)
            killed, total = became["killed"], became.total()
            numbers = f"{killed:8}{became['survived']:10}{became['timeout']:10}{killed / total:8.0%}"
            table.append(f"{module:20}{total:8}{numbers}")
    print(*table, f"\n{unknown} survivors that tests/mutants.toml does not explain", sep="\n")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())

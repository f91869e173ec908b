"""Checks in environments of their own: `pipx run nox -l` lists them, `pipx run nox -s NAME` runs one.

`make test` has one environment, that of constraints.txt. Here are the others: the smallest versions that pyproject.toml
allows, each Python, the newest torch, the newest of everything; and tools that nothing else needs.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["types", "spelling", "dist"]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
UNIT = ("pytest", "-m", "not site and not hostile and not assignments", "tests")

IMPORT_ALL = """
import importlib, pkgutil, lfdm_lite
for module in pkgutil.walk_packages(lfdm_lite.__path__, "lfdm_lite."):
    if not module.name.startswith("lfdm_lite.course"):  # which needs the extra `teach`
        importlib.import_module(module.name)
"""


def pins(session: nox.Session, *without: str) -> str:
    """A file with the lines of constraints.txt, but for some packages."""
    lines = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.partition("==")[0].lower() not in without]
    file = Path(session.create_tmp(), "constraints.txt")
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return str(file)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def unit(session: nox.Session) -> None:
    """Unit tests with the tested versions."""
    session.install("-c", "constraints.txt", "-e", ".[all]")
    session.run(*UNIT, *session.posargs, env=ONE_THREAD)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The smallest versions of what the library itself asks for: all modules, a clip, a toy training."""
    session.install("--resolution", "lowest-direct", ".[train]")
    session.run("python", "-c", IMPORT_ALL)
    folder = session.create_tmp()
    picture = "assets/examples/person_a.png"
    session.run("lfdm", "generate", picture, "--label", "fear", "--steps", "2", "--out", f"{folder}/out.gif")
    session.run("lfdm", "train", "judge", "--preset", "tiny", "--out", f"{folder}/judge")


@nox.session(python="3.12")
def newest_torch(session: nox.Session) -> None:
    """Unit tests with the newest torch, all else as tested."""
    session.install("-c", pins(session, "torch"), "--upgrade", "-e", ".[all]")
    session.run("lfdm", "doctor", success_codes=[0, 1])
    session.run(*UNIT, *session.posargs, env=ONE_THREAD)


@nox.session(python="3.12")
def newest(session: nox.Session) -> None:
    """Unit tests and chapters with the newest of everything: what a reader gets who leaves the constraints out."""
    session.install("--upgrade", "-e", ".[all]")
    session.run("lfdm", "doctor", success_codes=[0, 1])
    session.run(*UNIT, env=ONE_THREAD)
    session.run("pytest", "--nbval-lax", "chapters")


@nox.session(python="3.11")
def older_processor(session: nox.Session) -> None:
    """Chapters as on a processor that has AVX2 and nothing newer, whose sums end otherwise in the last digit."""
    session.install("-c", "constraints.txt", "-e", ".[all]")
    older = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    session.run("pytest", "-n", "2", "--nbval", "--solutions", "chapters", *session.posargs, env=ONE_THREAD | older)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over the whole library."""
    session.install("mypy>=1.14", "-c", "constraints.txt", "-e", ".[train]")
    session.run("mypy")


@nox.session
def spelling(session: nox.Session) -> None:
    """codespell, over what is tracked."""
    session.install("codespell>=2.4")
    names = session.run("git", "ls-files", "*.py", "*.md", "*.toml", "*.yml", "*.sh", external=True, silent=True)
    session.run("codespell", *(names or "").split())


@nox.session
def dist(session: nox.Session) -> None:
    """Wheel and source distribution into dist/, looked at by twine."""
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").glob("lfdm_lite-*")))


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches of the library the tests reach, also in processes that they start."""
    session.install("-c", "constraints.txt", "-e", ".[all]", "coverage")
    session.run("coverage", "run", "-m", *UNIT, *session.posargs, env=ONE_THREAD)
    session.run("coverage", "run", "-m", "pytest", "tests/test_course.py", "tests/test_nbgrader.py", env=ONE_THREAD)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(python="3.11")
def mutants(session: nox.Session) -> None:
    """Do the tests of some modules notice small mistakes in them? Some 20 minutes; `-- MODULE`: of one alone."""
    session.install("-c", "constraints.txt", "-e", ".[all]", "cosmic-ray==8.7.0")
    session.run("python", "-m", "tests.mutants", *session.posargs, env=ONE_THREAD)

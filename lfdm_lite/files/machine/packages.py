"""The packages that the library can use: which are installed, how they compare with what was tested, how to get one.

Ranges are those of pyproject.toml, tested versions those of constraints.txt, both read where the sources or the
installed library keep them. Nothing here needs torch.
"""

import os
import re
import sys
import tomllib
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = "lfdm_lite"
CONSTRAINTS = "constraints.txt"
WAITING = "OMP_WAIT_POLICY"  # how OpenMP's threads wait for each other; read when torch is imported first
IN_CHAPTERS = ("matplotlib", "scikit-image", "ipywidgets")  # what they import besides a plain installation
IMPORTED_AS = {  # where a module is not called like its package
    "cv2": "opencv-python-headless",
    "IPython": "jupyterlab",  # which brings it, and is what shows things
    "jupyter_book": "jupyter-book",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


class Package(NamedTuple):
    """A requirement beside what is installed."""

    name: str
    needs: str  # a range, such as ">=2.4"; empty for any
    installed: str | None  # None: it is not
    tested: str | None  # the newest version that was; None if nobody wrote one down

    @property
    def too_old(self) -> bool:
        """Whether it is installed in a version outside its range."""
        return self.installed is not None and not Requirement(self.name + self.needs).specifier.contains(
            self.installed, prereleases=True
        )

    @property
    def newer(self) -> bool:
        """Whether the first or the second number of its version is higher than what was tested."""
        if self.installed is None or self.tested is None:
            return False
        return Version(self.installed).release[:2] > Version(self.tested).release[:2]


def clone() -> Path | None:
    """The folder of the sources, where pyproject.toml lies; None for a library that was installed without them."""
    file = Path(__file__).resolve().parents[3] / "pyproject.toml"
    return file.parent if file.is_file() and f'name = "{PROJECT}"' in file.read_text(encoding="utf-8") else None


@cache
def packages() -> dict[str, list[Package]]:
    """What a plain installation needs, under "", and what each extra adds, under its name."""
    tested = _tested()
    return {
        extra: [Package(r.name, str(r.specifier), _version(r.name), tested.get(_plain(r.name))) for r in needed]
        for extra, needed in _requirements().items()
    }


def advice(module: str) -> str:
    """The command that installs a missing module: the first extra that has it, or what that extra lacks, by name.

    The project's own name is never looked up on an index, where anybody could take it.

    Args:
        module: as it is imported, such as "cv2".
    """
    name = _plain(IMPORTED_AS.get(module, module))
    for extra, members in packages().items():
        wanted = [p for p in members if _plain(p.name) == name]
        if wanted and extra and (sources := clone()) is not None:
            return f'pip install -e "{"." if sources == Path.cwd() else sources}[{extra}]"'
        if wanted:
            lacking = [p for p in members if p.installed is None and p not in wanted]
            return "pip install " + " ".join(f'"{p.name}{p.needs}"' for p in [*wanted, *lacking])
    return f"pip install {IMPORTED_AS.get(module, module)}"


def waits_actively() -> bool:
    """Whether several threads of this process keep a core each while they wait for one another.

    Beside other work on the same cores a small network is then many times slower.
    """
    return os.environ.get(WAITING, "").upper() != "PASSIVE" and os.environ.get("OMP_NUM_THREADS") != "1"


def busy() -> bool:
    """Whether other processes leave this one less than all cores, by the load of the last minute; False on Windows."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1)


def check_environment() -> None:
    """Warn of what makes a chapter fail or crawl on this machine; silent where all is as it was tested.

    Looks at the packages of a plain installation and at those that chapters import besides. Where other programs use
    the cores and torch's threads wait for each other actively, because torch was imported before this library, it gives
    torch one thread. Imports nothing heavy itself, torch neither. `lfdm doctor` says more.
    """
    needed = [*packages().get("", ()), *(p for p in packages().get("teach", ()) if p.name in IN_CHAPTERS)]
    for p in needed:
        if p.installed is None:
            warnings.warn(f"{p.name} is missing: {advice(p.name)}", stacklevel=2)
        elif p.too_old:
            warnings.warn(f'{p.name} {p.installed} is too old: pip install "{p.name}{p.needs}"', stacklevel=2)
    if newer := [f"{p.name} {p.installed} ({p.tested})" for p in needed if p.newer]:
        warnings.warn(
            f"newer than what the book was run with, in brackets: {', '.join(newer)}; if a cell fails, "
            f"install with -c {CONSTRAINTS}",
            stacklevel=2,
        )
    if "torch" in sys.modules and waits_actively() and busy():
        sys.modules["torch"].set_num_threads(1)
        warnings.warn(
            f"other programs use these cores, so torch keeps to one here; with {WAITING}=PASSIVE in the environment of "
            "Jupyter, as `make lab` starts it, it need not",
            stacklevel=2,
        )


def _requirements() -> dict[str, list[Requirement]]:
    """By extra; those of the project itself, which bind extras together, are left out."""
    if (sources := clone()) is not None:
        project = tomllib.loads((sources / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found = {"": project["dependencies"], **project["optional-dependencies"]}
        made = {extra: [Requirement(line) for line in lines] for extra, lines in found.items()}
        made = {extra: [r for r in needed if r.marker is None or r.marker.evaluate()] for extra, needed in made.items()}
    else:
        try:
            lines = [Requirement(line) for line in metadata.requires(PROJECT) or ()]
            extras = metadata.metadata(PROJECT).get_all("Provides-Extra") or []
        except metadata.PackageNotFoundError:  # sources that were copied without their pyproject.toml
            return {}
        made = {"": [line for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})]}
        for extra in extras:
            made[extra] = [line for line in lines if line.marker and line.marker.evaluate({"extra": extra})]
            made[extra] = [line for line in made[extra] if line not in made[""]]
    for extra in made:
        made[extra] = [line for line in made[extra] if _plain(line.name) != _plain(PROJECT)]
    return {extra: lines for extra, lines in made.items() if lines}


def _tested() -> dict[str, str]:
    """The versions that were tested together, by name."""
    library = Path(__file__).resolve().parents[2]
    file = next((f / CONSTRAINTS for f in (library.parent, library) if (f / CONSTRAINTS).is_file()), None)
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    pins = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {_plain(name): version.strip() for name, version in pins}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()

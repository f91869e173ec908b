"""What the short run needs beside torch, and how it gets onto a machine without a network.

    python -m launch.short.packages fill wheels              here, with a network: `make wheels`
    python -m launch.short.packages install wheels FOLDER    there, without one: what is missing goes into FOLDER

Nothing but the standard library and pip is needed to install.
"""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

ROOT = Path(__file__).parents[2]
UNUSED = {"torch", "av", "imageio", "opencv-python-headless", "tensorboard"}  # torch is there; films are not read
DRAWS = ["matplotlib>=3.8"]  # the curves
TARGET = {"python_version": "3.12", "python_full_version": "3.12.0", "sys_platform": "linux", "extra": ""}
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)] + ["manylinux2014_x86_64"]


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "fill":
        return fill(Path(sys.argv[2]))
    if len(sys.argv) == 4 and sys.argv[1] == "install":
        return install(Path(sys.argv[2]), Path(sys.argv[3]))
    print("usage: python -m launch.short.packages fill WHEELS | install WHEELS FOLDER", file=sys.stderr)
    return 2


def needed(root: Path = ROOT) -> list[str]:
    """What the run imports, as requirements: `lfdm_lite[train]` without torch and what reads films, and matplotlib."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["train"] + DRAWS
    return [line for line in lines if plain(line) not in UNUSED]


def plain(requirement: str) -> str:
    """The name in a requirement, as registries compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def fill(wheels: Path) -> int:
    """Download the versions of constraints.txt of all that is needed, for Python 3.12 on Linux."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pins[plain(line)] = line
    wanted = [pins[name] for name in sorted(closure(needed()))]
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    how = ["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", *platforms]
    done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", *how, "-d", str(wheels), *wanted])
    if not done.returncode:
        size = sum(path.stat().st_size for path in wheels.glob("*.whl")) / 1e6
        print(f"{wheels}: {len(wanted)} packages for Python 3.12 on Linux, {size:.0f} MB")
    return done.returncode


def closure(requirements: list[str], target: dict[str, str] = TARGET, check: bool = False) -> set[str]:
    """The names of these and of all that they need on a machine, torch and what it needs left out.

    Args:
        target: of the machine, as markers name it.
        check: of this one: whether each is there in a version that will do.

    Raises:
        LookupError: one is not, with `check`.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    found: set[str] = set()
    left = list(requirements)
    while left:
        requirement = Requirement(left.pop())
        name = plain(requirement.name)
        if name in found | UNUSED or (requirement.marker and not requirement.marker.evaluate(target)):
            continue
        found.add(name)
        if check and not requirement.specifier.contains(metadata.version(name), prereleases=True):
            raise LookupError(f"{name} {metadata.version(name)} is not {requirement.specifier}")
        left += metadata.requires(name) or []
    return found


def all_there() -> bool:
    """Whether nothing is missing; pip would say the same, in ten times the time."""
    try:
        return bool(closure(needed(), {"extra": ""}, check=True))
    except (LookupError, ImportError):  # PackageNotFoundError is an ImportError
        return False


def install(wheels: Path, site: Path) -> int:
    """Put what is missing into a folder for PYTHONPATH. 2, and one line, if a wheel is not at hand."""
    if all_there():
        return 0
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index"]
    asked = [*pip, "--dry-run", "--find-links", str(wheels), "--report", "-", *needed()]
    found = subprocess.run(asked, capture_output=True, text=True)
    if found.returncode:
        said = re.findall(r"No matching distribution found for (\S+)", found.stderr)
        what = said[0] if said else (found.stderr.strip().splitlines() or ["pip failed"])[-1]
        print(
            f"short_gpu.sh: not at hand: {what}; where there is a network, `make wheels` fills {wheels} for Python "
            f"3.12 (this is {sys.version_info[0]}.{sys.version_info[1]})",
            file=sys.stderr,
        )
        return 2
    urls = [item["download_info"]["url"] for item in json.loads(found.stdout)["install"]]
    files = [url2pathname(urlsplit(url).path) for url in urls]
    if files:
        names = ", ".join(sorted(Path(file).name.split("-")[0] for file in files))
        print(f"installing into {site}: {names}", flush=True)
        return subprocess.run([*pip, "--no-deps", "--upgrade", "--target", str(site), *files]).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())

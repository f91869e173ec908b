"""What leaves the house: a wheel that works alone, sources without dead ends, advice that can be taken."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lfdm_lite import __version__
from lfdm_lite.cli import describe
from lfdm_lite.files.machine import packages

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINK = re.compile(r"!?\[[^\]]*\]\((?!\w+:|#)([^)\s#]+)")
MODEL = "lfdm_lite/assets/checkpoints/faces64/"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """The wheel unpacked in `wheel`, the source distribution in `sdist`, built by the packages that are installed."""
    folder = tmp_path_factory.mktemp("dist")
    script = f"""
from setuptools import build_meta
for name in (build_meta.build_sdist({str(folder)!r}), build_meta.build_wheel({str(folder)!r})):
    print(name)
"""
    sources = folder / "sources"
    names = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    kept = ("lfdm_lite/", "assets/checkpoints/faces64/", "tests/test_f")  # tests, to see that they stay
    for name in names.stdout.decode().split("\0"):
        if name and (name.startswith(kept) or "/" not in name) and (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            (sources / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run([sys.executable, "-c", script], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    assert max(wheel.stat().st_size, sdist.stat().st_size) < 20e6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    return folder


def test_the_wheel_holds_the_library_and_the_shipped_model_byte_for_byte(distributions):
    wheel = distributions / "wheel"
    for file in (ROOT / "lfdm_lite").rglob("*.py"):
        assert (wheel / file.relative_to(ROOT)).is_file(), file
    source = ROOT / "assets" / "checkpoints" / "faces64"
    for file in source.rglob("*"):
        if file.is_file() and file.suffix != ".md":
            assert (wheel / MODEL / file.relative_to(source)).read_bytes() == file.read_bytes(), file
    assert (wheel / "lfdm_lite" / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()
    assert not list(wheel.rglob("test_*.py"))


def test_the_source_distribution_builds_the_wheel_and_holds_no_tests_that_cannot_run(distributions):
    (sources,) = (distributions / "sdist").iterdir()
    needed = ("setup.py", "pyproject.toml", "constraints.txt", "CHANGELOG.md")
    for name in (*needed, "assets/checkpoints/faces64/config.json"):
        assert (sources / name).is_file(), name
    assert not list(sources.rglob("test_*.py")) and not (sources / "README.md").exists()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_page_that_goes_along_leads_nowhere(distributions, kind):
    pages = [*(distributions / kind).rglob("*.md"), *(distributions / kind).rglob("METADATA")]
    assert len(pages) > 3
    for page in pages:
        links = LINK.findall(page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page


def test_the_wheel_generates_from_any_folder(distributions, tmp_path):
    picture = (ROOT / "assets" / "examples" / "person_a.png").read_bytes()
    (tmp_path / "me.png").write_bytes(picture)
    command = [sys.executable, "-m", "lfdm_lite.cli", "generate", "me.png", "--label", "fear", "--out", "out.gif"]
    mine = {"PYTHONPATH": str(distributions / "wheel"), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LFDM_")} | mine
    done = subprocess.run([*command, "--steps", "1"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "out.gif").stat().st_size > 1000, done.stderr
    where = "import lfdm_lite; print(lfdm_lite.__file__, lfdm_lite.asset('checkpoints/faces64'))"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.count(str(distributions / "wheel")) == 2


def test_the_description_for_an_index_has_no_links_into_the_clone():
    text = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    assert not LINK.findall(text)
    commands = re.findall(r"^lfdm (\w+)", text, re.MULTILINE)
    from lfdm_lite.commands import COMMANDS

    assert len(commands) >= 5 and set(commands) <= set(COMMANDS)


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert PROJECT["version"] == __version__ == re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == newest


# ---------------------------------------------------------------- what is installed, and how to get what is not


def test_nothing_advises_to_look_the_name_up_on_an_index():
    """Nobody owns it there: whoever takes it would be installed."""
    for file in [*ROOT.glob("*.md"), *(ROOT / "chapters").glob("**/*.md"), *(ROOT / "lfdm_lite").rglob("*.py")]:
        advised = re.findall(r"pip install[^\n]*?lfdm_lite\[?[^\n]*", file.read_text(encoding="utf-8"))
        assert not advised, (file, advised)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("cv2", "train"), ("accelerate", "train"), ("ipywidgets", "teach"), ("IPython", "teach"), ("beartype", "dev")],
)
def test_in_a_clone_the_first_extra_that_has_a_module_is_advised(module, extra, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert packages.advice(module) == f'pip install -e "{ROOT}[{extra}]"'
    monkeypatch.chdir(ROOT)
    assert packages.advice(module) == f'pip install -e ".[{extra}]"'


@pytest.fixture
def installed(monkeypatch):
    """The library as a wheel would have installed it: only its metadata tells what it needs."""
    lines = [*PROJECT["dependencies"]]
    for extra, needed in PROJECT["optional-dependencies"].items():
        split = [line.partition(";") for line in needed]
        lines += [f'{line}; {marker and f"({marker}) and "}extra == "{extra}"' for line, _, marker in split]
    monkeypatch.setattr(packages, "clone", lambda: None)
    monkeypatch.setattr(packages.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(packages.metadata, "metadata", lambda name: Extras(PROJECT["optional-dependencies"]))
    packages.packages.cache_clear()
    yield
    packages.packages.cache_clear()


class Extras:
    def __init__(self, extras):
        self.extras = list(extras)

    def get_all(self, name):
        return self.extras if name == "Provides-Extra" else None


def test_metadata_and_sources_name_the_same_requirements(installed, monkeypatch):
    by_metadata = packages.packages()
    packages.packages.cache_clear()
    monkeypatch.undo()
    assert by_metadata == packages.packages()


def test_away_from_the_sources_what_an_extra_lacks_is_advised_by_name(installed, monkeypatch):
    real = metadata.version

    def version(name: str) -> str:
        if name in ("accelerate", "psutil"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(packages.metadata, "version", version)
    assert packages.advice("accelerate") == 'pip install "accelerate>=1.0" "psutil>=5.9"'
    assert packages.advice("tyro") == 'pip install "tyro>=1.0.0"'
    assert packages.advice("nobody_knows") == "pip install nobody_knows"


@pytest.mark.parametrize(
    ("installed_version", "needs", "tested", "too_old", "newer"),
    [
        ("2.13.0+cpu", ">=2.4", "2.13.0", False, False),
        ("2.13.4", ">=2.4", "2.13.0", False, False),
        ("2.14.0", ">=2.4", "2.13.0", False, True),
        ("2.3.1", ">=2.4", "2.13.0", True, False),
        ("3.0.dev1", ">=2.4", "2.13.0", False, True),
        (None, ">=2.4", "2.13.0", False, False),
        ("7", "", None, False, False),
    ],
)
def test_a_version_is_held_against_its_range_and_what_was_tested(installed_version, needs, tested, too_old, newer):
    package = packages.Package("torch", needs, installed_version, tested)
    assert (package.too_old, package.newer) == (too_old, newer)


def test_every_plain_requirement_has_a_floor_and_a_tested_version():
    for package in packages.packages()[""]:
        assert Requirement(package.name + package.needs).specifier and package.tested, package


def test_the_command_says_how_to_get_a_missing_package():
    status, said = describe(ModuleNotFoundError("No module named 'accelerate.utils'", name="accelerate.utils"))
    assert status == 2 and said.endswith(f"'accelerate', which is not installed: {packages.advice('accelerate')}")

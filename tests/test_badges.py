"""Launch badges: put in, pointed elsewhere, taken out; and what their cell does where nothing is to be installed."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import jupytext
import pytest
import yaml
from packaging.specifiers import SpecifierSet

import lfdm_lite as lfdm
from launch import badges as script

ADDRESS = "https://github.com/someone/book"
ROOT = Path(__file__).parents[1]
NAME = "00_tour"


def badges(folder: Path, *words: str) -> None:
    """The command, in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["badges.py", *words, "--chapters", str(folder)])
        script.main()


@pytest.fixture
def chapters(tmp_path):
    for suffix in (".py", ".ipynb"):
        shutil.copy(ROOT / "chapters" / f"{NAME}{suffix}", tmp_path)
    return tmp_path


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_badges_stand_behind_the_title_of_both_halves_and_go_again(chapters):
    before = {suffix: cells(chapters / f"{NAME}{suffix}") for suffix in (".py", ".ipynb")}
    badges(chapters, ADDRESS, "--version", "v1")
    for suffix, old in before.items():
        new = cells(chapters / f"{NAME}{suffix}")
        assert new[0] == old[0] and new[3:] == old[1:]
        assert new[1][0] == "markdown" and new[2][0] == "code"
        for place in ("colab.research.google.com/github/someone/book/blob/v1/", "mybinder.org/v2/gh/someone/book/v1?"):
            assert place in new[1][1]
        assert f"fetch -q --depth 1 {ADDRESS} v1 " in new[2][1]
    badges(chapters)
    assert before == {suffix: cells(chapters / f"{NAME}{suffix}") for suffix in (".py", ".ipynb")}


def test_badges_point_to_one_place_only(chapters):
    for name in ("first", "second"):
        badges(chapters, f"https://github.com/someone/{name}", "--version", "v1")
    text = (chapters / f"{NAME}.py").read_text()
    assert "someone/second" in text and "someone/first" not in text


@pytest.mark.parametrize("version", ["v1", "work/of-today", "a9572fa0c1d2"])
def test_links_have_the_parts_that_colab_and_binder_read(chapters, version):
    """Colab: /github/OWNER/NAME/blob/VERSION/PATH. Binder: /v2/gh/OWNER/NAME/VERSION, a slash in it written as %2F."""
    badges(chapters, ADDRESS, "--version", version)
    badge = jupytext.read(chapters / f"{NAME}.ipynb").cells[1].source
    links = {urlsplit(link).netloc: urlsplit(link) for link in re.findall(r"\]\((https:[^)]*)\)(?!\])", badge)}
    assert set(links) == {"colab.research.google.com", "mybinder.org"}
    path = f"chapters/{NAME}.ipynb"
    assert (ROOT / path).is_file()
    assert links["colab.research.google.com"].path == f"/github/someone/book/blob/{version}/{path}"
    *place, there = links["mybinder.org"].path.split("/")
    assert place == ["", "v2", "gh", "someone", "book"] and unquote(there) == version
    assert parse_qs(links["mybinder.org"].query, strict_parsing=True) == {"labpath": [path]}


# ---------------------------------------------------------------- what Binder builds


def test_binder_takes_the_environment_file_and_nothing_else():
    """repo2docker looks into binder/ and .binder/ first, and takes a Dockerfile and other languages before conda."""
    before = ("binder", ".binder", "Dockerfile", "Project.toml", "JuliaProject.toml", "REQUIRE", "default.nix")
    beside = ("apt.txt", "postBuild", "start", "runtime.txt", "install.R", "DESCRIPTION")  # would add to what it does
    assert not [name for name in (*before, *beside) if (ROOT / name).exists()]
    assert (ROOT / "environment.yml").is_file()


def test_binder_builds_with_a_python_that_the_project_allows_and_that_was_tested():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"], "which Binder's own environment comes from"
    packages = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (version,) = [found[1] for found in (re.fullmatch(r"python=(\d+\.\d+)", one) for one in packages) if found]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SpecifierSet(project["requires-python"]).contains(version)
    assert f"Python {version}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[0]


def test_binder_copies_the_whole_repository_before_pip_and_pip_finds_its_files():
    """Lines that name files here, `-c FILE` and `-e .`, make repo2docker do so; it runs pip in this folder."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (lines,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    options = dict(line.split(" ", 1) for line in lines)
    assert set(options) == {"-c", "-e"} and (ROOT / options["-c"]).is_file()
    folder, extras = re.fullmatch(r"(.*)\[(.*)\]", options["-e"]).groups()
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def first_cell(chapters: Path, address: str = ADDRESS) -> str:
    """The code of the launch cell as IPython runs it, with another address to fetch from."""
    from IPython.core.inputtransformer2 import TransformerManager

    badges(chapters, ADDRESS, "--version", "v1")
    source = jupytext.read(chapters / f"{NAME}.ipynb").cells[2].source
    return TransformerManager().transform_cell(source.replace(ADDRESS, address))


def test_the_first_cell_does_nothing_at_home(chapters, monkeypatch):
    code = first_cell(chapters)
    monkeypatch.chdir(ROOT / "chapters")
    exec(compile(code, "cell", "exec"), {})  # get_ipython() would fail here, had anything to be installed
    assert "get_ipython().run_line_magic('pip'" in code


def test_the_first_cell_fetches_the_book_and_goes_to_its_chapters(chapters, tmp_path_factory, monkeypatch):
    """From a small repository in place of the book's; what would be installed is noted."""
    book, away = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("content")
    for name in ("lfdm_lite/__init__.py", "assets/checkpoints/faces64/config.json", "chapters/00_tour.ipynb"):
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text("{}")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=book, check=True)
    code, installed = first_cell(chapters, book.as_uri()), []
    shell = SimpleNamespace(run_line_magic=lambda *words: installed.append(words))
    for folder in (away, away):  # a second time after the kernel was started anew
        monkeypatch.chdir(folder)
        exec(compile(code, "cell", "exec"), {"get_ipython": lambda: shell})
        assert Path.cwd() == away / "book" / "chapters"
        assert lfdm.asset("checkpoints/faces64") == Path("../assets/checkpoints/faces64")
    assert installed == [("pip", 'install -q "./book[all]"')] * 2


def test_an_address_that_is_none_is_refused(chapters):
    command = [sys.executable, str(ROOT / "launch" / "badges.py"), "github.com/someone", "--chapters", str(chapters)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "is no address of a repository such as" in done.stderr


def test_the_book_names_no_repository_of_its_own():
    for path in (ROOT / "chapters").glob("[0-9]*.py"):
        assert "colab.research" not in path.read_text(encoding="utf-8")

"""Launch badges: put in, pointed elsewhere, taken out; and what their cell does where nothing is to be installed."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jupytext
import pytest

import lfdm_lite as lfdm

ADDRESS = "https://github.com/someone/book"
ROOT = Path(__file__).parents[1]
NAME = "00_tour"


def badges(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "launch" / "badges.py"), *words, "--chapters", str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def chapters(tmp_path):
    for suffix in (".py", ".ipynb"):
        shutil.copy(ROOT / "chapters" / f"{NAME}{suffix}", tmp_path)
    return tmp_path


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_badges_stand_behind_the_title_of_both_halves_and_go_again(chapters):
    before = {suffix: cells(chapters / f"{NAME}{suffix}") for suffix in (".py", ".ipynb")}
    assert badges(chapters, ADDRESS, "--version", "v1").returncode == 0
    for suffix, old in before.items():
        new = cells(chapters / f"{NAME}{suffix}")
        assert new[0] == old[0] and new[3:] == old[1:]
        assert new[1][0] == "markdown" and new[2][0] == "code"
        for place in ("colab.research.google.com/github/someone/book/blob/v1/", "mybinder.org/v2/gh/someone/book/v1?"):
            assert place in new[1][1]
        assert f"fetch -q --depth 1 {ADDRESS} v1 " in new[2][1]
    assert badges(chapters).returncode == 0
    assert before == {suffix: cells(chapters / f"{NAME}{suffix}") for suffix in (".py", ".ipynb")}


def test_badges_point_to_one_place_only(chapters):
    for name in ("first", "second"):
        badges(chapters, f"https://github.com/someone/{name}", "--version", "v1")
    text = (chapters / f"{NAME}.py").read_text()
    assert "someone/second" in text and "someone/first" not in text


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
    done = badges(chapters, "github.com/someone")
    assert done.returncode == 2 and "is no address of a repository such as" in done.stderr


def test_the_book_names_no_repository_of_its_own():
    for path in (ROOT / "chapters").glob("[0-9]*.py"):
        assert "colab.research" not in path.read_text(encoding="utf-8")

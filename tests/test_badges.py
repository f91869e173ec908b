"""Launch badges: put in, pointed elsewhere, taken out; and what their cell does where nothing is to be installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

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
    assert badges(chapters, "https://github.com/someone/book", "--version", "v1").returncode == 0
    for suffix, old in before.items():
        new = cells(chapters / f"{NAME}{suffix}")
        assert new[0] == old[0] and new[3:] == old[1:]
        assert new[1][0] == "markdown" and new[2][0] == "code"
        for place in ("colab.research.google.com/github/someone/book/blob/v1/", "mybinder.org/v2/gh/someone/book/v1?"):
            assert place in new[1][1]
        assert "git+https://github.com/someone/book@v1" in new[2][1]
    assert badges(chapters).returncode == 0
    assert before == {suffix: cells(chapters / f"{NAME}{suffix}") for suffix in (".py", ".ipynb")}


def test_badges_point_to_one_place_only(chapters):
    for name in ("first", "second"):
        badges(chapters, f"https://github.com/someone/{name}", "--version", "v1")
    text = (chapters / f"{NAME}.py").read_text()
    assert "someone/second" in text and "someone/first" not in text


def test_the_first_cell_does_nothing_where_the_package_is(chapters):
    badges(chapters, "https://github.com/someone/book", "--version", "v1")
    source = jupytext.read(chapters / f"{NAME}.ipynb").cells[2].source
    from IPython.core.inputtransformer2 import TransformerManager

    code = TransformerManager().transform_cell(source)
    exec(compile(code, "cell", "exec"), {})  # get_ipython() would fail here, had anything to be installed
    assert "get_ipython().run_line_magic('pip'" in code


def test_an_address_that_is_none_is_refused(chapters):
    done = badges(chapters, "github.com/someone")
    assert done.returncode == 2 and "is no address of a repository such as" in done.stderr


def test_the_book_names_no_repository_of_its_own():
    for path in (ROOT / "chapters").glob("[0-9]*.py"):
        assert "colab.research" not in path.read_text(encoding="utf-8")

"""The book's files are found wherever a chapter runs, or one sentence says what to do."""

from pathlib import Path

import pytest

import lfdm_lite as lfdm
from lfdm_lite.files import assets

ROOT = Path(__file__).parents[1]
MODEL = "checkpoints/faces64/config.json"


@pytest.fixture
def away(tmp_path, monkeypatch) -> Path:
    """A folder that is not the book's, with a library that was installed alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LFDM_ASSETS", raising=False)
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "site-packages" / "lfdm_lite" / "files" / "assets.py"))
    return tmp_path


def book(folder: Path) -> Path:
    (folder / "assets" / MODEL).parent.mkdir(parents=True)
    (folder / "assets" / MODEL).write_text("{}")
    return folder / "assets"


def test_at_home_the_folder_is_beside_the_chapters(monkeypatch):
    monkeypatch.delenv("LFDM_ASSETS", raising=False)
    monkeypatch.chdir(ROOT / "chapters")
    assert lfdm.asset() == Path("../assets")
    assert lfdm.asset("examples/person_a.png") == Path("../assets/examples/person_a.png")


def test_from_anywhere_the_sources_know_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LFDM_ASSETS", raising=False)
    assert lfdm.asset(MODEL) == ROOT / "assets" / MODEL


@pytest.mark.parametrize("below", [".", "a", "a/b/c"])
def test_it_is_found_in_the_working_folder_and_those_above(away, monkeypatch, below):
    there = book(away)
    (away / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(away / below)
    assert lfdm.asset(MODEL).resolve() == there / MODEL and not lfdm.asset().is_absolute()


def test_a_variable_of_the_environment_comes_first(away, monkeypatch):
    book(away)
    there = book(away / "elsewhere")
    monkeypatch.setenv("LFDM_ASSETS", str(there))
    assert lfdm.asset(MODEL) == there / MODEL


def test_another_folder_of_that_name_is_passed_by(away, monkeypatch):
    there = book(away)
    (away / "site" / "assets").mkdir(parents=True)
    monkeypatch.chdir(away / "site")
    assert lfdm.asset().resolve() == there


def test_without_the_folder_one_sentence_says_what_to_do(away):
    with pytest.raises(
        FileNotFoundError, match="inside a clone of the book's repository, or let LFDM_ASSETS name"
    ) as told:
        lfdm.asset("checkpoints/faces64")
    assert "\n" not in str(told.value)


def test_a_file_that_the_folder_lacks_is_named(away):
    book(away)
    with pytest.raises(FileNotFoundError, match="assets has no chapters/99: is it of the version"):
        lfdm.asset("chapters/99")


def test_an_installed_library_holds_the_model_and_knows_that_it_is_not_the_book(away):
    book(away / "site-packages" / "lfdm_lite")
    assert lfdm.asset(MODEL) == away / "site-packages" / "lfdm_lite" / "assets" / MODEL
    for name in ("", "chapters/09"):
        with pytest.raises(FileNotFoundError, match="run this inside a clone"):
            lfdm.asset(name)


def test_inside_a_clone_the_book_comes_before_what_is_installed(away):
    book(away / "site-packages" / "lfdm_lite")
    there = book(away)
    assert lfdm.asset(MODEL).resolve() == there / MODEL

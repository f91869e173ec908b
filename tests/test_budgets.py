"""The table of budgets: it adds up, rows change by moving alone, and what is there fits."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from . import budgets, took

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sizes():
    try:
        return budgets.tracked()
    except RuntimeError as error:
        pytest.skip(str(error))


# ---------------------------------------------------------------- this project


@pytest.mark.parametrize("table", budgets.TABLES)
def test_the_rows_add_up_to_their_sum_after_all_moves(table):
    assert budgets.rows(table, {})[-1].allowed == budgets.TABLES[table]["all"]


def test_tracked_files_fit(sizes):
    table = budgets.rows("megabytes", budgets.megabytes(sizes))
    assert not budgets.exceeded(table)
    assert table[-1].taken == pytest.approx(sum(sizes.values()) / 1e6)


def test_no_tracked_file_is_too_large(sizes):
    limit = budgets.TABLES["megabytes"]["largest_file"] * 1e6
    assert not {path: size for path, size in sizes.items() if size >= limit}


@pytest.mark.parametrize("table", ["modules", "lines"])
def test_rooms_fit(table):
    taken = dict(zip(["modules", "lines"], budgets.rooms(), strict=True))
    assert not budgets.exceeded(budgets.rows(table, taken[table]))


def test_every_move_says_why():
    assert all(len(move["why"].split()) > 3 for move in budgets.MOVED)


def test_every_stage_of_the_makefile_has_a_row_of_minutes():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    parts = re.findall(r"(?:\$\(TOOK\)|tests\.took) ([a-z]+(?:/[a-z]+)?) ", text)
    assert len(parts) == len(set(parts)) > 7
    budgets.rows("minutes", {part.partition("/")[0]: 1 for part in parts})


# ---------------------------------------------------------------- the table itself

TABLES = {
    "minutes": {
        "all": 10,
        "rows": [{"name": "unit", "allowed": 4}, {"name": "book", "allowed": 6}],
    }
}


def move(amount: float, there: str = "unit") -> list[dict]:
    return [{"table": "minutes", "from": "book", "to": there, "amount": amount}]


def test_what_one_row_gets_another_gives():
    before, after = budgets.rows("minutes", {}, TABLES, []), budgets.rows("minutes", {}, TABLES, move(1))
    assert [row.allowed for row in before] == [4, 6, 10]
    assert [row.allowed for row in after] == [5, 5, 10]


@pytest.mark.parametrize("wrong", [move(7), move(0), move(-1), move(1, "attic")])
def test_a_row_cannot_give_what_it_has_not(wrong):
    with pytest.raises(ValueError, match="can be moved"):
        budgets.rows("minutes", {}, TABLES, wrong)


def test_rows_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="add up to 10, not to 11"):
        budgets.rows("minutes", {}, {"minutes": TABLES["minutes"] | {"all": 11}}, [])


def test_what_no_row_is_there_for_is_refused():
    with pytest.raises(ValueError, match="no row for attic; the rows are: unit, book"):
        budgets.rows("minutes", {"attic": 1}, TABLES, [])


@pytest.mark.parametrize(
    "unit, book, names",
    [(4, 6, []), (5.9, 4, []), (6.1, 3.5, ["unit"]), (5, 5.5, ["all"]), (7, 9.1, ["unit", "book", "all"])],
)
def test_a_row_may_be_exceeded_by_half_and_a_sum_not_at_all(unit, book, names):
    table = budgets.rows("minutes", {"unit": unit, "book": book}, TABLES, [])
    assert [row.name for row in budgets.exceeded(table)] == names


def test_a_file_counts_once_for_the_first_row_that_fits():
    files = {"chapters/a/b.ipynb": 2_000_000, "tests/parity/data/x.npz": 3_000_000, "lfdm_lite/geometry.py": 4_000_000}
    assert budgets.megabytes(files) == {"chapters": 2, "parity": 3, "rest": 4}


# ---------------------------------------------------------------- noting what a stage took


def test_the_parts_of_a_row_add_up_and_a_later_run_replaces_its_note(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(took, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(took.subprocess, "call", lambda seconds: now.__setitem__(0, now[0] + float(seconds[0])) or 0)
    for part, seconds in (("book/build", "60"), ("book/build", "30"), ("book/pages", "90"), ("unit", "15")):
        assert took.main(part, seconds, notes=tmp_path) == 0
    assert budgets.minutes(tmp_path) == {"book": 2, "unit": 0.25}
    assert len(list(tmp_path.iterdir())) == 3


def test_what_a_command_takes_is_the_time_that_passes_until_it_has_ended(tmp_path):
    wait = "import time; time.sleep(0.3)"
    assert took.main("unit", sys.executable, "-c", wait, notes=tmp_path) == 0
    assert 0.3 <= 60 * budgets.minutes(tmp_path)["unit"]


@pytest.mark.parametrize("end, code", [("exit 3", 3), ("kill -TERM $$", 143)])
def test_a_command_that_fails_says_so_and_leaves_no_note(tmp_path, end, code):
    assert took.main("unit", "sh", "-c", end, notes=tmp_path) == code
    assert not list(tmp_path.iterdir())


def test_noting_needs_nothing_that_is_yet_to_be_installed():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import tests.took", str(ROOT)]
    )
    assert done.returncode == 0


def test_where_everything_is_slow_a_row_may_be_too_and_the_sum_may_not():
    slow = budgets.rows("minutes", {"unit": 6.3, "book": 3.5}, TABLES, [])
    assert [row.name for row in budgets.exceeded(slow)] == ["unit"]
    assert not budgets.exceeded(slow, usual=8)
    one_alone = budgets.rows("minutes", {"unit": 6.3, "book": 1.5}, TABLES, [])
    assert [row.name for row in budgets.exceeded(one_alone, usual=8)] == ["unit"]
    assert [row.name for row in budgets.exceeded(budgets.rows("minutes", {"book": 11}, TABLES, []), 5)] == ["all"]


@pytest.mark.parametrize("new, allowed", [(True, 10), (False, 12)])
def test_the_sum_may_be_larger_where_the_processor_is_of_a_slower_kind(monkeypatch, new, allowed):
    import torch

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: new)
    table = budgets.rows("minutes", {"unit": 5.5, "book": 5.5}, TABLES, [])
    assert budgets.on_this_processor(table, 1.2)[-1].allowed == allowed
    assert budgets.on_this_processor(table) == table
    found = budgets.exceeded(budgets.on_this_processor(table, 1.2))
    assert [row.name for row in found] == ["all"] * (allowed == 10)


def test_the_command_prints_every_row_and_fails_where_one_is_exceeded(monkeypatch, capsys):
    fine = {table: {} for table in budgets.TABLES}
    monkeypatch.setattr(budgets, "taken", lambda: fine)
    assert budgets.main() == 0
    printed = capsys.readouterr().out
    for table in budgets.TABLES.values():
        assert all(row.get("what", row["name"]) in printed for row in table["rows"])
    monkeypatch.setattr(budgets, "taken", lambda: fine | {"minutes": {"hostile": 3.5}})
    assert budgets.main() == 1
    assert "minutes, broken and hostile inputs: 3.5 of 2" in capsys.readouterr().err

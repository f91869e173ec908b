"""The ledger leads from each concept of the paper to a section, a symbol and a test, and all of them are there."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .chapter_pairs import CHAPTERS
from .failure_gallery import sections, slug

TESTS = Path(__file__).parent
LINK = re.compile(r"\[[^\]]+\]\(([\w.]+)(?:#([\w-]+))?\)")


class Row(NamedTuple):
    concept: str
    where: str
    library: str
    test: str
    deviation: str


def rows() -> list[Row]:
    lines = (CHAPTERS / "ledger.md").read_text(encoding="utf-8").splitlines()
    cells = [re.split(r" \| ", line.strip("| ")) for line in lines if line.startswith("| ")]
    return [Row(*row) for row in cells if row[0] != "concept"]


def symbol(path: str) -> Any:
    """What stands behind `package.module.Class.method`.

    Raises:
        ImportError, AttributeError: nothing does.
    """
    first, *names = path.split(".")
    found, here = import_module(first), first
    for name in names:
        here = f"{here}.{name}"
        try:
            found = getattr(found, name)
        except AttributeError:
            if not hasattr(found, "__path__"):
                raise
            found = import_module(here)
    return found


@cache
def defined_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


ROWS = rows()


def test_there_is_a_row_for_what_the_paper_is_about():
    assert 30 <= len(ROWS) <= 80 and len({row.concept for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: slug(row.concept))
def test_section_symbol_and_test_of_a_row_exist(row):
    linked = LINK.fullmatch(row.where)
    if linked:
        file, anchor = linked.groups()
        assert (CHAPTERS / file).exists(), file
        if anchor:
            there = [slug(heading) for heading in sections(file.removesuffix(".ipynb"))]
            assert anchor in there, f"{file} has no heading {anchor}; it has: {', '.join(there)}"
    else:
        chapter = re.fullmatch(r"(\d\d) [a-z ]+ \(coming\)", row.where)
        assert chapter and not list(CHAPTERS.glob(f"{chapter[1]}_*")), f"{row.where}: no link, yet it is there"
    symbols, tests = re.findall(r"`([\w.]+)`", row.library), re.findall(r"`(\w+\.py)::(\w+)`", row.test)
    assert symbols and tests, row
    assert all(path.startswith("lfdm_lite.") and symbol(path) is not None for path in symbols)
    for file, name in tests:
        assert name in defined_in(file), f"tests/{file} has no {name}"
    assert row.deviation.startswith("None") or len(row.deviation.split()) > 5, "a deviation has a reason"


def test_what_is_not_there_is_noticed():
    with pytest.raises(AttributeError):
        symbol("lfdm_lite.geometry.wrap")
    with pytest.raises(ImportError):
        symbol("lfdm_lite.data.paper.prepair")
    assert symbol("lfdm_lite.diffusion.GaussianDiffusion.loss").__name__ == "loss"
    assert "test_of_nothing" not in defined_in("test_geometry.py")

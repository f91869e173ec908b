"""Each promise names tests, and all of them are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "chapters" / "promises.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").rsplit(" | ", 1) for line in PAGE.splitlines() if line.startswith("| ")]
PROMISES = [row for row in ROWS if row[1] != "test"]


@cache
def defined_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise, tests", PROMISES, ids=[promise[:40] for promise, _ in PROMISES])
def test_every_promise_names_tests_that_exist(promise, tests):
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert named and len(named) == tests.count("`") // 2, f"only tests as `file.py::test_name`: {tests}"
    assert not [f"{file}::{name}" for file, name in named if name not in defined_in(file)]


def test_there_are_promises_of_every_kind():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert len(headings) == 7 and headings[-1] == "What is not promised"
    assert len(PROMISES) > 30 and len({promise for promise, _ in PROMISES}) == len(PROMISES)

"""The plan of the house: rooms that know those below them alone, and modules that one can hold in the head."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from . import budgets
from .import_graph import ROOT, STOREY, arrows, backward, circles, folder, homeless, lines, modules

FILES = modules()
GRAPH = arrows(FILES)
AT_ROOT = {name: file for name, file in FILES.items() if name and folder(file) == "root"}

# Longer than 300 lines, with today's length; a module leaves this list by getting shorter.
LONG: dict[str, int] = {}


def test_every_module_has_a_storey():
    assert not homeless(GRAPH)


def test_no_room_knows_one_above_it():
    assert not backward(GRAPH), "these imports run against the order of tests/import_graph.py"


def test_no_modules_import_each_other_in_a_circle():
    assert not circles(GRAPH)


def test_the_root_holds_few_modules_and_few_lines():
    assert len(AT_ROOT) <= 20
    most = next(row.allowed for row in budgets.rows("lines", {}) if row.name == "root")
    assert sum(lines(file) for file in AT_ROOT.values()) <= most


def test_no_other_folder_is_a_heap():
    sizes = Counter(folder(file) for file in FILES.values())
    assert not {name: size for name, size in sizes.items() if size > 14 and name != "root"}


def test_no_module_is_longer_than_a_head_can_hold():
    lengths = {name: lines(file) for name, file in FILES.items()}
    assert not {name: length for name, length in lengths.items() if length > LONG.get(name, 300)}
    assert not {name for name in LONG if lengths.get(name, 0) <= 300}, "short enough: take it from the list"


def words(tree: ast.AST) -> set[str]:
    """Names and texts of a module, without its docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""  # a docstring, met before its constant
        for _, value in ast.iter_fields(node):
            found |= {text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)}
    return found


@pytest.mark.parametrize("name", [name for name in AT_ROOT if name != "cli"])
def test_the_teaching_path_knows_nothing_of_the_published_code(name):
    said = words(ast.parse(AT_ROOT[name].read_text(encoding="utf-8")))
    assert not {word for word in said if "official" in word.lower() or "published" in word.lower()}


# ---------------------------------------------------------------- the graph itself


@pytest.fixture
def house(tmp_path):
    def build(**sources: str) -> dict[str, Path]:
        for name, source in {"__init__": "", **sources}.items():
            file = tmp_path / "lfdm_lite" / (name.replace("__of__", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return modules(tmp_path)

    return build


@pytest.mark.parametrize(
    "statement",
    [
        "from .pipeline import LFDM",
        "from . import pipeline",
        "import lfdm_lite.pipeline",
        "from lfdm_lite import pipeline",
    ],
)
@pytest.mark.parametrize("where", ["{}", "def f():\n    {}", "class A:\n    def f(self):\n        {}"])
def test_an_arrow_is_seen_wherever_it_stands(house, statement, where):
    graph = arrows(house(geometry=where.format(statement), pipeline=""))
    assert backward(graph) == [("geometry", "pipeline")]


def test_an_arrow_out_of_a_folder_is_seen(house):
    sources = {"data__of____init__": "", "data__of__faces": "from ..training import loop\nfrom . import heads"}
    graph = arrows(house(**sources, data__of__heads="", training__of____init__="", training__of__loop=""))
    assert graph["data.faces"] == {"training.loop", "data.heads"}
    assert backward(graph) == [("data.faces", "training.loop")]


def test_names_from_the_package_itself_run_backwards_but_its_version_does_not(house):
    files = house(geometry="from . import LFDM", cli="from . import __version__")
    assert backward(arrows(files)) == [("geometry", "")]


def test_a_circle_is_seen_with_all_its_members(house):
    graph = arrows(house(flow="from . import layers", layers="from . import motion", motion="from . import flow"))
    assert circles(graph) == [["flow", "layers", "motion"]]


def test_outside_packages_are_no_rooms(house):
    assert arrows(house(geometry="import torch\nfrom numpy import pi"))["geometry"] == set()


def test_a_room_that_the_plan_does_not_name_is_seen(house):
    assert homeless(arrows(house(attic=""))) == ["attic"]
    assert "attic" not in STOREY


def test_the_sources_are_those_of_this_tree():
    assert (ROOT / "lfdm_lite").is_dir() and len(FILES) > 100

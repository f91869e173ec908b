"""How `pytest --nbval` runs the chapters: the same from every folder, for everyone's settings, cell after cell.

nbval compares text; pictures are held against the stored ones here, in the same run. With `--solutions`, the kernel
that has run a chapter goes on with its solutions, and each check of an exercise meets wrong answers.
"""

import os
from collections import defaultdict
from collections.abc import Generator

import pytest

# The ways in which pytest-xdist gives all cells of a notebook to one process, and so to one kernel.
TOGETHER = ("loadfile", "loadscope")


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "with --nbval: after a chapter run its solutions, and let the checks of its exercises meet wrong answers"
    parser.addoption("--solutions", action="store_true", help=told)


def runs_notebooks(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "nbval", False) or getattr(config.option, "nbval_lax", False))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With `-n`, keep the cells of a notebook together."""
    if not runs_notebooks(config) or not getattr(config.option, "numprocesses", None):
        return
    if config.option.dist == "no":  # nothing was asked for; xdist itself would take "load"
        config.option.dist = "loadfile"
    elif config.option.dist not in TOGETHER:
        raise pytest.UsageError(f"--dist {config.option.dist} scatters the cells of a notebook; use --dist loadfile")


def pytest_configure(config: pytest.Config) -> None:
    """Name files from the root, and leave a reader's own settings out: stored outputs were made without any."""
    if runs_notebooks(config):
        if config.option.nbval_sanitize_with is None:
            config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # also where a notebook imports torch first
        os.environ["MATPLOTLIBRC"] = os.devnull  # read before a matplotlibrc in the reader's own folder of settings
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        os.environ["IPYTHONDIR"] = str(config.rootpath / "_build" / "ipython")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--solutions`, behind the last cell of each chapter what its readers may answer."""
    if not (runs_notebooks(config) and config.option.solutions):
        return
    from nbformat.v4 import new_code_cell

    from tests.exercises import afterwards

    last = {item.parent: place for place, item in enumerate(items) if hasattr(item, "test_outputs")}
    for chapter, place in reversed(last.items()):
        kind, options = type(items[place]), defaultdict(bool)  # nbval's: without options nothing is compared
        answers = afterwards(chapter.path.stem, chapter.nb)
        items[place + 1 : place + 1] = [
            kind.from_parent(chapter, name=name, cell_num=number, cell=new_code_cell(code), options=options)
            for number, (name, code) in enumerate(answers, start=items[place].cell_num + 1)
        ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """After nbval has run a cell and found its text right, look at its pictures."""
    if not runs_notebooks(item.config) or not hasattr(item, "test_outputs"):
        return (yield)
    from tests import pictures

    # nbval leaves PNG and JPEG out of its comparison of text; the other pictures do not belong there either.
    item.parent.skip_compare = {*item.parent.skip_compare, *pictures.KINDS}
    found = yield
    pictures.check(item)
    return found

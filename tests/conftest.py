"""Every call in the tests checks the shapes that the library's annotations promise; caches are the tests' own."""

import os
from collections.abc import Generator
from inspect import isfunction

import jaxtyping
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: networks in tests are small, and numbers must repeat

checked = jaxtyping.jaxtyped


def checked_if_it_promises(**how):
    """What the import hook puts on every function, but for those without annotations: there is nothing to check.

    Neither on those within functions that draw: a clip makes and calls hundreds, which takes longer than drawing.
    """
    decorate = checked(**how)
    return lambda thing: thing if isfunction(thing) and (not thing.__annotations__ or draws(thing)) else decorate(thing)


def draws(function) -> bool:
    """Whether it is a shape, a paint or a way, made anew for every clip."""
    return function.__module__.startswith("lfdm_lite.data.drawn") and "<locals>" in function.__qualname__


jaxtyping.jaxtyped = checked_if_it_promises
jaxtyping.install_import_hook("lfdm_lite", "beartype.beartype")


def pytest_addoption(parser):
    parser.addoption("--hostile", type=int, default=150, help="how many broken or odd inputs tests/hostile makes")
    parser.addoption("--whole-class", action="store_true", help="tests/test_class.py marks every problem set, not one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test come first: begun last, one would keep a single process busy when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """With `--dist loadscope` a file goes to one process, but of test_site_pages.py each page goes to one.

    (Marks of groups do not reach pytest-xdist 3.8.0 from pytest 9.2: `--dist loadgroup` scatters all tests.)
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByPage(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return test.partition("[")[2] or test if file.endswith("test_site_pages.py") else file

    return ByPage(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a test of the site that is skipped fails: browser, axe-core and model can be had there."""
    report = yield
    if report.skipped and item.get_closest_marker("site") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"Not skipped, for CI=true: {why(report)}"
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Elsewhere the last lines say what of the site nobody looked at."""
    unseen = [report for report in terminalreporter.getreports("skipped") if "site" in report.keywords]
    if unseen:
        terminalreporter.section(f"THE SITE IS NOT FULLY CHECKED: {len(unseen)} skipped", red=True, bold=True)
        for reason in sorted(set(map(why, unseen))):
            terminalreporter.line(reason, red=True)


def why(report: pytest.TestReport) -> str:
    """Of a test that is skipped."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory, monkeypatch):
    """No test reads or fills the caches of who runs it."""
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A cache of clips that all toy runs of a file share."""
    from lfdm_lite.training import PRESETS
    from lfdm_lite.training.stages.clips import cached_clips

    folder = tmp_path_factory.mktemp("drawn")
    for split in ("train", "val"):
        cached_clips(PRESETS["tiny"].judge.data, split, folder)
    return folder


@pytest.fixture
def runs(tmp_path, drawn):
    """A folder for runs, whose clips are drawn already."""
    (tmp_path / "cache").symlink_to(drawn)
    return tmp_path

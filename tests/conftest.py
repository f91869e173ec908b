"""Every call in the tests checks the shapes that the library's annotations promise; caches are the tests' own."""

import os

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: networks in tests are small, and numbers must repeat

install_import_hook("lfdm_lite", "beartype.beartype")


def pytest_addoption(parser):
    parser.addoption("--hostile", type=int, default=150, help="how many broken or odd inputs tests/hostile makes")
    parser.addoption("--whole-class", action="store_true", help="tests/test_class.py marks every problem set, not one")


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

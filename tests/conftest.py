"""Every call in the tests checks the shapes that the library's annotations promise; caches are the tests' own."""

import pytest
from jaxtyping import install_import_hook

install_import_hook("lfdm_lite", "beartype.beartype")


def pytest_addoption(parser):
    parser.addoption("--hostile", type=int, default=150, help="how many broken or odd inputs tests/hostile makes")


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory, monkeypatch):
    """No test reads or fills the caches of who runs it."""
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

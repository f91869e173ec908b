"""Broken and odd input: one line and exit code 2, or a sound result; nothing is lost, run, or waited for.

`python -m tests.hostile 17` runs number 17 again alone.
"""

import os

import pytest

from .session import Session, name_of


def pytest_generate_tests(metafunc):
    count = metafunc.config.getoption("--hostile")
    metafunc.parametrize("number", range(count), ids=[f"{number}-{name_of(number)}" for number in range(count)])


@pytest.fixture(scope="module")
def session(tmp_path_factory, pytestconfig):
    made = Session(tmp_path_factory.mktemp("hostile"), range(pytestconfig.getoption("--hostile")))
    yield made
    made.close()


@pytest.mark.hostile
@pytest.mark.skipif(os.name == "nt", reason="made of pipes, links and names that Windows does not know")
def test_odd_input_gets_one_line_or_a_sound_result(session, number):
    arguments, found = session.found[number].result()
    assert not found, f"lfdm {arguments}: {'; '.join(found)}"

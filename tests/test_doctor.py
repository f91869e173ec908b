"""`lfdm doctor` and the check of a chapter's first cell; threads that leave cores to others."""

import json
import os
import re
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jupytext
import pytest
import torch
from jupyter_client.manager import start_new_kernel

import lfdm_lite as lfdm
from lfdm_lite.cli import main
from lfdm_lite.commands.doctor import looks as command
from lfdm_lite.files.machine import packages
from lfdm_lite.training.engine import computing
from lfdm_lite.training.engine.recipes import RECIPE, threads_of

from .patience import HUNG
from .test_pipeline import tiny_model

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.py"))


def package(name="torch", needs=">=2.4", installed="2.13.0", tested="2.13.0"):
    return packages.Package(name, needs, installed, tested)


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine of which nothing can be said."""
    for module in (packages, command):
        monkeypatch.setattr(module, "packages", lambda: {"": [package()], "train": [package("accelerate")]})
        monkeypatch.setattr(module, "busy", lambda: False)
        monkeypatch.setattr(module, "waits_actively", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(command, "LITTLE_MEMORY", 0.0)
    monkeypatch.setattr(command, "LITTLE_DISK", 0.0)
    saved = tiny_model().save_pretrained(tmp_path / "model")
    monkeypatch.setenv("LFDM_CHECKPOINT", str(saved))
    return saved


def report(capsys, status: int) -> dict:
    assert main(["doctor", "--json"]) == status
    return json.loads(capsys.readouterr().out)


def only(lines: list[str]) -> str:
    (line,) = lines
    return line


def test_on_a_healthy_machine_nothing_has_to_be_done(healthy, capsys):
    found = report(capsys, 0)
    assert found["problems"] == found["remarks"] == []
    assert {"software", "extras", "processor", "accelerator", "disk", "model"} <= set(found["facts"])
    assert found["facts"]["processor"]["threads"] == str(torch.get_num_threads())
    assert found["facts"]["model"]["folder"] == str(healthy)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "torch" in said and "2.13.0 (>=2.4, tested 2.13.0)" in said and "nothing has to be done" in said


@pytest.mark.parametrize(
    ("installed", "status", "said"),
    [
        (None, 1, 'torch is missing: pip install "torch>=2.4"'),
        ("2.3.1", 1, 'torch 2.3.1 is too old: pip install "torch>=2.4"'),
        ("2.14.0", 0, "torch 2.14.0 is newer than 2.13.0, which was tested"),
    ],
)
def test_a_package_that_is_off_is_named_with_what_to_do(healthy, capsys, monkeypatch, installed, status, said):
    monkeypatch.setattr(command, "packages", lambda: {"": [package(installed=installed)]})
    found = report(capsys, status)
    assert said in only(found["problems"] + found["remarks"])


def test_an_extra_that_is_not_there_is_no_problem(healthy, capsys, monkeypatch):
    lacking = {"": [package()], "train": [package("accelerate", installed=None), package("psutil")]}
    for module in (packages, command):
        monkeypatch.setattr(module, "packages", lambda: lacking)
    found = report(capsys, 0)
    assert found["facts"]["extras"]["train"].startswith("without accelerate; if you need it: pip install")


def test_away_from_the_repository_nobody_is_told_of_its_book_and_tests(healthy, capsys, monkeypatch):
    lacking = {"": [package()], "train": [package("psutil")], "dev": [package("pytest", installed=None)]}
    monkeypatch.setattr(command, "packages", lambda: lacking)
    assert set(report(capsys, 0)["facts"]["extras"]) == {"train", "dev"}
    monkeypatch.setattr(command, "clone", lambda: None)
    assert set(report(capsys, 0)["facts"]["extras"]) == {"train"}


def test_a_damaged_model_and_a_missing_one_are_named(healthy, capsys, monkeypatch):
    weights = healthy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors" in only(report(capsys, 1)["problems"])
    monkeypatch.setenv("LFDM_CHECKPOINT", str(healthy / "nowhere"))
    assert "no model to generate with" in only(report(capsys, 1)["problems"])


def test_a_cache_that_cannot_be_written_and_a_full_disk_are_named(healthy, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "LITTLE_DISK", 1.0)
    monkeypatch.setattr(command.shutil, "disk_usage", lambda place: SimpleNamespace(free=2e8))
    assert "0.2 GB are free" in only(report(capsys, 1)["problems"])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path / "file" / "cache"))
    assert "let LFDM_CACHE name a folder" in only(report(capsys, 1)["problems"])


def test_one_part_that_breaks_hides_no_other(healthy, capsys, monkeypatch):
    monkeypatch.setattr(command, "user_cache", lambda: 1 / 0)
    found = report(capsys, 1)
    assert "cache cannot be looked at: ZeroDivisionError" in only(found["problems"]) and "model" in found["facts"]


def test_secrets_of_the_environment_are_not_told(healthy, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_TOKEN", "of_no_value")
    monkeypatch.setenv("LFDM_DEBUG", "")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "of_no_value" not in said and "LFDM_DEBUG" in said


# ---------------------------------------------------------------- waiting and threads


def python(code: str, stream: str = "stdout", **environment: str) -> str:
    """What a new process prints that has none of this one's settings of OpenMP."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    kept |= {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    return getattr(done, stream)


POLICY = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"


def test_the_library_chooses_passive_waiting_before_torch_is_loaded():
    assert python(f"import sys, lfdm_lite; assert 'torch' not in sys.modules; {POLICY}") == "PASSIVE\n"
    assert python(f"import lfdm_lite.cli; {POLICY}") == "PASSIVE\n"


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP says what it has read")
@pytest.mark.parametrize("first, spins", [("lfdm_lite, torch", False), ("torch, lfdm_lite", True)])
def test_threads_of_torch_keep_no_core_while_they_wait_where_the_library_came_first(first, spins):
    said = python(f"import {first}; torch.ones(1)", "stderr", OMP_DISPLAY_ENV="VERBOSE", OMP_NUM_THREADS="2")
    counts = [int(count) for count in re.findall(r"GOMP_SPINCOUNT = '(\d+)'", said)]  # of looks before a thread sleeps
    assert counts and all((count > 0) == spins for count in counts), said


def test_a_choice_of_the_user_stays_and_a_late_one_is_not_pretended():
    assert python(f"import lfdm_lite; {POLICY}", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE\n"
    late = "import sys; sys.modules['torch'] = object(); import lfdm_lite; "
    assert python(late + POLICY) == "None\n"


def test_the_commands_that_run_chapters_choose_it_too():
    assert "export OMP_WAIT_POLICY ?= PASSIVE" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert 'setdefault("OMP_WAIT_POLICY", "PASSIVE")' in (ROOT / "conftest.py").read_text(encoding="utf-8")


@pytest.fixture
def threads(monkeypatch):
    """torch has four threads, and what it is told is noted."""
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.__setitem__(0, n))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return now


@pytest.mark.parametrize(("others", "left"), [(0, 4), (10, 4), (30, 3), (50, 2), (90, 1), (100, 1)])
def test_training_leaves_the_cores_that_others_use(threads, monkeypatch, others, left):
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: others)
    changed = computing.share_cores()
    assert threads == [left] and changed == (left if left < 4 else None)


def test_a_run_that_goes_on_keeps_its_threads_and_a_user_who_says_how_many_gets_them(threads, monkeypatch):
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 100)
    assert computing.share_cores("3") == 3 and threads == [3]
    assert computing.share_cores("64") is None and threads == [3]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert computing.share_cores() is None and threads == [3]


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ({"versions": {"threads": "2"}}, "2"),
        ({"versions": {"threads": 2}}, None),
        ({"versions": {"threads": "-2"}}, None),
        ({"versions": []}, None),
        ([], None),
    ],
)
def test_threads_of_a_run_are_those_of_its_recipe(tmp_path, recipe, found):
    assert threads_of(tmp_path) is None
    (tmp_path / RECIPE).write_text(json.dumps(recipe))
    assert threads_of(tmp_path) == found


# ---------------------------------------------------------------- a chapter's first cell


def test_where_all_is_as_tested_the_check_is_silent(healthy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lfdm.check_environment() is None


@pytest.mark.parametrize(
    ("installed", "said"), [("2.3.1", 'torch 2.3.1 is too old: pip install "torch>=2.4"'), ("2.14", "newer than what")]
)
def test_a_version_outside_the_tested_range_is_a_warning(healthy, monkeypatch, installed, said):
    monkeypatch.setattr(packages, "packages", lambda: {"": [package(installed=installed)]})
    with pytest.warns(UserWarning, match=said):
        lfdm.check_environment()


def test_what_chapters_import_is_looked_at_too_and_what_only_tools_need_is_not(healthy, monkeypatch):
    taught = [package("matplotlib", ">=3.8", installed=None), package("notebook", ">=7.2", installed="6.0")]
    monkeypatch.setattr(packages, "packages", lambda: {"": [package()], "teach": taught})
    with pytest.warns(UserWarning) as said:
        lfdm.check_environment()
    assert only([str(warning.message) for warning in said]).startswith("matplotlib is missing: pip install")


def test_packages_that_chapters_import_are_known_by_their_names():
    assert set(packages.IN_CHAPTERS) <= {known.name for known in packages.packages()["teach"]}


def test_on_a_busy_machine_whose_threads_wait_actively_one_is_kept(healthy, threads, monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda: True)
    lfdm.check_environment()
    assert threads == [4], "threads that wait passively may stay"
    monkeypatch.setattr(packages, "waits_actively", lambda: True)
    with pytest.warns(UserWarning, match="torch keeps to one here"):
        lfdm.check_environment()
    assert threads == [1]


@cache
def cells(chapter: Path) -> list[str]:
    return [cell.source for cell in jupytext.read(chapter).cells if cell.cell_type == "code"]


# Prints the policy when torch is looked for, and ends the cell there: the rest of it takes seconds.
SPY = """
import os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(name, os.environ.get("OMP_WAIT_POLICY"))
            raise InterruptedError
sys.meta_path.insert(0, Spy())
"""
SAID = "torch PASSIVE\n"


# Each chapter in a process of its own, all of them forked from one that has what most import and has no part in this.
EACH = """
import json, os, sys
import matplotlib.pyplot, numpy
for name, cells in json.load(open(CHAPTERS)).items():
    print(f"<{name}>", flush=True)
    if not os.fork():
        for cell in cells:
            try: exec(cell)
            except InterruptedError: break
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> dict[str, str]:
    """What the cells of each chapter print until torch is looked for."""
    chapters = tmp_path_factory.mktemp("cells") / "chapters.json"
    chapters.write_text(json.dumps({chapter.stem: cells(chapter) for chapter in CHAPTERS}))
    parts = re.split(r"<(\w+)>\n", python(f"CHAPTERS = {str(chapters)!r}" + SPY + EACH))
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_looks_at_the_environment_before_anything_else_and_says_nothing(chapter, heard):
    first = cells(chapter)[0]
    assert re.match(r"import lfdm_lite as lfdm(  #.*)?\n\nlfdm\.check_environment\(\)", first)
    assert heard[chapter.stem] == SAID


def test_in_a_kernel_the_policy_is_set_before_torch_is_imported():
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    kept["PYTHONPATH"] = str(ROOT)
    manager, client = start_new_kernel(startup_timeout=HUNG, kernel_name="python3", env=kept)
    found = []
    try:
        client.execute_interactive(SPY, timeout=HUNG)
        client.execute_interactive(cells(CHAPTERS[0])[0], output_hook=found.append, timeout=HUNG)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    said = [message["content"] for message in found if message["msg_type"] == "stream"]
    assert [one for one in said if one["name"] == "stdout"] == [{"name": "stdout", "text": SAID}]
    assert all("newer than what the book was run with" in one["text"] for one in said if one["name"] != "stdout")

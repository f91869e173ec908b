"""The harness itself, with wrong answers: each way to misbehave is caught, and good manners are let pass."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .. import patience
from . import harness, kinds, server  # noqa: F401  (kinds enters them all)
from .harness import Ending, judge, snapshot
from .sample import KINDS, Sample, leaves

REFUSED = "lfdm: error: face.png: not a picture"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A place with an input, a link and a pipe's worth of nothing."""
    (tmp_path / "input.txt").write_text("precious")
    (tmp_path / "link").symlink_to("input.txt")
    return tmp_path


def picture(path: Path, constant: bool = False) -> None:
    values = np.zeros((8, 8, 3), np.uint8) if constant else np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(values).save(path)


def judged(folder: Path, act, code: int | None = 2, err: str = REFUSED, out: str = "", **sample) -> str:
    """What the harness says of a fake command that does `act` and ends so."""

    def run(arguments: list[str]) -> Ending:
        act()
        return Ending(code, out, err)

    return "; ".join(judge(Sample(["fake"], ("out.gif", "out.json", "run"), **sample), folder, run))


def nothing() -> None:
    pass


def test_one_line_and_exit_code_2_are_good_manners(folder):
    assert not judged(folder, nothing)


def test_a_sound_result_and_exit_code_0_are_good_manners(folder):
    assert not judged(folder, lambda: picture(folder / "out.gif"), 0, "")


def test_a_traceback_is_caught(folder):
    err = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nKeyError: 3\n'
    assert "a traceback that ends in: KeyError: 3" in judged(folder, nothing, 1, err)
    assert "a traceback" in judged(folder, nothing, 2, f"{REFUSED}\n{err}")


@pytest.mark.parametrize("code", [1, 3, 139, -9, None])
def test_another_exit_code_is_caught(folder, code):
    assert f"exit code {code}, expected 0 or 2" in judged(folder, nothing, code)


def test_a_success_where_none_can_be_is_caught(folder):
    assert "exit code 0, expected 2" in judged(folder, lambda: picture(folder / "out.gif"), 0, "", codes=(2,))


def test_three_lines_are_caught_and_two_are_not(folder):
    assert not judged(folder, nothing, 2, f"lfdm: warning: a\n{REFUSED}\n")
    assert "3 lines on stderr" in judged(folder, nothing, 2, f"warning\nmore\n{REFUSED}\n")


def test_a_line_without_an_end_and_one_that_says_nothing_are_caught(folder):
    assert "a line of 5000 characters" in judged(folder, nothing, 2, REFUSED.ljust(5000, "x"))
    assert "without a line that begins with" in judged(folder, nothing, 2, "")
    assert "without a line that begins with" in judged(folder, nothing, 2, "KeyError")
    assert "without a line that begins with" in judged(folder, nothing, 2, "error: no picture")
    assert not judged(folder, nothing, 2, "error: no set", program="course")


@pytest.mark.parametrize("code", ["\x1b[31m", "\x07", "\x9b", "\x08", "\x00"])
@pytest.mark.parametrize("stream", ["err", "out"])
def test_codes_for_the_terminal_are_caught(folder, code, stream):
    words = {"err": REFUSED, "out": ""}
    words[stream] += code
    assert "control characters reach the terminal" in judged(folder, nothing, **words)


def test_a_progress_bar_is_one_line(folder):
    assert not judged(folder, nothing, 2, f" 10%|#  |\r 20%|## |\r\n{REFUSED}\n")


@pytest.mark.parametrize("code", [0, 2])
def test_a_changed_a_lost_and_a_new_file_are_caught(folder, code):
    def act():
        (folder / "link").unlink()
        (folder / "input.txt").write_text("other")
        (folder / ".out.gif.x.tmp").write_text("left behind")
        picture(folder / "out.gif")

    said = judged(folder, act, code, REFUSED)
    for what in ("input.txt was changed", "link is gone", ".out.gif.x.tmp was made"):
        assert what in said
    assert "out.gif" not in said.replace(".out.gif.x.tmp", "")


def test_a_link_that_became_a_file_is_caught(folder):
    def act():
        (folder / "link").unlink()
        (folder / "link").write_text("precious")

    assert "link was changed" in judged(folder, act)


def test_an_output_that_a_refused_command_touched_is_caught(folder):
    picture(folder / "out.gif")
    assert "out.gif was changed" in judged(folder, lambda: (folder / "out.gif").write_text("half"))
    assert not judged(folder, lambda: picture(folder / "out.gif", constant=False), 0, "")


def test_success_without_a_result_is_caught(folder):
    assert "exit code 0 without a result" in judged(folder, nothing, 0, "")


def test_a_film_of_one_colour_and_half_a_film_are_caught(folder):
    assert "out.gif: is of one colour" in judged(folder, lambda: picture(folder / "out.gif", constant=True), 0, "")
    (folder / "out.gif").unlink()
    assert not judged(folder, lambda: picture(folder / "out.gif", constant=True), 0, "", uniform=True)
    assert "out.gif cannot be read" in judged(folder, lambda: (folder / "out.gif").write_bytes(b"GIF89a"), 0, "")


def test_numbers_that_are_none_are_caught_in_every_format(folder):
    import torch
    from safetensors.torch import save_file

    assert "out.json: holds NaN" in judged(folder, lambda: (folder / "out.json").write_text('{"a": NaN}'), 0, "")

    def act():
        (folder / "run").mkdir()
        (folder / "run" / "log.csv").write_text("step,loss\n1,nan\n")
        save_file({"w": torch.tensor([1.0, float("inf")])}, folder / "run" / "model.safetensors")

    said = judged(folder, act, 0, "")
    assert "log.csv: holds nan" in said and "model.safetensors: w is not finite" in said


def test_a_row_that_an_output_lost_is_caught(folder):
    (folder / "run").mkdir()
    table = folder / "run" / "clips.csv"
    table.write_text("mine\n")
    kept = {"run/clips.csv": "mine"}
    assert not judged(folder, lambda: table.write_text("mine\nyours\n"), 0, "", kept=kept)
    assert "run/clips.csv has lost 'mine'" in judged(folder, lambda: table.write_text("yours\n"), 0, "", kept=kept)


def test_a_sentinel_that_appeared_is_caught(folder):
    assert "RAN appeared" in judged(folder, lambda: (folder / "RAN").touch(), absent=("RAN",))


def test_a_correction_that_is_refused_is_caught(folder):
    answers = iter([Ending(2, "", REFUSED), Ending(2, "", "lfdm: error: run holds a run already")])
    said = judge(Sample(["wrong"], then=("right",)), folder, lambda _: next(answers))
    assert said == ["afterwards `lfdm right` must work: lfdm: error: run holds a run already"]


def test_links_are_not_followed_and_pipes_not_opened(folder):
    import os

    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to(".")
    found = snapshot(folder)
    assert found["pipe"] == "p" and found["circle"] == "link to ." and len(found) == 4


# ---------------------------------------------------------------- the process in which commands run


def answer(command, folder: Path, **limits) -> Ending:
    said = folder.parent / "said"
    said.mkdir(exist_ok=True)
    code = server.run(command, ["a"], folder, said, limits, {})
    return Ending(code, *harness.words(said))


def test_what_a_command_prints_and_raises_is_kept(folder, capfd):
    import os

    def fails(arguments: list[str]) -> int:
        print("to stdout")
        os.write(2, b"to stderr, as a library in C does\n")
        raise KeyError("lost")

    before = os.getcwd()
    try:
        with capfd.disabled():  # what is printed goes where the command's own streams lead
            ending = answer(fails, folder)
    finally:
        os.chdir(before)
    assert ending.code == 1 and ending.out == "to stdout\n"
    assert ending.err.startswith("to stderr, as a library") and "KeyError: 'lost'" in ending.err


def test_a_limit_is_low_for_one_command_alone(folder, monkeypatch):
    import os

    before = os.getcwd()
    monkeypatch.setattr(harness, "LENGTH", 800)
    try:
        ending = answer(lambda _: harness.LENGTH, folder, **{f"{harness.__name__}:LENGTH": 7})
    finally:
        os.chdir(before)
    assert ending.code == 7 and harness.LENGTH == 800


def test_a_command_that_waits_or_grows_is_stopped():
    psutil = pytest.importorskip("psutil")
    assert not harness.Watch(psutil.Process().pid, 60).complaint()
    assert "not done after" in harness.Watch(psutil.Process().pid, -1).complaint()
    assert "GB above the import" in harness.Watch(psutil.Process().pid, 60, base=-harness.MEMORY).complaint()


def test_that_a_child_waited_for_a_core_before_is_no_time_of_this_command(monkeypatch):
    pytest.importorskip("psutil")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        monkeypatch.setattr(patience, "queued", lambda processes: 100.0 * (child.pid in processes))
        assert "not done after" in harness.Watch(os.getpid(), -1).complaint()
        child.stdin.close()


# ---------------------------------------------------------------- the kinds


def test_kinds_are_many_and_each_says_what_it_is():
    assert len(KINDS) > 100
    assert all(len(name) > 12 for name in KINDS)
    assert {make.__module__.rpartition(".")[2] for make in KINDS.values()} == set(kinds.__all__)


def test_the_same_seed_makes_the_same_sample(tmp_path):
    import random

    from .sample import Place

    made = [KINDS["command_that_is_none"](random.Random(5), Place(tmp_path / str(i), tmp_path)) for i in range(2)]
    assert made[0] == made[1]


def test_every_place_inside_json_is_found():
    assert leaves({"a": [1, {"b": 2}]}) == [("a",), ("a", 0), ("a", 1), ("a", 1, "b")]
    assert sys.getrecursionlimit() < 10_000, "what is nested for a parser is deeper than its stack"

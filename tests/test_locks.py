"""Folders that one process has to itself, and temporary files of processes that were killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lfdm_lite.files import locks
from lfdm_lite.files.checkpoints import write_atomically
from lfdm_lite.files.locks import FolderInUse, hold_folder, sweep_leftovers

HOLDS = """
import sys, time
from pathlib import Path
from lfdm_lite.files.locks import hold_folder, temporary_beside
with hold_folder(sys.argv[1]) as folder, temporary_beside(folder / "a.gif") as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process(folder: Path):
    """One that has the folder and is writing `a.gif` there: the process, and the name of its temporary file."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_folder_belongs_to_one_process_at_a_time_and_the_message_says_to_which(tmp_path):
    folder = tmp_path / "run"
    with another_process(folder) as (process, _):
        with pytest.raises(FolderInUse, match=rf"run is in use by process {process.pid} on .* since 20.*wait for it"):
            with hold_folder(folder):
                pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold_folder(folder):
            assert (folder / "..").is_dir(), "a killed process keeps nobody out"


def test_one_may_have_a_folder_again_and_again_and_nothing_is_left_of_it(tmp_path):
    for _ in range(2):
        with hold_folder(tmp_path / "new" / "run"):
            pass
        assert not (tmp_path / "new" / "run").exists(), "it was made for nothing"
    with hold_folder(tmp_path / "run"):
        (tmp_path / "run" / "x").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["x"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(ZeroDivisionError), hold_folder(tmp_path / "mine"):
        _ = 1 / 0
    assert list((tmp_path / "mine").iterdir()) == [], "a folder that was there stays"


def test_a_sweep_takes_what_a_killed_process_left_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "YOUNG", 0.0)
    others = [tmp_path / name for name in (".a.gif.notes.tmp", ".b.gif.abcdefgh.tmp", "a.gif", ".a.gif.abcdefgh.tmp2")]
    for path in others:
        path.write_text("somebody's")
    with another_process(tmp_path) as (process, temporary):
        time.sleep(0.01)
        sweep_leftovers(tmp_path / "a.gif")
        assert (tmp_path / temporary).exists(), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
        sweep_leftovers(tmp_path / "a.gif")
        assert not (tmp_path / temporary).exists() and all(path.exists() for path in others)


def test_a_young_temporary_file_stays(tmp_path):
    (tmp_path / ".a.gif.abcdefgh.tmp").touch()
    sweep_leftovers(tmp_path / "a.gif")
    assert (tmp_path / ".a.gif.abcdefgh.tmp").exists()
    os.utime(tmp_path / ".a.gif.abcdefgh.tmp", (0, 0))
    sweep_leftovers(tmp_path / "a.gif")
    assert not (tmp_path / ".a.gif.abcdefgh.tmp").exists()


def test_what_is_written_is_not_swept_by_its_own_process(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "YOUNG", -1.0)
    path = tmp_path / "a.txt"

    def write(temporary: Path) -> None:
        temporary.write_text("whole")
        sweep_leftovers(path)

    write_atomically(path, write)
    assert path.read_text() == "whole" and [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]

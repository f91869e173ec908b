"""Folders that one process has to itself."""

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from lfdm_lite.files import locks
from lfdm_lite.files.locks import FolderInUse, hold_folder

HOLDS = """
import sys
from lfdm_lite.files.locks import hold_folder
with hold_folder(sys.argv[1]):
    print("here", flush=True)
    sys.stdin.read()  # until it is killed
"""


@contextmanager
def another_process(folder: Path):
    """One that has the folder."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", HOLDS, str(folder)]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_folder_belongs_to_one_process_at_a_time_and_the_message_says_to_which(tmp_path):
    folder = tmp_path / "run"
    with another_process(folder) as process:
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


def test_whoever_waits_gets_the_folder_when_it_is_free_and_says_so(tmp_path, monkeypatch):
    said = []
    with another_process(tmp_path) as process:

        def hear(words, **_):
            said.append(words)
            threading.Timer(0.3, process.kill).start()  # while it is waited for

        monkeypatch.setattr(locks, "print", hear, raising=False)
        with hold_folder(tmp_path, wait=True):
            assert process.wait() == -signal.SIGKILL
    assert len(said) == 1 and f"lfdm: waiting for {tmp_path}, in use by process {process.pid}" in said[0]

"""A file appears whole or not at all, and what killed writers leave is swept away, never what a living one writes."""

import os
import subprocess
import sys

import pytest

from lfdm_lite.files.atomic import temporary_beside, write_atomically, write_json

HOLD_ONE = """
import sys
from pathlib import Path
from lfdm_lite.files.atomic import temporary_beside
with temporary_beside(Path(sys.argv[1])) as temporary:
    print(temporary, flush=True)
    sys.stdin.read()  # until it is killed
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_text(path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text))


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_swept_away_and_what_a_living_one_holds_is_not(tmp_path):
    path = tmp_path / "file.txt"
    pipe, command = subprocess.PIPE, [sys.executable, "-c", HOLD_ONE, str(path)]
    writer = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    held = os.path.basename(writer.stdout.readline().strip())
    write_text(path, "mine")
    assert names(tmp_path) == [held, "file.txt"]

    writer.kill()
    writer.wait()
    writer.stdin.close()
    writer.stdout.close()
    others = [".file.txt.my_notes_of_it.tmp", ".other.txt.abcdefgh.tmp"]
    for name in others:
        (tmp_path / name).touch()
    write_text(path, "mine again")
    assert names(tmp_path) == [*others, "file.txt"] and path.read_text() == "mine again"


def test_leftovers_of_a_file_with_a_long_name_are_swept_too(tmp_path):
    path = tmp_path / ("ü" * 100 + ".txt")
    with temporary_beside(path) as temporary:
        left = temporary.name
    (tmp_path / left).write_text("half")
    write_text(path, "whole")
    assert names(tmp_path) == [path.name]


def test_through_a_link_its_target_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    target, link = tmp_path / "deep" / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    target.unlink()
    write_text(link, "there again")
    assert link.is_symlink() and target.read_text() == "there again"


def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name, kind in (("pipe", "a pipe, socket or device"), ("folder", "a folder"), ("link", "a pipe")):
        with pytest.raises(ValueError, match=f"cannot write .*: it is {kind}"):
            write_text(tmp_path / name, "x")
    assert names(tmp_path) == ["folder", "link", "pipe"] and (tmp_path / "pipe").is_fifo()


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_json(tmp_path / "absent" / "x.json", {})
    assert caught.value.filename == str(tmp_path / "absent" / "x.json")

    def fill_the_disk(temporary):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*x.json'") as caught:
        write_atomically(tmp_path / "x.json", fill_the_disk)
    assert names(tmp_path) == []


def test_an_error_about_another_file_names_that_one(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "copy", lambda temporary: temporary.write_bytes((tmp_path / "from").read_bytes()))
    assert caught.value.filename == str(tmp_path / "from") and names(tmp_path) == []


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, 2]})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    1,\n    2\n  ]\n}\n'

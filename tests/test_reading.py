"""What is no file is never opened; what is no JSON of ours is named, in one line and with its file."""

import os

import pytest

from lfdm_lite.files import reading
from lfdm_lite.files.reading import CheckpointError, one_line, parse_json, read_json, regular_file, shown


def test_a_file_is_taken_and_a_link_to_one_too(tmp_path):
    (tmp_path / "x").write_text("")
    (tmp_path / "link").symlink_to("x")
    assert regular_file(tmp_path / "x", "a file") == tmp_path / "x"
    assert regular_file(str(tmp_path / "link"), "a file") == tmp_path / "link"


def test_what_is_no_file_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "big").write_bytes(bytes(101))
    for name, problem in (
        ("pipe", "a pipe, socket or device, not a file; expected a table"),
        ("link", "a pipe, socket or device, not a file; expected a table"),
        (".", "a folder, not a file; expected a table"),
        ("absent", "no such file; expected a table"),
        ("loop", "cannot be opened"),
        ("with\0null", "cannot be opened .*null"),
        ("big", "101 bytes, more than 100; expected a table"),
    ):
        with pytest.raises(CheckpointError, match=problem) as caught:
            regular_file(tmp_path / name, "a table", most=100)
        assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_the_reader_says_which_class_its_errors_have(tmp_path):
    class TableError(ValueError):
        pass

    (tmp_path / "x.json").write_text("{")
    with pytest.raises(TableError, match="no such file"):
        read_json(tmp_path / "absent.json", error=TableError)
    with pytest.raises(TableError, match=r"x.json is not valid JSON"):
        read_json(tmp_path / "x.json", error=TableError)


def test_values_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, -2.5, 18446744073709551615, true, null, "\xc3\xbc"], "b": {}}')
    assert read_json(path) == {"a": [1, -2.5, 2**64 - 1, True, None, "ü"], "b": {}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not valid JSON: Expecting value"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe\x80", "it is not UTF-8 text"),
        (b'{"a": 1, "a": 2}', "is not valid JSON: the name 'a' stands there twice"),
        (b'{"a": NaN}', "is not valid JSON: 'NaN' is no finite number"),
        (b"[-Infinity]", "'-Infinity' is no finite number"),
        (b"[1e999]", "'1e999' is no finite number"),
        (b"[" + b"1" * 21 + b"]", "a whole number of 21 digits, more than 20"),
        (b"[" * 50 + b"]" * 50, "is nested more than 40 deep"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "is nested more than 40 deep"),
    ],
)
def test_what_is_no_json_of_ours_is_named(tmp_path, content, problem):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_JSON", 10)
    (tmp_path / "x.json").write_text("[1, 2, 3, 4]")
    with pytest.raises(CheckpointError, match="12 bytes, more than 10"):
        read_json(tmp_path / "x.json", "a list")
    assert parse_json("[1]", "here") == [1]


def test_values_and_errors_are_cut_for_a_message():
    assert shown("short") == "'short'" and shown([1]) == "[1]"
    assert len(shown("x" * 10**6)) == 80 and len(shown(list(range(1000)))) == 80
    assert one_line(ValueError("a\n  b\x1b[31m")) == "a b?[31m"
    assert one_line(KeyError()) == "KeyError" and len(one_line(ValueError("x" * 1000))) == 200

"""What is wrong with a text file is said in one line that names it."""

import os

import pytest

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.reading import read_json, read_rows, read_text


@pytest.mark.parametrize("data", [b"a,b\n1,\xe9\n", "a,b\n1,2\n".encode("utf-16")])
def test_bytes_that_are_no_utf8(tmp_path, data):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    for reader in (read_text, read_json, read_rows):
        with pytest.raises(DamagedFileError, match=r"x\.csv, line \d: byte 0x.. is not UTF-8"):
            reader(path)


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "x.json") == {}


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "x"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(DamagedFileError, match="is no file but a folder, a pipe or a device"):
        read_text(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1, "a": 2}', "NaN", '{"a": Infinity}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", '{"a": 1} x'],
)
def test_damaged_json(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"x\.json is damaged .*; remove it\.$"):
        read_json(tmp_path / "x.json", "remove it")


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n", "a,c\n1,2\n", "a,b,b\n1,2,3\n", "a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n', "a,b\n1," + "9" * 200_000],
)
def test_damaged_rows(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DamagedFileError, match=r"x\.csv.*; remove it\.$"):
        read_rows(tmp_path / "x.csv", ("a", "b"), "remove it")

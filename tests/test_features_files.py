"""features.files: a file or a directory is replaced whole, or left as it was."""

import os

import pytest

from features.files import replacing, staging, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "é\n")
    write_text(path, "2\n")
    assert path.read_bytes() == b"2\n"
    assert os.listdir(tmp_path) == ["a.json"]


def half_written(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")


def half_made(out):
    with staging(out) as beside:
        (beside / "a").write_text("2")
        raise KeyError


def test_an_error_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "1")
    with pytest.raises(OSError, match="disk full"):
        half_written(path)
    assert path.read_text() == "1"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_is_renamed_is_on_the_disk(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), real(*a)))
    write_text(tmp_path / "a", "x")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its new name, the directory


def test_an_error_leaves_the_directory_that_was_there(tmp_path):
    out = tmp_path / "out"
    with staging(out) as beside:
        (beside / "a").write_text("1")
    with pytest.raises(KeyError):
        half_made(out)
    assert (out / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["out"]


def test_a_replacement_that_was_killed_between_its_renames_is_undone(tmp_path):
    out, old = tmp_path / "out", tmp_path / ".out.old"
    old.mkdir()
    (old / "a").write_text("1")
    with pytest.raises(KeyError):
        half_made(out)
    assert (out / "a").read_text() == "1"

"""features.files: a file or a directory is replaced whole, or left as it was."""

import os

import pytest

from features.errors import FunnelError
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


def made(out, text="1"):
    with staging(out) as beside:
        (beside / "a").write_text(text)


def test_a_linked_directory_is_written_through(tmp_path):
    out, disk = tmp_path / "run" / "out", tmp_path / "disk" / "out"
    (tmp_path / "run").mkdir()
    out.symlink_to(disk)  # whose directory is absent
    for text in ("1", "2", "3"):
        made(out, text)
        assert out.readlink() == disk
        assert (disk / "a").read_text() == text
    assert os.listdir(tmp_path / "run") == ["out"]
    assert os.listdir(tmp_path / "disk") == ["out"]
    with pytest.raises(KeyError):
        half_made(out)
    assert (out / "a").read_text() == "3"


def test_leftovers_that_are_links_go(tmp_path):
    (tmp_path / "kept").mkdir()
    for name in (".out.old", ".out.unfinished", ".out.0123abcd.unfinished"):
        (tmp_path / name).symlink_to(tmp_path / "kept")
    (tmp_path / "out").mkdir()
    (tmp_path / ".out2.0123abcd.unfinished").mkdir()  # of another directory
    made(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == [".out2.0123abcd.unfinished", "kept", "out"]


def test_what_a_worker_of_a_killed_job_still_writes_is_left_out(tmp_path):
    out, late = tmp_path / "out", tmp_path / ".out.0123abcd.unfinished"
    with staging(out) as beside:
        late.mkdir()
        (late / "a").write_text("late")
        (beside / "b").write_text("2")
    assert os.listdir(out) == ["b"]
    made(out)
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_directory_cannot_replace_is_refused_before_any_work(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.symlink_to(out)
    with pytest.raises(FunnelError, match="out: is a link that leads back to itself; remove it"):
        made(out)
    out.unlink()
    out.write_text("mine")
    with pytest.raises(FunnelError, match="out: is a file, and a directory is written there; rem"):
        made(out)
    assert out.read_text() == "mine"
    out.unlink()
    out.mkdir()
    monkeypatch.setattr(type(out), "is_mount", lambda path: path == out)
    with pytest.raises(FunnelError, match="out: is a mount point, and the directory is replaced"):
        made(out)
    assert os.listdir(tmp_path) == ["out"]


def test_a_directory_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    calls, sync, rename = [], os.fsync, os.rename

    def fsync(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", lambda a, b: (calls.append("rename"), rename(a, b)))
    made(tmp_path / "out")
    assert [calls[0], *calls[2:]] == ["a", "rename", tmp_path.name]
    assert calls[1].endswith(".unfinished")

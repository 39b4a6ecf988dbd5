"""What killed exports leave beside the versions, and two exports to one directory at once."""

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.serving import export


def publish(version):
    with export._unfinished(version) as unfinished:
        unfinished.mkdir()
        unfinished.rename(version)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_export_left_goes(tmp_path):
    for name in (".5.unfinished/variables", "4", ".mine.unfinished", ".git"):
        (tmp_path / name).mkdir(parents=True)
    publish(tmp_path / "6")
    assert names(tmp_path) == [".git", ".mine.unfinished", "4", "6"]


def test_an_export_waits_for_that_of_another_process(tmp_path):
    other = os.open(
        tmp_path, os.O_RDONLY
    )  # which holds the directory's lock while it makes version 5
    fcntl.flock(other, fcntl.LOCK_EX)
    (tmp_path / ".5.unfinished").mkdir()
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(publish, tmp_path / "6")
        with pytest.raises(TimeoutError):
            published.result(timeout=0.3)
        (tmp_path / ".5.unfinished").rename(tmp_path / "5")
        os.close(other)
        published.result()
    assert names(tmp_path) == ["5", "6"]


def test_where_directories_cannot_be_locked_what_is_there_stays(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EBADF, "Bad file descriptor")  # NFS

    (tmp_path / ".5.unfinished").mkdir()
    monkeypatch.setattr(export.fcntl, "flock", refuse)
    publish(tmp_path / "6")
    assert names(tmp_path) == [".5.unfinished", "6"]

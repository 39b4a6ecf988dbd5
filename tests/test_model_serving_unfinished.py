"""What killed exports leave beside the versions, two exports to one directory at once, and the
numbers of versions.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from features.errors import FunnelError
from features.locks import locked
from model.serving import export


def publish(version):
    with export._exclusive(version.parent), export._unfinished(version) as unfinished:
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
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / ".lock-export", "export"):  # as a process that makes version 5
            (tmp_path / ".5.unfinished").mkdir()
            published = pool.submit(publish, tmp_path / "6")
            with pytest.raises(TimeoutError):
                published.result(timeout=0.3)
            (tmp_path / ".5.unfinished").rename(tmp_path / "5")
        published.result()
    assert names(tmp_path) == ["5", "6"]


def test_a_directory_of_versions_may_be_a_link(tmp_path):
    (tmp_path / "export").symlink_to(tmp_path / "disk" / "export")
    publish(tmp_path / "export" / "6")
    assert names(tmp_path / "disk" / "export") == ["6"]
    assert (tmp_path / "export").is_symlink()


@pytest.mark.parametrize(
    ("published", "clock", "version"),
    [
        ([], 1_790_000_000.9, 1_790_000_000),
        (["1789999999", "best.json"], 1_790_000_000.0, 1_790_000_000),
        (["1790000000"], 1_790_000_000.5, 1_790_000_001),  # within the same second
        (["5", "1790000000", "1789000000"], 1_700_000_000.0, 1_790_000_001),  # the clock went back
    ],
)
def test_a_version_is_greater_than_every_published_one(
    tmp_path, monkeypatch, published, clock, version
):
    for name in published:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(export.time, "time", lambda: clock)
    assert export._number(tmp_path, None) == version


def test_a_version_that_servers_would_not_load_is_refused(tmp_path):
    (tmp_path / "7").mkdir()
    with pytest.raises(
        FunnelError, match=r"/5: version 7 is published, and servers load the greatest; give a ver"
    ):
        export._number(tmp_path, 5)
    assert export._number(tmp_path, 8) == 8

"""pipeline.sources.listing: which files a glob matches, without hidden ones; what cannot be read is
named.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.sources import listing
from pipeline.sources.files import find, format_of
from pipeline.sources.listing import expand, skips
from pipeline.sources.storage import Source

FILES = [
    "a/dt=1/part-0.csv",
    "a/dt=1/_SUCCESS",
    "a/dt=1/.part-0.csv.crc",
    "a/dt=1/._part-0.csv",
    "a/_temporary/part-0.csv",
    "a/.staging/part-0.csv",
    "a/_day=2/part-0.csv",
    "_old/part-0.csv",
    ".cache/part-0.csv",
    "b.csv",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*/*", ["a/_day=2/part-0.csv", "a/dt=1/part-0.csv"]),
        ("a/dt=1/", ["a/dt=1/part-0.csv"]),
        ("./a/dt=?/*.csv", ["./a/dt=1/part-0.csv"]),
        ("a/dt=[!2]/*", ["a/dt=1/part-0.csv"]),
        ("*/*.csv", []),
        ("*", ["b.csv"]),
        ("**", ["a/_day=2/part-0.csv", "a/dt=1/part-0.csv", "b.csv"]),
        ("a/**.csv", ["a/_day=2/part-0.csv", "a/dt=1/part-0.csv"]),
        ("a/**/*.csv", ["a/_day=2/part-0.csv", "a/dt=1/part-0.csv"]),
        ("_old/*", ["_old/part-0.csv"]),
        ("_*/*", ["_old/part-0.csv"]),
        (".cache/**", [".cache/part-0.csv"]),
        ("a/*/_*", ["a/_day=2/_x.csv", "a/dt=1/_SUCCESS"]),
        ("a/**/_*", ["a/_day=2/_x.csv", "a/dt=1/_SUCCESS"]),
        ("a/dt=1/_SUCCESS", ["a/dt=1/_SUCCESS"]),
        ("a/dt=3/*", []),
        ("nowhere/*", []),
        ("m/*", ["m/part-0.csv"]),
        ("m/**", ["m/part-0.csv"]),
        ("m/*.crc", ["m/part-0.csv.crc"]),
        ("m/part-0.csv.crc", ["m/part-0.csv.crc"]),
    ],
)
def test_hidden_files_are_left_out_unless_the_pattern_names_them(folder, pattern, found):
    if "_*" in pattern:
        (folder / "a/_day=2/_x.csv").touch()
    if pattern.startswith("m/"):
        (folder / "m").mkdir()
        for name in ("part-0.csv", "part-0.csv.crc", "part-1.csv._COPYING_", "dt=1_$folder$"):
            (folder / "m" / name).touch()
    assert expand(pattern) == found


def test_remote_paths_follow_the_same_rule():
    assert not skips("s3://b/a/dt=1/x.csv", "s3://b/a/*/*")
    assert skips("s3://b/a/dt=1/_SUCCESS", "s3://b/a/*/*")
    assert skips("s3://b/a/_temporary/0/x.csv", "s3://b/a/**")
    assert not skips("s3://b/_a/x.csv", "s3://b/_a/**.csv")
    assert skips("s3://b/_a/.x.csv", "s3://b/_a/**.csv")
    assert skips("s3://b/a/dt=1_$folder$", "s3://b/a/*")
    assert not skips("s3://b/a/x.crc", "s3://b/a/x.crc")


def test_a_glob_that_matches_folders_alone_names_the_one_for_their_files(folder):
    stream = Stream.parse({"files": "a/dt=*", "format": "csv", "id": "id", "time": "ts"})
    with pytest.raises(
        FunnelError, match=r"'a/dt=\*': no file matches; only folders do; give 'a/d"
    ):
        find("logs.clicks.files", "clicks", stream, "a/dt=*")
    with pytest.raises(FunnelError, match=r"no file matches; relative paths start at"):
        find("logs.clicks.files", "clicks", stream, "a/x=*")


@pytest.mark.parametrize("pattern", ["a/*/*", "a/**"])
def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch, pattern):
    """Root may read every folder, so `listdir` refuses here as it does for other users."""
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith("dt=1/"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(listing.os, "listdir", refuse)
    with pytest.raises(FunnelError, match=r"^a/dt=1/: cannot be read \(Permission denied\); give"):
        expand(pattern)
    assert expand("*.csv") == ["b.csv"]  # it does not reach the folder


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    monkeypatch.setattr(listing.os, "access", lambda path, mode: "_day" not in path)
    with pytest.raises(FunnelError, match=r"^a/_day=2/part-0.csv: cannot be read \(Permission"):
        expand("a/*/*")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_no_permission_for_this_user(folder):
    (folder / "a/dt=1/part-0.csv").chmod(0)
    with pytest.raises(FunnelError, match=r"^a/dt=1/part-0.csv: cannot be read"):
        expand("a/*/*")
    (folder / "a/dt=1").chmod(0o600)
    with pytest.raises(FunnelError, match=r"^a/dt=1/part-0.csv: cannot be read"):
        expand("a/*/*")
    (folder / "a/dt=1").chmod(0)
    with pytest.raises(FunnelError, match=r"^a/dt=1/: cannot be read"):
        expand("a/*/*")
    (folder / "a/dt=1").chmod(0o700)


def test_links_are_followed_and_a_broken_one_is_named(folder):
    Path("latest").symlink_to("a/dt=1")
    assert expand("l*/*") == ["latest/part-0.csv"]
    Path("a/dt=1/part-1.csv").symlink_to("gone.csv")
    with pytest.raises(
        FunnelError, match=r"^a/dt=1/part-1.csv: cannot be read \(a link to nothing\)"
    ):
        expand("a/*/*")


def test_what_is_not_a_file_is_refused_by_name(folder):
    os.mkfifo("a/dt=1/pipe.csv")
    with pytest.raises(FunnelError, match=r"^a/dt=1/pipe.csv: is a FIFO, and logs are files"):
        expand("a/*/*")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.csv")
        with pytest.raises(FunnelError, match=r"^s.csv: is a socket, and logs are files"):
            expand("*.csv")
    with pytest.raises(FunnelError, match=r"^/dev/null: is a device, and logs are files"):
        find("logs.clicks.files", "clicks", Stream(files="/dev/null", format="csv"), "/dev/null")


def test_a_pattern_that_is_not_a_glob():
    with pytest.raises(FunnelError, match=r"^'x\[z-a\]': is not a glob \(bad character range z-a"):
        expand("x[z-a]")


@pytest.mark.parametrize(
    ("path", "format_", "compression"),
    [
        ("a/B.CSV", "csv", "none"),
        ("a/b.CSV.GZ", "csv", "gzip"),
        ("A.Jsonl.Zst", "jsonl", "zstd"),
        ("X.PARQUET", "parquet", "none"),
    ],
)
def test_endings_in_any_case(path, format_, compression):
    assert format_of("files", path) == format_
    assert Source("s", path, path, 1, format_).compression == compression

"""pipeline.sources.files: which files a glob and the days choose, their names, and their
compression.
"""

from __future__ import annotations

import gzip
import re
from datetime import date

import pytest
import zstandard
from pipeline_logs import make_config, write_jsonl, write_logs

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.sources import storage
from pipeline.sources.dates import day_of
from pipeline.sources.files import find, find_sources, format_of
from pipeline.sources.storage import Source, open_source

ROW = [{"id": "a", "ts": 1_790_000_000, "user": "u", "tags": [], "price": 1}]


@pytest.mark.parametrize(
    "pattern",
    [
        "imp*.jsonl",
        "./imp*",
        "i*/part-*",
        "*/part-*.jsonl",
        "i/part-1.jsonl",
        "../*/i/part-?.jsonl",
    ],
)
def test_relative_patterns(tmp_path, monkeypatch, pattern):
    folder = tmp_path / "logs"
    write_logs(folder, ROW)
    write_jsonl(folder / "i" / "part-1.jsonl", ROW)
    monkeypatch.chdir(folder)
    (source,) = find("files", "impressions", Stream(files=pattern), pattern)
    assert (folder / source.path).is_file()
    assert not source.path.startswith("./")
    names = {
        "imp": "impressions.jsonl",
        "./i": "impressions.jsonl",
        "i/p": "part-1.jsonl",
        "../": "logs/i/part-1.jsonl",
    }
    assert source.name == names.get(pattern[:3], "i/part-1.jsonl")


@pytest.mark.parametrize(
    ("path", "format_", "compression"),
    [
        ("a/b.csv", "csv", "none"),
        ("a/b.tsv.gz", "csv", "gzip"),
        ("a/b.jsonl.zst", "jsonl", "zstd"),
        ("a/b.json.zstd", "jsonl", "zstd"),
        ("s3://x/a.b/c.parquet", "parquet", "none"),
        ("a/b.pq", "parquet", "none"),
    ],
)
def test_endings(path, format_, compression):
    assert format_of("files", path) == format_
    assert Source("s", path, path, 1, format_).compression == compression


@pytest.mark.parametrize("path", ["a/b.xlsx", "a/b", "a/b.gz", "a.csv/b", "b.snappy"])
def test_endings_that_tell_nothing(path):
    with pytest.raises(
        FunnelError,
        match=r"cannot infer the format from the file extension of .*; "
        r"give format = 'parquet', 'csv' or 'jsonl'",
    ):
        format_of("files", path)


@pytest.mark.parametrize(
    "pack", [lambda b: b, gzip.compress, zstandard.compress], ids=["none", "gz", "zst"]
)
def test_packed_files_are_unpacked(tmp_path, request, pack):
    ending = {"none": "", "gz": ".gz", "zst": ".zst"}[request.node.callspec.id]
    path = tmp_path / f"log.csv{ending}"
    path.write_bytes(
        pack(b"id\na\n") + (pack(b"b\n") if ending else b"")
    )  # packed parts one after another are one file
    (source,) = find("files", "s", Stream(files=str(path)), str(path))
    with open_source(source) as file:
        assert file.read() == (b"id\na\nb\n" if ending else b"id\na\n")


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("logs/dt=2026-11-01/part-0.parquet", date(2026, 11, 1)),
        ("logs/2026/11/01/part-0.parquet", date(2026, 11, 1)),
        ("logs/2026/11/01/05/part-0.parquet", date(2026, 11, 1)),
        ("s3://b/year=2026/month=11/day=1/part-0.parquet", date(2026, 11, 1)),
        ("logs/20261101/part-0.parquet", date(2026, 11, 1)),
        ("logs/clicks-2026-11-01.csv.gz", date(2026, 11, 1)),
        ("logs/clicks_20261101T00.csv", date(2026, 11, 1)),
        ("runs/2025-01-01/logs/dt=2026-11-01/part-0.csv", date(2026, 11, 1)),  # the last of several
        (
            "logs/dt=2026-11-01/part-20261105.csv",
            date(2026, 11, 1),
        ),  # a dated folder before a file's own stamp
        ("logs/dt=2026-02-30/part-2.csv", None),
        ("logs/dt=2026-13-01/x.csv", None),
        ("logs/120261101/x.csv", None),
        ("logs/2026-1101/x.csv", None),
        ("logs/part-00000.csv", None),
    ],
)
def test_the_day_of_a_path(path, day):
    assert day_of(path) == day


def dated(folder, *days, stream="impressions"):
    for day in days:
        write_jsonl(folder / stream / f"dt=2026-11-{day:02}" / "part.jsonl", ROW)


def dated_config(folder, dates, **changes):
    streams = {
        n: {"files": f"{folder}/{n}/*/*.jsonl", "id": "id", "time": "ts"}
        for n in ("impressions", "clicks", "conversions")
    }
    return make_config(folder, logs=streams, dates=dates, **changes)


def days_found(config, stream):
    return [day_of(s.path).day for s in find_sources(config) if s.stream == stream]


def test_rows_of_the_days_and_events_of_their_windows(tmp_path):
    dated(tmp_path, *range(1, 11))
    dated(tmp_path, *range(1, 11), stream="clicks")
    dated(tmp_path, 1, 4, 9, stream="conversions")
    config = dated_config(
        tmp_path, "2026-11-03..2026-11-05"
    )  # windows of 30m + 1d reach two days further
    assert days_found(config, "impressions") == [3, 4, 5]
    assert days_found(config, "clicks") == [3, 4, 5, 6, 7]
    assert days_found(config, "conversions") == [4]
    assert days_found(dated_config(tmp_path, "2026-11-08"), "impressions") == [8]


def test_events_without_dates_are_read_whole(tmp_path):
    dated(tmp_path, 3)
    dated(tmp_path, 3, stream="clicks")
    write_jsonl(tmp_path / "conversions" / "all" / "part.jsonl", ROW)
    sources = find_sources(dated_config(tmp_path, "2026-11-03"))
    assert [s.name for s in sources if s.stream == "conversions"] == ["all/part.jsonl"]


def test_days_without_rows_are_named(tmp_path):
    dated(tmp_path, 1, 3)
    dated(tmp_path, 1, stream="clicks")
    dated(tmp_path, 1, stream="conversions")
    message = (
        r"logs\.impressions\.files: no file of 2026-11-02, 2026-11-04, "
        r"which dates = '2026-11-01\.\.2026-11-04' asks for"
    )
    with pytest.raises(FunnelError, match=message):
        find_sources(dated_config(tmp_path, "2026-11-01..2026-11-04"))
    with pytest.raises(FunnelError, match="2026-11-10 and 22 more"):
        find_sources(dated_config(tmp_path, "2026-11-03..2026-12-02"))
    with pytest.raises(
        FunnelError, match=r"logs\.clicks\.files: no file of 2026-11-03 to 2026-11-05"
    ):
        find_sources(dated_config(tmp_path, "2026-11-03"))


@pytest.mark.parametrize("stream", ["impressions", "clicks"])
def test_one_file_without_a_day_is_named(tmp_path, stream):
    for name in ("impressions", "clicks", "conversions"):
        dated(tmp_path, 1, stream=name)
    write_jsonl(tmp_path / stream / "other" / "part.jsonl", ROW)
    with pytest.raises(
        FunnelError, match=rf"logs\.{stream}\.files: '.*other/part\.jsonl' has no day in its path"
    ):
        find_sources(dated_config(tmp_path, "2026-11-01"))


def test_dates_and_eval_files_exclude_each_other(tmp_path):
    for name in ("impressions", "clicks", "conversions"):
        dated(tmp_path, 1, stream=name)
    with pytest.raises(
        FunnelError, match=r"dates chooses files by their day, and split\.eval\.files has none"
    ):
        find_sources(
            dated_config(
                tmp_path, "2026-11-01", split={"eval": {"files": f"{tmp_path}/clicks/*/*"}}
            )
        )


def test_a_filesystem_that_is_not_installed(tmp_path):
    with pytest.raises(
        FunnelError,
        match=r"files = 'nofs://bucket/\*\.csv': cannot be listed \(Unable to get filesystem",
    ):
        find("files", "s", Stream(files="x"), "nofs://bucket/*.csv")


@pytest.mark.parametrize(
    ("pattern", "module", "extra"),
    [("s3://b/*.csv", "boto3", "s3"), ("gs://b/*.csv", "google.cloud.storage", "gcs")],
)
def test_a_storage_client_that_is_not_installed(monkeypatch, pattern, module, extra):
    def absent(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(storage, "import_module", absent)
    message = f"files = '{pattern}': {module} is not installed; run pip install 'funnel[{extra}]'"
    with pytest.raises(FunnelError, match=re.escape(message)):
        find("files", "s", Stream(files="x"), pattern)

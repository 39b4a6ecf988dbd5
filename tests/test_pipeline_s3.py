"""Logs on s3://, against a server on this machine: found by globs and dates, and read in pieces as
local ones are.
"""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystems import FileSystems
from log_files import T0
from pipeline_logs import make_config, read_examples

from features.errors import FunnelError
from pipeline.job import preprocess
from pipeline.rows.columns import columns_needed
from pipeline.rows.read import read_source
from pipeline.sources import pieces as formats
from pipeline.sources.files import find, find_sources
from pipeline.sources.pieces import pieces
from pipeline.sources.storage import connect
from pipeline.sources.vocabularies import read_vocabulary

ROWS = [{"id": str(i), "ts": T0 + i, "user": "u", "tags": ["a"], "price": i / 2} for i in range(40)]
CLICKS = [{"id": str(i), "ts": T0 + i + 5} for i in range(0, 40, 3)]
END = {"id": "nobody", "ts": T0 + 39 + 88_200}  # the longest window after the last impression


@pytest.fixture(autouse=True)
def afterwards():
    """Beam forgets the server."""
    yield
    FileSystems.set_options(None)


def jsonl(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put_logs(put):
    for day, rows in ((21, ROWS[:25]), (22, ROWS[25:])):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=10)
        put(f"impressions/dt=2026-09-{day}/part-0.parquet", sink.getvalue())
    put("clicks/all.jsonl.gz", gzip.compress(jsonl(CLICKS)))
    put("conversions/all.jsonl", jsonl([END]))


def s3_config(folder, **changes):
    streams = {
        "impressions": {"files": "s3://logs/impressions/*/*.parquet", "id": "id", "time": "ts"},
        "clicks": {"files": "s3://logs/clicks/*", "id": "id", "time": "ts"},
        "conversions": {"files": "s3://logs/conversions/*.jsonl", "id": "id", "time": "ts"},
    }
    return make_config(folder, logs=streams, **changes)


def read_ids(config, stream):
    found = []
    for source in find_sources(config):
        if source.stream == stream:
            found += [
                id_
                for b in read_source(source, config.logs[stream], columns_needed(config, stream))
                for id_ in b.columns["id"].to_pylist()
            ]
    return found


def test_logs_are_found_and_read(tmp_path, server, bucket):
    put_logs(bucket)
    connect([f"--s3_endpoint_url={server}"])
    config = s3_config(tmp_path)
    sources = find_sources(config)
    assert [s.name for s in sources] == [
        "dt=2026-09-21/part-0.parquet",
        "dt=2026-09-22/part-0.parquet",
        "all.jsonl.gz",
        "all.jsonl",
    ]
    assert all(s.size > 0 and s.updated for s in sources)
    assert read_ids(config, "impressions") == [row["id"] for row in ROWS]
    assert read_ids(config, "clicks") == [row["id"] for row in CLICKS]
    day = s3_config(tmp_path, dates="2026-09-22")
    assert read_ids(day, "impressions") == [row["id"] for row in ROWS[25:]]


def test_markers_are_left_out_and_vocabularies_read(tmp_path, server, bucket):
    put_logs(bucket)
    for key in ("_SUCCESS", ".part-0.parquet.crc", "_temporary/0/part-1.parquet", "", "_$folder$"):
        bucket(f"impressions/dt=2026-09-21/{key}", b"")
    connect([f"--s3_endpoint_url={server}"])
    stream = s3_config(tmp_path).logs["impressions"]
    for pattern in ("s3://logs/impressions/*/*", "s3://logs/impressions/**"):
        found = find("files", "impressions", stream, pattern)
        assert [source.path for source in found] == [
            f"s3://logs/impressions/dt=2026-09-{day}/part-0.parquet" for day in (21, 22)
        ]
    bucket("v/words.txt.gz", gzip.compress(b"\xef\xbb\xbfa\nb \n"))
    assert read_vocabulary("word", "s3://logs/v/words.txt.gz") == ["a", "b"]
    with pytest.raises(FunnelError, match=r"vocabulary = 's3://logs/v/none.txt': cannot be read"):
        read_vocabulary("word", "s3://logs/v/none.txt")


def test_pieces_read_what_the_whole_does(tmp_path, server, bucket, monkeypatch):
    put_logs(bucket)
    bucket("clicks/all.jsonl.gz", gzip.compress(b""))
    bucket("clicks/plain.jsonl", jsonl(CLICKS))
    connect([f"--s3_endpoint_url={server}"])
    monkeypatch.setattr(formats, "PIECE_BYTES", 300)
    config = s3_config(tmp_path)
    assert {s.name: len(list(pieces(s, config.logs[s.stream]))) for s in find_sources(config)} == {
        "dt=2026-09-21/part-0.parquet": 3,
        "dt=2026-09-22/part-0.parquet": 2,
        "all.jsonl.gz": 1,
        "plain.jsonl": -(-len(jsonl(CLICKS)) // 300),
        "all.jsonl": 1,
    }
    assert read_ids(config, "impressions") == [row["id"] for row in ROWS]
    assert read_ids(config, "clicks") == [row["id"] for row in CLICKS]


def test_what_is_not_there(tmp_path, server, bucket):
    connect([f"--s3_endpoint_url={server}"])
    none, bucket_less = "no file matches$", r"cannot be listed \(there is no bucket 'elsewhere'; "
    for pattern, why in {
        "s3://logs/nothing/*.csv": none,
        "s3://logs/nothing.csv": none,
        "s3://elsewhere/*.csv": bucket_less,
    }.items():
        with pytest.raises(FunnelError, match=rf"files = 's3://.*csv': {why}"):
            find("files", "s", s3_config(tmp_path).logs["clicks"], pattern)


def test_a_file_that_is_gone(tmp_path, server, bucket):
    put_logs(bucket)
    connect([f"--s3_endpoint_url={server}"])
    config = s3_config(tmp_path)
    source = find_sources(config)[-1]
    gone = type(source)(**vars(source) | {"path": "s3://logs/conversions/gone.jsonl"})
    with pytest.raises(FunnelError, match=r"gone\.jsonl: cannot be read as jsonl"):
        list(read_source(gone, config.logs["conversions"], columns_needed(config, "conversions")))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("list", r"impressions.files = 's3://logs/.*': cannot be listed \(.*Forbidden"),
        (
            "get_object_metadata",
            r"^s3://logs/.*parquet: cannot be read \(Forbidden\); give yourself",
        ),
        ("get_range", r"^s3://logs/.*parquet: cannot be read \(Forbidden\); give yourself"),
    ],
)
def test_a_permission_that_lacks_is_named(tmp_path, server, bucket, monkeypatch, method, message):
    put_logs(bucket)

    def forbidden(*_):
        raise S3ClientError("Forbidden", 403)

    monkeypatch.setattr(f"apache_beam.io.aws.clients.s3.boto3_client.Client.{method}", forbidden)
    with pytest.raises(FunnelError, match=message):
        preprocess(s3_config(tmp_path), tmp_path / "data", [f"--s3_endpoint_url={server}"])
    assert not (tmp_path / "data").exists()


def test_the_whole_job(tmp_path, server, bucket):
    put_logs(bucket)
    manifest = preprocess(s3_config(tmp_path), tmp_path / "data", [f"--s3_endpoint_url={server}"])
    assert manifest["rows"]["examples_written"] == len(ROWS)
    assert [
        row["click"]
        for _, row in sorted(
            read_examples(tmp_path / "data").items(), key=lambda item: int(item[0])
        )
    ] == [int(i % 3 == 0) for i in range(40)]

"""Where large files are cut, which positions their rows have, and how little a check reads."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from log_files import FORMATS, T0, read_file, write

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.rows.batch import ColumnRequest
from pipeline.rows.read import check_columns
from pipeline.sources import pieces as formats
from pipeline.sources.files import find
from pipeline.sources.formats import parquet
from pipeline.sources.storage import Source


def test_a_text_file_is_cut_by_its_size(monkeypatch):
    monkeypatch.setattr(formats, "PIECE_BYTES", 10)
    plain, stream = Source("s", "a.csv", "a.csv", 25, "csv"), Stream(files="x")
    assert [(p.start, p.end) for p in formats.pieces(plain, stream)] == [
        (0, 10),
        (10, 20),
        (20, 25),
    ]
    whole = [(None, None)]
    assert [
        (p.start, p.end) for p in formats.pieces(Source("s", "a.csv", "a.csv", 10, "csv"), stream)
    ] == whole
    assert [
        (p.start, p.end)
        for p in formats.pieces(Source("s", "a.csv.gz", "a.csv.gz", 25, "csv"), stream)
    ] == whole
    assert [
        (p.start, p.end)
        for p in formats.pieces(plain, stream.model_copy(update={"multiline": True}))
    ] == whole
    empty = Source("s", "a.csv", "a.csv", 0, "csv")
    assert [(p.start, p.end) for p in formats.pieces(empty, stream)] == whole


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"PIECE_ROWS": 7}, [(0, 3), (3, 6), (6, 7)]),
        ({"PIECE_BYTES": 1}, [(n, n + 1) for n in range(7)]),
        ({}, [(None, None)]),
    ],
)
def test_parquet_is_cut_between_row_groups(tmp_path, monkeypatch, limits, expected):
    for name, value in limits.items():
        monkeypatch.setattr(parquet if name == "PIECE_ROWS" else formats, name, value)
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"n": range(20)}), path, row_group_size=3)
    source, stream = (
        Source("s", str(path), "log.parquet", path.stat().st_size, "parquet"),
        Stream(files="x"),
    )
    pieces = list(formats.pieces(source, stream))
    assert [(p.start, p.end) for p in pieces] == expected
    found = {}
    for piece in pieces:
        assert not piece.by_bytes
        with formats.open_log(source, stream) as log:
            for raw in log.read({"n": "integer"}, piece.start, piece.end):
                found |= dict(zip(raw.positions.tolist(), raw.table["n"].to_pylist(), strict=True))
    assert found == {n + 1: n for n in range(20)}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_positions_in_pieces_are_bytes(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(formats, "PIECE_BYTES", 30)
    records = [{"id": f"r{i}", "ts": "?" if i % 5 == 0 else str(T0)} for i in range(20)]
    path = write(tmp_path, kind, records)
    whole = path.read_bytes()
    rows, rejected, count = read_file(path, {})
    assert count == 20
    for position, row in rows.items():
        assert row["id"].encode() in whole[position : whole.index(b"\n", position)]
    assert [reason for _, reason in rejected] == ["ts is not a time"] * 4
    assert all(b"?" in whole[position : whole.index(b"\n", position)] for position, _ in rejected)
    rows, _, _ = read_file(path, {"ts": "text"}, id=None, time=None)
    assert [row["id"] for row in rows.values()] == [f"log.{kind}:{position}" for position in rows]


class Counting:
    """A file that counts the bytes read of it."""

    def __init__(self, file, counts):
        self._file, self._counts = file, counts

    def read(self, size=-1):
        data = self._file.read(size)
        self._counts.append(len(data))
        return data

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


@pytest.mark.parametrize("kind", FORMATS)
def test_checking_columns_reads_little(tmp_path, monkeypatch, kind):
    """Of a file of several megabytes about one is read, and a mistake in it is found."""
    row = {"id": "x" * 900, "ts": T0, "user": "u", "n": 1}
    if kind == "parquet":
        table = pa.Table.from_pylist([row | {"id": os.urandom(450).hex()} for _ in range(6000)])
        pq.write_table(table, tmp_path / "log.parquet", row_group_size=1000, use_dictionary=False)
    else:
        write(tmp_path, kind, [row] * 6000)
    counts = []
    opened = FileSystems.open
    monkeypatch.setattr(
        FileSystems, "open", lambda *args, **kw: Counting(opened(*args, **kw), counts)
    )
    stream = Stream(files=f"{tmp_path}/log.{kind}", id="id", time="ts")
    (source,) = find("files", "impressions", stream, stream.files)
    check_columns([source], stream, ColumnRequest((("user", "text"), ("n", "number"))))
    assert 0 < sum(counts) < 3 << 20 < source.size * 0.7
    with pytest.raises(FunnelError, match="has no column 'usr'"):
        check_columns([source], stream, ColumnRequest((("usr", "text"),)))

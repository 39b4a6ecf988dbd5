"""Parquet files whose footer and row groups disagree."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline_logs import make_config, write_logs

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.job import preprocess
from pipeline.sources.formats.parquet import ParquetFile
from pipeline.sources.storage import Source, open_source

STREAM = Stream.parse({"files": "a.parquet", "id": "id", "time": "ts"})
REMEDY = "write the file again, or copy it again from its source"


def varint(number, skipped):
    """An i64 as Thrift's compact protocol writes it, with its header: how many fields it skips."""
    number, found = 2 * number, b""
    while number >= 128:
        found, number = found + bytes([number % 128 + 128]), number // 128
    return bytes([16 * (skipped + 1) + 6]) + found + bytes([number])


def changed(path, *changes, skipped=0):
    """The file with (old, new, which) numbers of its footer replaced; `which` counts from 0."""
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    body, footer = content[:start], content[start:]
    for old, new, which in changes:
        was, now = varint(old, skipped), varint(new, skipped)
        parts = footer.split(was)
        assert (len(was), len(parts) > which + 1) == (len(now), True)
        footer = was.join(parts[: which + 1]) + now + was.join(parts[which + 1 :])
    path.write_bytes(body + footer)


@pytest.fixture
def path(tmp_path):
    """Row groups of 50 and 47 rows."""
    path = tmp_path / "a.parquet"
    rows = {"id": [f"i{n}" for n in range(97)], "ts": list(range(97))}
    pq.write_table(pa.table(rows), path, row_group_size=50, compression="none")
    return path


def read(path, start=None, end=None):
    source = Source("clicks", str(path), path.name, path.stat().st_size, "parquet")
    with open_source(source) as file:
        return [
            position
            for rows in ParquetFile(file, STREAM).read({"id": "text", "ts": "time"}, start, end)
            for position in rows.positions.tolist()
        ]


def test_a_footer_that_agrees(path, tmp_path):
    assert read(path) == list(range(1, 98))
    assert read(path, 1, 2) == list(range(51, 98))
    nested = tmp_path / "nested.parquet"
    columns = {"id": ["a", "b"], "ts": [1, 2], "tags": [["x", "y"], []], "who": [{"n": 1}, None]}
    pq.write_table(pa.table(columns), nested)
    assert read(nested) == [1, 2]
    empty = tmp_path / "empty.parquet"
    pq.write_table(
        pa.table({"id": pa.array([], pa.string()), "ts": pa.array([], pa.int64())}), empty
    )
    assert read(empty) == []


@pytest.mark.parametrize("rows", [96, 98])
def test_a_footer_of_other_rows_than_its_row_groups(path, rows):
    changed(path, (97, rows, 0))
    numbers = f"its footer says {rows} rows, its row groups 97: {REMEDY}"
    with pytest.raises(FunnelError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: cannot be read as parquet ({numbers})")
    source = Source("clicks", str(path), path.name, 1, "parquet")
    with pytest.raises(FunnelError, match=numbers):
        ParquetFile.ranges(source, STREAM, 1)


def test_a_row_group_of_other_rows_than_its_columns_have_values(path):
    groups = len(path.read_bytes().split(varint(47, 0))) - 2  # the last one is the row group's own
    changed(path, (97, 96, 0), (47, 46, groups))
    with pytest.raises(FunnelError, match="'id' of row group 2 says 47 values, the row group 46 "):
        read(path)
    assert read(path, 0, 1) == list(range(1, 51))


def test_a_row_group_that_lies_on_another(path):
    rows = pq.read_table(path)
    pq.write_table(rows, path, row_group_size=50, compression="none", use_dictionary=False)
    second = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    changed(path, (second, second - 40, 0), skipped=1)
    with pytest.raises(FunnelError, match=f"row group 2 begins before that, at {second - 40:,}"):
        read(path)


def test_a_job_names_the_file_that_is_not_the_first(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path, [{"id": "i1", "ts": 5, "price": 1}], [], [{"id": "i1", "ts": 9}])
    (tmp_path / "clicks.jsonl").unlink()
    path.rename(tmp_path / "clicks-2.parquet")
    pq.write_table(pa.table({"id": ["i1"], "ts": [6]}), tmp_path / "clicks-1.parquet")
    changed(tmp_path / "clicks-2.parquet", (97, 99, 0))
    names = {"impressions": "impressions.jsonl", "clicks": "clicks-*.parquet"}
    names["conversions"] = "conversions.jsonl"
    logs = {name: {"files": files, "id": "id", "time": "ts"} for name, files in names.items()}
    config = make_config(tmp_path, features={"price": {"kind": "numeric"}}, logs=logs)
    with pytest.raises(FunnelError, match=r"^clicks-2.parquet: .*footer says 99 rows, .* 97"):
        preprocess(config, tmp_path / "data")
    assert not (tmp_path / "data").exists()

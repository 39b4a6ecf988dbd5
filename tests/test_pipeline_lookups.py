"""pipeline.rows.lookups: columns that a stream's files lack are looked up by key; where a table
lacks the key they are missing, and the row is counted.
"""

import pytest
from log_files import T0, request_of, write

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.rows.lookups import resolve
from pipeline.rows.read import read_source
from pipeline.sources.files import find

ITEMS = [{"item": 7, "brand": "acme", "price": 1.5}, {"item": 8, "brand": None, "price": None}]
USERS = "uid;age\nu1;30\nu2;41\n"
ROWS = [
    {"id": str(i), "ts": T0, "item": item, "user": user}
    for i, (item, user) in enumerate([("7", "u1"), ("8", "u9"), ("9", ""), ("7", "u2")])
]
WANTED = {"item": "text", "brand": "text", "price": "number", "age": "integer"}


def lookups(folder, *, items=ITEMS, users=USERS, kind="jsonl"):
    (folder / "items").mkdir()
    (folder / "users.csv").write_text(users)
    return {
        "items": {"files": str(write(folder / "items", kind, items)), "key": "item"},
        "users": {"files": str(folder / "users.csv"), "key": "uid", "on": "user", "separator": ";"},
    }


def read_joined(folder, columns=WANTED, rows=ROWS, **declared):
    stream = Stream(
        files=str(write(folder, "jsonl", rows)),
        id="id",
        time="ts",
        lookups=lookups(folder, **declared),
    )
    (source,) = find("files", "impressions", stream, stream.files)
    wanted = request_of(columns)
    joined = resolve("impressions", stream, [source], wanted.columns)
    (batch,) = read_source(source, stream, wanted, joined)
    return {
        name.rpartition(":")[2]: values.to_pylist() for name, values in batch.columns.items()
    }, batch


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_columns_are_taken_by_key(tmp_path, kind):
    columns, batch = read_joined(tmp_path, kind=kind)
    assert columns["brand"] == ["acme", None, None, "acme"]
    assert columns["price"] == [1.5, None, None, 1.5]
    assert columns["age"] == [30, None, None, 41]
    assert batch.lookup_misses == {"items": 1, "users": 2}
    assert batch.rejects == []


def test_rejected_rows_count_no_miss(tmp_path):
    rows = [*ROWS, {"id": None, "ts": T0, "item": "none", "user": "u1"}]
    columns, batch = read_joined(tmp_path, rows=rows)
    assert batch.lookup_misses == {"items": 1, "users": 2}
    assert len(columns["brand"]) == 4
    assert len(batch.rejects) == 1


def test_the_streams_own_column_is_not_looked_up(tmp_path):
    rows = [{**row, "brand": "own"} for row in ROWS]
    columns, _ = read_joined(tmp_path, {"brand": "text", "price": "number"}, rows)
    assert columns["brand"] == ["own"] * 4


@pytest.mark.parametrize(
    ("columns", "declared", "match"),
    [
        (
            {"brnd": "text"},
            {},
            r"log\.jsonl and its lookups items, users: have no column 'brnd': did you mean "
            r"'brand'\?",
        ),
        (
            {"age": "text"},
            {"items": [{"item": 1, "age": 2}]},
            r"lookups: items and users both hold the column 'age': rename one",
        ),
        (
            {"brand": "text"},
            {"items": [{"it": 1, "brand": "x"}]},
            r"has no column 'item', the key of lookups\.items: did you mean 'it'\?",
        ),
        (
            {"brand": "text"},
            {"items": ITEMS + ITEMS[:1]},
            r"item '7' occurs more than once: a look-up table has one row for each key",
        ),
        (
            {"brand": "text"},
            {"items": [*ITEMS, {"item": None, "brand": "x"}]},
            r"line 3: item is missing \(None\); .*must have no unusable row: fix it",
        ),
        (
            {"age": "integer"},
            {"users": "uid;age\nu1;old\n"},
            r"users\.csv, line 2: age is not an integer \(b'old'\); .*must have no unusable row: "
            r"fix it",
        ),
        ({"brand": "number"}, {"kind": "parquet"}, r"brand is not a number"),
    ],
)
def test_tables_that_cannot_be_joined(tmp_path, columns, declared, match):
    with pytest.raises(FunnelError, match=match):
        read_joined(tmp_path, columns, **declared)


def test_a_stream_without_the_key(tmp_path):
    rows = [{key: row[key] for key in ("id", "ts", "item")} for row in ROWS]
    with pytest.raises(
        FunnelError, match=r"log\.jsonl: has no column 'user', the key of lookups\.users"
    ):
        read_joined(tmp_path, rows=rows)


def test_an_empty_first_file_leaves_the_tables_their_columns(tmp_path):
    stream = Stream(
        files=str(tmp_path / "log.jsonl"), id="id", time="ts", lookups=lookups(tmp_path)
    )
    (tmp_path / "log.jsonl").write_bytes(b"")
    (source,) = find("files", "impressions", stream, stream.files)
    joined = resolve("impressions", stream, [source], request_of(WANTED).columns)
    assert joined.taken == {
        ("brand", "text"),
        ("price", "number"),
        ("age", "integer"),
        ("item", "text"),
    } - {("item", "text")}

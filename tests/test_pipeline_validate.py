"""pipeline.rows.validate: the rules for rows besides types, and which rows break them."""

import pytest
from log_files import FORMATS, T0, read_file, write
from pipeline_logs import make_config

from pipeline.config import Stream
from pipeline.rows.batch import ColumnRequest, column_key
from pipeline.rows.columns import columns_needed
from pipeline.rows.read import read_source
from pipeline.sources.files import find

PAIRED = ColumnRequest((("tags", "texts"), ("w", "numbers")), paired={"w": "tags"})
SPLIT_PAIRED = ColumnRequest(
    (("tags", "text"), ("w", "text")), paired={"w": "tags"}, separators={"tags": "|"}
)


def test_integers_within_bounds(tmp_path):
    path = write(tmp_path, "csv", [{"id": "a", "ts": T0, "k": k} for k in (0, 9, 10, -1, "")])
    rows, rejected, _ = read_file(path, ColumnRequest((("k", "integer"),), bounds={"k": (0, 9)}))
    assert [row["k"] for row in rows.values()] == [0, 9, None]
    assert rejected == [(4, "k is not within 0..9"), (5, "k is not within 0..9")]


def test_weights_as_many_as_values(tmp_path):
    pairs = [
        (["a", "b"], [1, 2.5]),
        (["a"], []),
        ([], []),
        (["a"], None),
        (None, [1.5]),
        (None, None),
        (["a"], [None]),
    ]
    path = write(
        tmp_path,
        "jsonl",
        [{"id": "a", "ts": T0, "tags": tags, "w": weights} for tags, weights in pairs],
    )
    rows, rejected, _ = read_file(path, PAIRED)
    assert list(rows) == [1, 3, 4, 6, 7]
    assert rejected == [
        (2, "w has not as many values as tags"),
        (5, "w has not as many values as tags"),
    ]


def test_weights_as_texts(tmp_path):
    pairs = [
        ("a|b", "1|2.5"),
        ("a|b", "1"),
        ("a|b", "1|x"),
        ("a|b", "1|"),
        ("a", ""),
        ("", "1"),
        ("", ""),
    ]
    path = write(
        tmp_path,
        "csv",
        [{"id": "a", "ts": T0, "tags": tags, "w": weights} for tags, weights in pairs],
    )
    rows, rejected, _ = read_file(path, SPLIT_PAIRED)
    assert list(rows) == [2, 5, 6, 8]
    assert rejected == [
        (3, "w has not as many values as tags"),
        (4, "w is not a list of numbers"),
        (7, "w has not as many values as tags"),
    ]


def test_numbers_of_labels(tmp_path):
    numbers = ColumnRequest((("n", "number"), ("m", "number")), nonnegative=("n", "m"))
    path = write(
        tmp_path,
        "csv",
        [
            {"id": "a", "ts": T0, "n": n, "m": m}
            for n, m in [(0, 1), (-0.5, 1), (1, -1), ("", 1), (1, ""), ("nan", 1)]
        ],
    )
    rows, rejected, _ = read_file(path, numbers)
    assert list(rows) == [2, 5, 6, 7]
    assert rejected == [(3, "n is below 0"), (4, "m is below 0")]


@pytest.mark.parametrize("kind", FORMATS)
def test_one_column_in_two_raw_types(tmp_path, kind):
    path = write(tmp_path, kind, [{"id": str(i), "ts": T0, "n": n} for i, n in enumerate([1, 20])])
    stream = Stream(files=str(path), id="id", time="ts")
    (source,) = find("files", "impressions", stream, stream.files)
    (batch,) = (
        b
        for b in read_source(
            source, stream, ColumnRequest((("n", "text"), ("n", "number"), ("ts", "time")))
        )
        if len(b.positions)
    )
    assert batch.columns[column_key("n", "text")].to_pylist() == ["1", "20"]
    assert batch.columns[column_key("n", "number")].to_pylist() == [1.0, 20.0]
    assert batch.columns[column_key("ts", "time")].to_pylist() == [T0, T0]
    assert batch.columns["time"].to_pylist() == [T0 * 10**6] * 2


def test_what_is_wanted_of_each_stream(tmp_path):
    streams = {
        n: {"files": f"{tmp_path}/{n}*", "id": "id", "time": "ts"}
        for n in ("impressions", "clicks")
    }
    streams["clicks"]["key"] = "click_id"
    config = make_config(
        tmp_path,
        logs=streams,
        features={
            "user": {"kind": "categorical", "buckets": 9},
            "place": {"kind": "categorical", "identity": True, "buckets": 11, "column": "pos"},
            "tags": {
                "kind": "categorical",
                "buckets": 9,
                "max_length": 2,
                "weights": "w",
                "separator": "|",
            },
            "price": {"kind": "numeric"},
            "hour": {"kind": "time", "part": "hour", "column": "ts"},
        },
        labels={
            "click": {"event": "clicks", "within": "30m"},
            "dwell": {"event": "clicks", "within": "30m", "value": "seconds", "of": "length"},
            "sale": {"column": "sold"},
            "share": {"value": "part", "of": "whole"},
        },
        tasks={"ctr": {"label": "click"}},
        split={"eval": {"fraction": 0.5, "by": "user"}},
    )
    rows = columns_needed(config, "impressions")
    features = {
        ("user", "text"),
        ("pos", "integer"),
        ("tags", "text"),
        ("w", "text"),
        ("price", "number"),
        ("ts", "time"),
    }
    assert set(rows.columns) == features | {
        ("sold", "text"),
        ("part", "number"),
        ("whole", "number"),
    }
    assert len(set(rows.columns)) == len(rows.columns)
    assert (rows.bounds, rows.paired, rows.separators) == (
        {"pos": (0, 9)},
        {"w": "tags"},
        {"tags": "|"},
    )
    assert rows.nonnegative == ("part", "whole")
    events = columns_needed(config, "clicks")
    assert set(events.columns) == {
        ("seconds", "number"),
        ("length", "number"),
        ("click_id", "text"),
    }
    assert events.nonnegative == ("seconds", "length")

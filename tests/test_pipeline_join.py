"""pipeline.labeling.join: deduplication, and matching of events to impressions, also where two ids
share a fingerprint.
"""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import hashing
from pipeline.labeling.join import (
    Index,
    deduplicate,
    group,
    match,
    searchsorted_pairs,
)
from pipeline.output.rejects import duplicate_rejects

TEXTS = st.text("abé日", max_size=2)


def impressions(*rows, **columns):
    """Rows (id, time, user's id in the table) of a file each."""
    ids = pa.array([r[0] for r in rows], pa.string())
    users = np.array([[r[2]] for r in rows], np.int32).reshape(-1)
    content = {
        "id": ids,
        "hash": hashing.fingerprint64(ids),
        "time": np.array([r[1] for r in rows], np.int64),
        "file": np.arange(len(rows), dtype=np.int32),
        "position": np.arange(len(rows)) + 1,
        "by_bytes": (np.arange(len(rows)) == 3).astype(np.int8),
        "ids": pa.FixedSizeListArray.from_arrays(users, 1),
        "dense": pa.nulls(len(rows)),
    }
    return pa.table(content | columns)


def kept_of(table):
    kept, repeated = deduplicate(table)
    assert sorted([*kept, *repeated]) == list(range(len(table)))
    rows = table.take(pa.array(kept))
    return {
        id_: (time, user[0])
        for id_, time, user in zip(
            *(rows[c].to_pylist() for c in ("id", "time", "ids")), strict=True
        )
    }


def test_the_earliest_of_one_id_is_kept():
    table = impressions(("a", 256, 1), ("b", 5, 2), ("a", 3, 3), ("a", 4, 4), ("é", 1, 5))
    assert kept_of(table) == {"a": (3, 3), "b": (5, 2), "é": (1, 5)}
    repeated = duplicate_rejects(table.take(pa.array(deduplicate(table)[1])))
    assert [(file, r.line, r.byte, r.value) for file, r in repeated] == [
        (0, 1, None, "a"),
        (3, None, 4, "a"),
    ]


def test_of_equal_rows_the_first_by_file_and_position_is_kept():
    rows = impressions(("a", 3, 1), ("a", 3, 1), ("a", 3, 1), ("b", 3, 1))
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 2, 0]):
        table = rows.take(pa.array(order))
        kept = table.take(pa.array(deduplicate(table)[0]))
        assert sorted(kept["file"].to_pylist()) == [0, 3]


def test_at_equal_times_the_smallest_bytes_are_kept_whatever_the_order():
    rows = [("a", 3, 300), ("a", 3, 2), ("a", 3, 7), ("b", 3, 7)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        kept = kept_of(impressions(*[rows[i] for i in order]))
        assert kept["a"] == (3, 2)  # as bytes: 02 00 … < 07 00 … < 2c 01 …


def test_nothing_in_nothing_out():
    kept, repeated = deduplicate(impressions())
    assert len(kept) == len(repeated) == 0
    assert match(index_of([]), events("a")).rows.tolist() == [-1]


def index_of(ids, forged=lambda hashes: hashes):
    """An index of distinct ids, as the job makes it."""
    texts = pa.array(ids, pa.string())
    hashes = forged(hashing.fingerprint64(texts))
    return Index(hashes, texts, np.argsort(hashing.mix(hashes, hashing.ORDER)))


def events(*ids, hashes=None, **columns):
    texts = pa.array(ids, pa.string())
    times = np.arange(len(ids), dtype=np.int64)
    return pa.table(
        {
            "id": texts,
            "hash": hashing.fingerprint64(texts) if hashes is None else hashes,
            "time": times,
        }
        | columns
    )


def test_an_event_finds_its_impression_with_its_numbers():
    index = index_of(["a", "日"])
    found = match(
        index,
        events(
            "日",
            "nobody",
            "a",
            None,
            **{"value:price": [1.0, 2.0, 3.0, 4.0], "touched": [7, 8, None, 9]},
        ),
    )
    assert [-1 if at < 0 else index.kept[at] for at in found.rows] == [1, -1, 0, -1]
    assert found.times.tolist() == [0, 1, 2, 3]
    assert found.values["price"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.touched.tolist() == [7, 8, 0, 9]


@given(st.lists(TEXTS, max_size=12), st.lists(TEXTS, max_size=12), st.integers(1, 4))
@settings(deadline=None, max_examples=300)
def test_forged_equal_fingerprints_never_merge_two_ids(ids, asked, space):
    """With fingerprints mod 1, 2, 3 or 4 nearly all of them collide."""

    def forged(hashes):
        return hashes % np.uint64(space)

    def forged_of(texts):
        return forged(hashing.fingerprint64(pa.array(texts, pa.string())))

    order, first = group(forged_of(ids), pa.array(ids, pa.string()))
    assert sorted(order) == list(range(len(ids)))
    firsts = [ids[i] for i in order[first]]
    assert sorted(firsts) == sorted(set(ids))
    names = [ids[i] for i in order]
    assert [
        name for i, name in enumerate(names) if i == 0 or names[i - 1] != name
    ] == firsts  # equal ids are neighbours
    index, distinct = index_of(sorted(set(ids)), forged), sorted(set(ids))
    found = index.find(forged_of(asked), pa.array(asked, pa.string()))
    assert [None if at < 0 else distinct[index.kept[at]] for at in found] == [
        a if a in distinct else None for a in asked
    ]


@pytest.mark.parametrize("space", [2**64 - 1, 1])
def test_the_order_of_a_shard_does_not_depend_on_the_order_of_its_input(space):
    rows = [(f"i{n}", n % 5, n) for n in range(60)]
    found = []
    for order in (range(60), reversed(range(60)), np.random.default_rng(1).permutation(60)):
        table = impressions(*[rows[i] for i in order])
        table = table.set_column(1, "hash", pa.array(table["hash"].to_numpy() % np.uint64(space)))
        found.append(table["id"].take(pa.array(deduplicate(table)[0])).to_pylist())
    assert found[0] == found[1] == found[2]
    assert found[0] != sorted(found[0])


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12)


@given(PAIRS, PAIRS)
@settings(deadline=None, max_examples=200)
def test_searchsorted_pairs(pairs, asked):
    pairs = sorted(pairs)
    columns = [np.array([p[i] for p in some], np.int64) for some in (pairs, asked) for i in (0, 1)]
    assert searchsorted_pairs(*columns, "left").tolist() == [
        sum(p < a for p in pairs) for a in asked
    ]
    assert searchsorted_pairs(*columns, "right").tolist() == [
        sum(p <= a for p in pairs) for a in asked
    ]

"""Totals of all valid rows: profiles of features, the raw sample, and folding in any order."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from features import arrays, hashing
from features.spec import Spec
from pipeline.statistics import profiles, sketches, streams
from pipeline.statistics.collisions import expected
from pipeline.statistics.streams import StreamCounts

TABLE = {"labels": {"y": {"column": "y"}}, "tasks": {"t": {"label": "y"}}}


def hashed_of(texts):
    hashed = hashing.hash_texts(pa.array(texts, pa.string()))
    return hashed, hashed.ids(1000)[:, None]


def profile_of(texts):
    return sketches.profile_texts(*hashed_of(texts))


def same(a, b):
    return (a.rows, a.missing, a.top) == (b.rows, b.missing, b.top) and np.array_equal(
        a.smallest, b.smallest
    )


def test_a_profile_of_literal_texts():
    profile = profile_of(["b", "a", None, "b", "", "日本"])
    assert (profile.rows, profile.missing, profile.distinct) == (6, 2, 3)
    assert sketches.top_json(profile) == [("b", 2), ("a", 1), ("日本", 1)]  # ties by text


def test_lists_count_rows_without_any_value():
    column = pa.array([["a", "b"], [], None, ["", "a"]], pa.list_(pa.string()))
    spec = Spec.parse(
        TABLE | {"features": {"tags": {"kind": "categorical", "buckets": 50, "max_length": 2}}}
    )
    encoded = arrays.encode(spec, {"tags": column})
    profile = sketches.profile_texts(encoded.hashed["tags"], encoded.ids)
    assert (profile.rows, profile.missing, profile.distinct, profile.top) == (
        4,
        2,
        2,
        {"a": 2, "b": 1},
    )


def test_integers_that_are_ids_as_they_are():
    profile = sketches.profile_integers(np.array([[0], [1], [8], [8]], np.int32))
    assert (profile.rows, profile.missing, profile.distinct, profile.top) == (
        4,
        1,
        2,
        {"0": 1, "7": 2},
    )


@pytest.mark.parametrize("values", [100, 2047])
def test_distinct_is_exact_where_few(values):
    assert profile_of([f"v{n % values}" for n in range(5000)]).distinct == values


@pytest.mark.parametrize("values", [5_000, 200_000])
def test_distinct_is_estimated_where_many(values):
    texts = [f"v{n}" for n in range(values)]
    batches = [
        profile_of(texts[start : start + 65_536]) for start in range(0, values, 40_000)
    ]  # they overlap
    assert sketches.fold_profiles(batches).distinct == pytest.approx(
        values, rel=0.1
    )  # 4.5 standard errors


def test_a_sketch_holds_2048_fingerprints():
    smallest = np.arange(1, 2049, dtype=np.uint64) * np.uint64(2**50)  # the last is 2⁶⁴ / 8
    assert sketches.Profile(smallest=smallest).distinct == 8 * 2047
    assert sketches.Profile(smallest=smallest[:-1]).distinct == 2047
    texts = [f"v{n}" for n in range(5000)]
    fingerprints = np.sort(hashing.fingerprint64(pa.array(texts)))
    one, other = profile_of(texts), profile_of(texts[:3000])
    assert np.array_equal(one.smallest, fingerprints[:2048])
    assert np.array_equal(sketches.fold_profiles([other, one]).smallest, fingerprints[:2048])


def test_a_sketch_holds_64_texts_of_a_batch_and_1024_of_all():
    batch = [f"v{n:02}" for n in range(66) for _ in range(100 - n)]
    assert list(profile_of(batch).top) == [f"v{n:02}" for n in range(64)]
    parts = [sketches.Profile(top={f"v{n:04}": 1 + (n < 1000)}) for n in range(1100)]
    assert list(sketches.fold_profiles(parts).top) == [f"v{n:04}" for n in range(1024)]


def test_profiles_fold_alike_in_any_order_and_grouping():
    rng = np.random.default_rng(0)
    batches = [profile_of([f"v{n}" for n in rng.zipf(1.5, 6000) % 5000]) for _ in range(4)]
    whole = sketches.fold_profiles(batches)
    for order in itertools.permutations(batches):
        assert same(sketches.fold_profiles(order), whole)
    assert same(sketches.fold_profiles([sketches.fold_profiles(batches[:3]), batches[3]]), whole)


def test_a_count_is_a_lower_bound_where_a_batch_had_others_first():
    common = [f"common-{n}" for n in range(sketches.TOP_OF_BATCH) for _ in range(5)]
    one, other = profile_of([*common, "x", "x"]), profile_of(["x"] * 9)
    assert "x" not in one.top
    assert sketches.fold_profiles([one, other]).top["x"] == 9
    tied = [f"v{n}" for n in range(sketches.TOP_OF_BATCH + 1)]
    assert profile_of(tied).top == {}  # all tied at the cut: none goes before another
    assert profile_of([*tied, "v7"]).top == {"v7": 2}


def test_features_of_one_table_are_counted_together_and_crosses_are_readable():
    features = {
        "item": {"kind": "categorical", "buckets": 100},
        "recent": {"kind": "sequence", "shares": "item", "max_length": 2},
        "pair": {"kind": "cross", "of": ["item", "color"], "buckets": 10},
        "hour": {"kind": "time", "part": "hour", "column": "ts"},
        "place": {"kind": "categorical", "identity": True, "buckets": 5},
    }
    spec = Spec.parse(TABLE | {"features": features})
    raw = {
        "item": ["a:1", "日"],
        "recent": [["日", "c"], []],
        "color": ["é", None],
        "ts": [0, 7200],
        "place": [3, None],
    }
    encoded = arrays.encode(
        spec, {c: pa.array(raw[c], arrays.ARROW_TYPES[t]) for c, t in spec.columns.items()}
    )
    found = profiles.profile_features(spec, encoded.hashed, encoded.ids)
    content = profiles.profiles_json(spec, found)
    assert list(content) == list(spec.id_features)
    assert content["item"]["distinct"] == content["recent"]["distinct"] == 2
    together = content["item"]["collisions"]
    assert {
        key: together[key] for key in ("buckets", "expected_share", "buckets_for_1_percent")
    } == expected(3, 100)  # a:1, 日, c
    assert "collisions" not in content["recent"] | content["hour"] | content["place"]
    assert content["pair"]["top"] == [["a:1 × é", 1]]
    assert (content["hour"]["top"], content["place"]["top"]) == ([["0", 1], ["2", 1]], [["3", 1]])


def test_the_raw_sample_is_the_same_in_every_order():
    raw = pa.table(
        {"id": [f"i{n % 900}" for n in range(1000)], "x": [n * 7 % 13 for n in range(1000)]}
    )  # 100 ids come twice
    expected = streams.sample_raw(raw)
    assert len(expected) == streams.SAMPLE_ROWS
    for seed in range(3):
        shuffled = raw.take(pa.array(np.random.default_rng(seed).permutation(1000)))
        assert streams.sample_raw(shuffled).equals(expected)
        assert streams.sample_raw(
            shuffled, hashing.fingerprint64(shuffled["id"].combine_chunks())
        ).equals(expected)
        halves = pa.concat_tables(
            [streams.sample_raw(shuffled.slice(0, 400)), streams.sample_raw(shuffled.slice(400))]
        )
        assert streams.sample_raw(halves).equals(expected)


def test_totals_by_stream():
    counts = [
        StreamCounts("clicks", 3, {"id is missing": 1}, last_time=5),
        StreamCounts("table", 2, {}, last_time=9, lookup_misses={"items": 1}),
        StreamCounts("table", 4, {"bad": 2}, last_time=7, lookup_misses={"items": 2}),
        StreamCounts("table"),  # of an empty file
    ]
    totals, sample = streams.fold_streams(counts)
    assert sample is None
    assert streams.stream_json(totals["table"]) == {
        "rows_read": 6,
        "rejected": {"bad": 2},
        "last_time": 9,
        "lookup_misses": {"items": 3},
    }
    assert streams.stream_json(totals["clicks"]) == {
        "rows_read": 3,
        "rejected": {"id is missing": 1},
        "last_time": 5,
        "lookup_misses": {},
    }

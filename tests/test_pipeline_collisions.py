"""Hash collisions: the expected share, and frequent values that share a bucket."""

import numpy as np
import pyarrow as pa
import pytest

from features import arrays, hashing
from features.spec import Spec
from pipeline.statistics import profiles
from pipeline.statistics.collisions import collisions, expected, warnings
from pipeline.statistics.sketches import Profile

TABLE = {"labels": {"y": {"column": "y"}}, "tasks": {"t": {"label": "y"}}}


def test_the_expected_share_on_paper():
    # 2 values in 3 buckets, of which row 0 is for the missing: they share with chance 1/2; 1/(b −
    # 1) is under 1 % from b = 102 on
    assert expected(2, 3) == {
        "buckets": 3,
        "expected_share": pytest.approx(0.5),
        "buckets_for_1_percent": 102,
    }
    assert expected(1, 3)["expected_share"] == expected(0, 2)["expected_share"] == 0
    assert expected(2, 2)["expected_share"] == 1
    for distinct in (2, 3, 1000, 10**7):
        enough = expected(distinct, 10)["buckets_for_1_percent"]
        assert (
            expected(distinct, enough)["expected_share"]
            < 0.01
            <= expected(distinct, enough - 1)["expected_share"]
        )


def test_the_expected_share_drawn():
    rng = np.random.default_rng(0)
    rows = rng.integers(1, 2000, 3000)
    shared = (np.bincount(rows)[rows] > 1).mean()
    assert expected(3000, 2000)["expected_share"] == pytest.approx(shared, abs=0.03)


def test_the_literal_buckets():
    texts = pa.array(["yes", "no", "maybe", "red", "green", "blue"])
    assert hashing.bucket_ids(texts, 6).tolist() == [3, 3, 3, 1, 5, 1]
    assert hashing.bucket_ids(texts, 7).tolist() == [6, 5, 1, 3, 5, 4]
    assert hashing.bucket_ids(texts, 8).tolist() == [7, 4, 3, 2, 3, 7]


def of(top, buckets=6):
    return collisions(Profile(1000, 0, np.arange(len(top), dtype=np.uint64), top), 1000, buckets)


def test_frequent_values_of_one_bucket_are_a_group():
    top = {"yes": 500, "no": 200, "maybe": 5, "red": 100, "blue": 150, "green": 45}
    assert of(top) == expected(6, 6) | {
        "frequent": [
            {"share": 0.705, "values": [["yes", 0.5], ["no", 0.2], ["maybe", 0.005]]},
            {"share": 0.25, "values": [["blue", 0.15], ["red", 0.1]]},
        ],
        # no and green share one of 7 and of 9, yes and blue of 8, yes and red of 10
        "separating_buckets": 11,
    }


def test_rare_values_are_no_warning_and_rarer_ones_no_group():
    assert of({"yes": 991, "no": 9})["frequent"] == [
        {"share": 1.0, "values": [["yes", 0.991], ["no", 0.009]]}
    ]
    assert "separating_buckets" not in of({"yes": 991, "no": 9})
    assert of({"yes": 1000, "no": 0})["frequent"] == []
    assert of({"yes": 500, "green": 500}) == expected(2, 6) | {"frequent": []}


def test_a_full_table_is_separated_by_a_larger_one():
    top = {f"v{n}": 10 for n in range(100)}
    found = of(top, 101)["separating_buckets"]
    assert found > 201  # 100 values in as many buckets
    assert len(set(hashing.bucket_ids(pa.array(list(top)), found))) == 100
    assert of({f"v{n}": 10 for n in range(1024)}, 2)["separating_buckets"] is None


def statistics_of(features, raw):
    """(spec, statistics.json's features) of raw columns."""
    spec = Spec.parse(TABLE | {"features": features})
    encoded = arrays.encode(
        spec, {c: pa.array(raw[c], arrays.ARROW_TYPES[t]) for c, t in spec.columns.items()}
    )
    found = profiles.profile_features(spec, encoded.hashed, encoded.ids)
    return spec, {
        name: {"valid": valid} for name, valid in profiles.profiles_json(spec, found).items()
    }


def texts_of(features, raw):
    return list(warnings(*statistics_of(features, raw)))


def test_a_warning_names_values_shares_and_remedies():
    features = {"answer": {"kind": "categorical", "buckets": 6}}
    assert texts_of(features, {"answer": ["yes"] * 5 + ["no"] * 2 + ["green"] + [None] * 2}) == [
        "features.answer.buckets = 6: the frequent values 'yes' (50.0 % of rows) and 'no' (20.0 % "
        "of rows) share a bucket, so the model "
        "cannot tell them apart; give min_count = 1 instead of buckets (a vocabulary) if the "
        "column has few values, or buckets = 8, "
        "which separates the frequent values"
    ]
    assert texts_of(features, {"answer": ["yes", "green", "red"]}) == []
    (two,) = texts_of(features, {"answer": ["yes", "no", "red", "blue"]})
    assert (
        "'blue' (25.0 % of rows) and 'red' (25.0 % of rows) share a bucket (one of 2 such "
        "groups), so" in two
    )


def test_lists_and_shared_tables_count_occurrences():
    features = {
        "item": {"kind": "categorical", "buckets": 6},
        "recent": {"kind": "sequence", "shares": "item", "max_length": 3},
    }
    spec, found = statistics_of(
        features, {"item": ["yes", "green"], "recent": [["no", "no", "no"], ["green"]]}
    )
    assert "collisions" not in found["recent"]["valid"]
    assert found["item"]["valid"]["collisions"]["frequent"] == [
        {"share": 2.0, "values": [["no", 1.5], ["yes", 0.5]]}
    ]
    (text,) = warnings(spec, found)
    assert "'no' (1.50 times a row) and 'yes' (0.50 times a row)" in text
    (text,) = texts_of(
        {"tags": {"kind": "categorical", "buckets": 6, "max_length": 2}},
        {"tags": [["yes", "no"], ["yes"]]},
    )
    assert "'yes' (1.00 times a row) and 'no' (0.50 times a row)" in text


def test_a_cross_is_shown_by_its_parts_and_has_no_vocabulary():
    features = {"pair": {"kind": "cross", "of": ["a", "b"], "buckets": 2}}
    (text,) = texts_of(features, {"a": ["x", "y", "y"], "b": ["é", "z", "z"]})
    assert text.startswith(
        "features.pair.buckets = 2: the frequent values 'y × z' (66.7 % of rows) and 'x × é' "
        "(33.3 % of rows)"
    )
    assert text.endswith(
        "cannot tell them apart; give buckets = 3, which separates the frequent values"
    )


def test_vocabularies_identities_and_times_do_not_collide():
    features = {
        "answer": {"kind": "categorical", "min_count": 1},
        "place": {"kind": "categorical", "identity": True, "buckets": 6},
        "hour": {"kind": "time", "part": "hour", "column": "ts"},
    }
    raw = {"answer": ["yes", "no"], "place": [3, 4], "ts": [0, 7200]}
    assert texts_of(features, raw) == []
    assert [
        name
        for name, one in statistics_of(features, raw)[1].items()
        if "collisions" in one["valid"]
    ] == []

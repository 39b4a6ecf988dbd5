"""Hash parity: features.arrays and features.graph give the same ids and numbers for any raw
columns.
"""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from features import arrays, graph
from features.declarations import input_name
from features.errors import FunnelError
from features.fitted import Fitted
from features.hashing import bucket_ids
from features.spec import Spec

SPEC = Spec.parse(
    {
        "features": {
            "user": {"kind": "categorical", "buckets": 1000},
            "shop": {"kind": "categorical", "buckets": 2**31 - 1, "dtype": "int64"},
            "tags": {"kind": "categorical", "buckets": 50, "max_length": 3},
            "words": {"kind": "categorical", "buckets": 97, "max_length": 4, "separator": "|"},
            "price": {"kind": "numeric", "transform": "log1p", "scale": "none"},
            "user_x_shop": {"kind": "cross", "of": ["user", "shop"], "buckets": 500},
            "tags_x_words": {
                "kind": "cross",
                "of": ["tags", "words", "device"],
                "buckets": 10_000,
                "max_length": 5,
            },
            "known": {"kind": "categorical", "column": "user", "min_count": 2},
            "slot": {"kind": "categorical", "buckets": 12, "identity": True},
            "liked": {
                "kind": "categorical",
                "buckets": 60,
                "max_length": 3,
                "weights": "liked_weights",
                "pooling": "max",
            },
            "shown": {
                "kind": "categorical",
                "buckets": 60,
                "max_length": 3,
                "separator": "|",
                "weights": "shown_weights",
            },
            "recent": {"kind": "sequence", "column": "tags", "max_length": 2, "shares": "tags"},
            "path": {
                "kind": "sequence",
                "column": "words",
                "separator": "|",
                "max_length": 3,
                "buckets": 30,
            },
            "hour": {"kind": "time", "column": "at", "part": "hour", "utc_offset": -7},
            "weekday": {"kind": "time", "column": "at", "part": "weekday", "utc_offset": 9},
            "age": {"kind": "bucketized", "column": "price", "boundaries": [0.0, 10.0]},
            "both": {"kind": "product", "of": ["user", "known"]},
            "position": {"kind": "categorical", "buckets": 9, "serve": "3"},
            "bid": {"kind": "numeric", "serve": 2.5},
        },
        "labels": {"click": {"column": "click"}},
        "tasks": {"ctr": {"label": "click"}},
    }
)
WEIGHT = st.one_of(st.none(), st.floats(0, 8, width=32))
TEXT = st.one_of(
    st.none(),
    st.just(""),
    st.text(max_size=12),
    st.sampled_from(["a", "bc", "ab", "c", "é", "日本", "0"]),
)
ROW = st.fixed_dictionaries(
    {
        "user": TEXT,
        "shop": st.one_of(
            st.none(),
            st.sampled_from([-(2**63), 2**63 - 1, 0, -1]),
            st.integers(-(2**63), 2**63 - 1),
        ),
        "tags": st.one_of(st.none(), st.lists(TEXT, max_size=30)),
        "words": st.one_of(st.none(), st.lists(st.text(max_size=5), max_size=9).map("|".join)),
        "price": st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
        "device": TEXT,
        "slot": st.one_of(st.none(), st.integers(0, 10)),
        "liked": st.one_of(st.none(), st.lists(TEXT, max_size=5)),
        "liked_weights": st.one_of(st.none(), st.lists(WEIGHT, max_size=5)),
        "shown": st.one_of(
            st.none(), st.lists(st.sampled_from(["a", "b", ""]), max_size=5).map("|".join)
        ),
        "shown_weights": st.one_of(
            st.none(), st.lists(st.sampled_from(["1.5", "", "2", "1e-3"]), max_size=5).map("|".join)
        ),
        "at": st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    }
)
FED = {"position": "3", "bid": 2.5}


def arrow_columns(rows: list[dict]) -> dict[str, pa.Array]:
    """The rows as the pipeline holds them, with what serving feeds."""
    return arrays.served(
        SPEC,
        {
            c: pa.array([(r | FED).get(c) for r in rows], arrays.ARROW_TYPES[t])
            for c, t in SPEC.columns.items()
        },
    )


def to_examples(rows: list[dict]) -> list[bytes]:
    def feature(column, value):
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        if column == "liked_weights":
            return tf.train.Feature(
                float_list=tf.train.FloatList(value=[np.nan if v is None else v for v in value])
            )
        texts = value if isinstance(value, list) else [value]
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[(t or "").encode() for t in texts])
        )

    present = [{c: feature(c, v) for c, v in row.items() if v is not None} for row in rows]
    return [
        tf.train.Example(features=tf.train.Features(feature=p)).SerializeToString() for p in present
    ]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def encode_examples(serialized):
    return graph.encode(SPEC, tf.io.parse_example(serialized, graph.example_inputs(SPEC)))


@settings(max_examples=300, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8))
def test_graph_and_arrays_agree_on_any_rows(rows):
    expected = arrays.encode(SPEC, arrow_columns(rows))
    ids, dense = encode_examples(tf.constant(to_examples(rows)))
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(dense, expected.dense)


def test_a_request_of_padded_lists_agrees():
    rows = [
        {
            "user": "u1",
            "shop": -(2**63),
            "tags": ["a", "b"],
            "words": "x|y",
            "price": 2.0,
            "device": "ios",
        },
        {"user": "", "shop": 7, "tags": [], "words": "", "price": float("nan"), "device": ""},
    ]
    rows[0] |= {
        "slot": 10,
        "liked": ["a", "b"],
        "liked_weights": [2.0, None],
        "shown": "a|b",
        "shown_weights": "2|",
        "at": 0,
    }
    rows[1] |= {
        "slot": None,
        "liked": [],
        "liked_weights": [0.0] * 3,
        "shown": "",
        "shown_weights": "",
        "at": 86_400,
    }
    request = {
        "slot": tf.constant([10, 11], tf.int64),
        "liked": tf.constant([["a", "b"], ["", ""]]),
        "liked_weights": tf.constant([[2.0, float("nan"), 1.0], [0.0, 0.0, 0.0]]),
        "shown": tf.constant(["a|b", ""]),
        "shown_weights": tf.constant(["2|", ""]),
        "at": tf.constant([0, 86_400], tf.int64),
        "user": tf.constant(["u1", ""]),
        "shop": tf.constant([-(2**63), 7], tf.int64),
        "tags": tf.constant([["a", "b", "", ""], ["", "", "", ""]]),
        "words": tf.constant(["x|y", ""]),
        "price": tf.constant([2.0, float("nan")]),
        "device": tf.constant(["ios", ""]),
    }
    expected = arrays.encode(SPEC, arrow_columns(rows))
    ids, dense = graph.encode(SPEC, request)
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(dense, expected.dense)
    # tags × words × device of the first row: 2 × 2 × 1 combinations, then padding; of the second
    # none.
    slots = SPEC.id_slots["tags_x_words"].slice
    assert [(row > 0).sum() for row in expected.ids[:, slots]] == [4, 0]


@pytest.mark.parametrize("buckets", [2, 3, 1000, 2**31 - 1])
def test_bucket_ids_are_tensorflows(buckets):
    texts = ["", "a", "ab", "é", "日本語", "x" * 1000, "-9223372036854775808"]
    np.testing.assert_array_equal(
        bucket_ids(pa.array(texts), buckets), graph.bucket_ids(tf.constant(texts), buckets)
    )


def test_time_on_paper():
    """1970-01-01 was a Thursday (3): at 23:00 UTC it is Friday 08:00 nine hours east, Thursday
    16:00 seven hours west.
    """
    columns = arrow_columns([dict.fromkeys(SPEC.columns) | {"at": 23 * 3600}])
    ids = arrays.encode(SPEC, columns).ids[0]
    assert ids[SPEC.id_slots["weekday"].start] == 1 + 4
    assert ids[SPEC.id_slots["hour"].start] == 1 + 16


def test_a_sequence_keeps_the_latest():
    ids = arrays.encode(
        SPEC, arrow_columns([dict.fromkeys(SPEC.columns) | {"tags": ["a", "b", None, "c"]}])
    ).ids[0]
    expected = bucket_ids(pa.array(["b", "c"]), 50)
    np.testing.assert_array_equal(ids[SPEC.id_slots["recent"].slice], expected)


def make_spec(features):
    return Spec.parse(
        {
            "features": features,
            "labels": {"click": {"column": "click"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )


def test_normalise_on_paper():
    spec = make_spec(
        {
            "a": {"kind": "numeric", "transform": "log1p"},
            "b": {"kind": "numeric"},
            "c": {"kind": "numeric", "scale": "none", "clip": [0, 4]},
            "d": {"kind": "numeric"},
            "e": {"kind": "numeric", "scale": "minmax", "missing": 30.0},
        }
    )
    e, nothing = float(np.e), float("nan")
    dense = tf.constant([[e - 1, 7.0, 5.0, 3.0, 15.0], [-4.0, nothing, nothing, 4.0, nothing]])
    # a: (log1p(e − 1) − 0.5) / 0.25 = 2, (log1p(0) − 0.5) / 0.25 = −2; b: (7 − 3) / 2 = 2, missing
    # 0; c: 5 is cut to 4; d: a constant divides by 1; e: (15 − 10) / (20 − 10) = 0.5, missing is
    # 30, beyond the range: 1.
    fitted = Fitted(
        moments={"a": (0.5, 0.25), "b": (3.0, 2.0), "d": (3.0, 0.0)}, ranges={"e": (10.0, 20.0)}
    )
    result = graph.normalize(spec, fitted, dense)
    np.testing.assert_allclose(
        result, [[2.0, 2.0, 4.0, 0.0, 0.5], [-2.0, 0.0, 0.0, 1.0, 1.0]], atol=1e-6
    )


def test_table_rows_on_paper():
    spec = make_spec(
        {
            "plain": {"kind": "categorical", "buckets": 10},
            "known": {"kind": "categorical", "min_count": 2},
            "also": {"kind": "sequence", "max_length": 2, "shares": "known"},
            "none": {"kind": "categorical", "min_count": 99},
            "age": {"kind": "bucketized", "quantiles": 3},
        }
    )
    fitted = Fitted(
        vocabularies={"known": [5, 70, 900], "none": []}, boundaries={"age": [20.0, 40.0]}
    )
    ids = tf.constant([[9, 70, 900, 6, 5], [0, 0, 5, 0, 0], [1, 1000, 4, 0, 7]], tf.int64)
    dense = tf.constant([[20.0], [float("nan")], [19.0]])
    # 0 stays; a vocabulary's values are rows 2, 3, 4, others 1; 20 has one boundary at or below it:
    # 1 + 1.
    expected = [[9, 3, 4, 1, 1, 2], [0, 0, 2, 0, 0, 0], [1, 1, 1, 0, 1, 1]]
    np.testing.assert_array_equal(graph.table_rows(spec, fitted, ids, dense), expected)
    assert [fitted.table_rows(spec, name) for name in spec.embedded] == [10, 5, 5, 2, 4]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("a", "a"),
        ("a.b-c d", "a_b_c_d"),
        ("País", "Pa_s"),
        ("1st", "column_1st"),
        ("_x", "column__x"),
    ],
)
def test_a_columns_name_in_a_request(column, name):
    assert input_name(column) == name


def test_columns_of_one_name_in_a_request_are_refused():
    features = {
        "a": {"kind": "numeric", "column": "x-y"},
        "b": {"kind": "numeric", "column": "x_y"},
    }
    with pytest.raises(
        FunnelError, match="columns 'x-y' and 'x_y' would both be the request's 'x_y': rename one"
    ):
        make_spec(features)

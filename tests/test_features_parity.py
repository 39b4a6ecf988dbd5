"""Hash parity: features.arrays and features.graph give the same ids and numbers for any raw columns."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from features import arrays, graph
from features.errors import FunnelError
from features.spec import Spec, input_name

SPEC = Spec.parse(
    {
        "features": {
            "user": {"kind": "categorical", "buckets": 1000},
            "shop": {"kind": "categorical", "buckets": 2**31 - 1, "dtype": "int64"},
            "tags": {"kind": "categorical", "buckets": 50, "max_length": 3},
            "words": {"kind": "categorical", "buckets": 97, "max_length": 4, "separator": "|"},
            "price": {"kind": "numeric", "transform": "log1p", "standardize": False},
            "user_x_shop": {"kind": "cross", "of": ["user", "shop"], "buckets": 500},
            "tags_x_words": {"kind": "cross", "of": ["tags", "words", "device"], "buckets": 10_000, "max_length": 5},
        },
        "labels": {"click": {"column": "click"}},
        "tasks": {"ctr": {"label": "click"}},
    }
)
TEXT = st.one_of(st.none(), st.just(""), st.text(max_size=12), st.sampled_from(["a", "bc", "ab", "c", "é", "日本", "0"]))
ROW = st.fixed_dictionaries(
    {
        "user": TEXT,
        "shop": st.one_of(st.none(), st.sampled_from([-(2**63), 2**63 - 1, 0, -1]), st.integers(-(2**63), 2**63 - 1)),
        "tags": st.one_of(st.none(), st.lists(TEXT, max_size=30)),
        "words": st.one_of(st.none(), st.lists(st.text(max_size=5), max_size=9).map("|".join)),
        "price": st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
        "device": TEXT,
    }
)


def arrow_columns(rows: list[dict]) -> dict[str, pa.Array]:
    return {c: pa.array([r[c] for r in rows], arrays.ARROW_TYPES[t]) for c, t in SPEC.columns.items()}


def to_examples(rows: list[dict]) -> list[bytes]:
    def feature(value):
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        texts = value if isinstance(value, list) else [value]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[(t or "").encode() for t in texts]))

    present = [{c: feature(v) for c, v in row.items() if v is not None} for row in rows]
    return [tf.train.Example(features=tf.train.Features(feature=p)).SerializeToString() for p in present]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def encode_examples(serialised):
    return graph.encode(SPEC, tf.io.parse_example(serialised, graph.example_inputs(SPEC)))


@settings(max_examples=300, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8))
def test_graph_and_arrays_agree_on_any_rows(rows):
    expected = arrays.encode(SPEC, arrow_columns(rows))
    ids, dense = encode_examples(tf.constant(to_examples(rows)))
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(dense, expected.dense)


def test_a_request_of_padded_lists_agrees():
    rows = [
        {"user": "u1", "shop": -(2**63), "tags": ["a", "b"], "words": "x|y", "price": 2.0, "device": "ios"},
        {"user": "", "shop": 7, "tags": [], "words": "", "price": float("nan"), "device": ""},
    ]
    request = {
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
    # tags × words × device of the first row: 2 × 2 × 1 combinations, then padding; of the second none.
    slots = SPEC.id_slots["tags_x_words"].slice
    assert [(row > 0).sum() for row in expected.ids[:, slots]] == [4, 0]


@pytest.mark.parametrize("buckets", [2, 3, 1000, 2**31 - 1])
def test_bucket_ids_are_tensorflows(buckets):
    texts = ["", "a", "ab", "é", "日本語", "x" * 1000, "-9223372036854775808"]
    np.testing.assert_array_equal(arrays.bucket_ids(pa.array(texts), buckets), graph.bucket_ids(tf.constant(texts), buckets))


def test_normalise_on_paper():
    spec = Spec.parse(
        {
            "features": {
                "a": {"kind": "numeric", "transform": "log1p"},
                "b": {"kind": "numeric"},
                "c": {"kind": "numeric", "standardize": False},
                "d": {"kind": "numeric"},
            },
            "labels": {"click": {"column": "click"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )
    e = float(np.e)
    dense = tf.constant([[e - 1, 7.0, 5.0, 3.0], [-4.0, float("nan"), float("nan"), 4.0]])
    # a: (log1p(e − 1) − 0.5) / 0.25 = 2, (log1p(0) − 0.5) / 0.25 = −2; b: (7 − 3) / 2 = 2, missing 0; d: a constant divides by 1.
    result = graph.normalise(spec, {"a": (0.5, 0.25), "b": (3.0, 2.0), "d": (3.0, 0.0)}, dense)
    np.testing.assert_allclose(result, [[2.0, 2.0, 5.0, 0.0], [-2.0, 0.0, 0.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("column", "name"), [("a", "a"), ("a.b-c d", "a_b_c_d"), ("País", "Pa_s"), ("1st", "column_1st"), ("_x", "column__x")]
)
def test_a_columns_name_in_a_request(column, name):
    assert input_name(column) == name


def test_columns_of_one_name_in_a_request_are_refused():
    features = {"a": {"kind": "numeric", "column": "x-y"}, "b": {"kind": "numeric", "column": "x_y"}}
    with pytest.raises(FunnelError, match="columns 'x-y' and 'x_y' would both be the request's 'x_y': rename one"):
        Spec.parse({"features": features, "labels": {"click": {"column": "click"}}, "tasks": {"ctr": {"label": "click"}}})

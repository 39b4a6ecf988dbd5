"""Every option of a feature that preprocessing or a request sees changes what is written, or what a
request sends. tests/test_effects_training.py has those that only the model's graph reads.
"""

import numpy as np
import pyarrow as pa
import pytest
from effects import changed, differs

from features import arrays
from features.arrays import ARROW_TYPES
from features.spec import Spec

COLUMNS = {
    "user": {"text": ["a", "b", None], "integer": [1, 2, None]},
    "item": {"text": ["b", "a", "c"], "integer": [3, 1, 2]},
    "tags": {"texts": [["a", "b"], ["c"], []], "text": ["a|b", "c|d,e", "f"]},
    "words": {"texts": [["d"], ["e", "f"], ["a"]], "text": ["a|b", "c|d,e", "f"]},
    "weights": {"numbers": [[1.0, 2.0], [3.0], []]},
    "ts": {"time": [1_790_000_000, 1_790_050_000, None]},
    "at": {"time": [1_790_090_000, 1_790_000_000, None]},
    "price": {"number": [1.0, -2.0, None]},
    "age": {"number": [5.0, 7.0, 9.0]},
}
FEATURES = {
    "user": {"kind": "categorical", "buckets": 40},
    "item": {"kind": "categorical", "buckets": 30},
    "tags": {"kind": "categorical", "buckets": 20, "max_length": 2},
    "last": {"kind": "sequence", "column": "tags", "buckets": 20, "max_length": 1},
    "pair": {"kind": "cross", "of": ["user", "item"], "buckets": 60},
    "hour": {"kind": "time", "column": "ts", "part": "hour"},
    "price": {"kind": "numeric"},
    "band": {"kind": "bucketized", "column": "price", "quantiles": 4},
}
WRITTEN = {
    "Spec.features": {"features.pair": None},
    "Categorical.column": {"features.user.column": "item"},
    "Categorical.buckets": {"features.user.buckets": 41},
    "Categorical.vocabulary": {"features.user.buckets": None, "features.user.vocabulary": "v.txt"},
    "Categorical.min_count": {"features.user.buckets": None, "features.user.min_count": 1},
    "Categorical.shares": {"features.user.buckets": None, "features.user.shares": "item"},
    "Categorical.separator": {"features.tags.separator": "|", "features.last.separator": "|"},
    "Categorical.identity": {"features.user.identity": True},
    "Categorical.dtype": {"features.user.dtype": "int64"},
    "Categorical.max_length": {"features.tags.max_length": 1},
    "Categorical.weights": {"features.tags.weights": "weights"},
    "Categorical.serve": {"features.user.serve": "a"},
    "Sequence.column": {"features.last.column": "words"},
    "Sequence.buckets": {"features.last.buckets": 21},
    "Sequence.vocabulary": {"features.last.buckets": None, "features.last.vocabulary": "v.txt"},
    "Sequence.min_count": {"features.last.buckets": None, "features.last.min_count": 1},
    "Sequence.shares": {"features.last.buckets": None, "features.last.shares": "user"},
    "Sequence.separator": {"features.last.separator": "|", "features.tags.separator": ","},
    "Sequence.max_length": {"features.last.max_length": 2},
    "Cross.of": {"features.pair.of": ["item", "user"]},
    "Cross.buckets": {"features.pair.buckets": 61},
    "Cross.max_length": {"features.pair.max_length": 2},
    "Time.column": {"features.hour.column": "at"},
    "Time.part": {"features.hour.part": "weekday"},
    "Time.utc_offset": {"features.hour.utc_offset": 5},
    "Numeric.column": {"features.price.column": "age"},
    "Numeric.serve": {"features.price.serve": 1.0},
    "Bucketized.column": {"features.band.column": "age"},
    "Bucketized.serve": {"features.band.serve": 1.0},
}


def written(sections):
    """The encoded numbers, and the columns of a request with what the graph feeds."""
    labels = {"click": {"event": "clicks", "within": "1h"}}
    spec = Spec.parse(sections | {"labels": labels, "tasks": {"ctr": {"label": "click"}}})
    columns = {
        name: pa.array(COLUMNS[name][raw_type], ARROW_TYPES[raw_type])
        for name, raw_type in spec.columns.items()
    }
    found = arrays.encode(spec, columns)
    sent = sorted(spec.request_columns.items()), sorted(spec.served.items())
    return found.ids.tolist(), np.asarray(found.dense).tobytes(), sent


@pytest.mark.parametrize("option", WRITTEN)
def test_what_is_written_or_sent(option):
    differs(written, {"features": FEATURES}, WRITTEN[option])


def test_shares_takes_the_other_features_rows():
    """Not only its number of buckets."""
    shared = Spec.parse(
        changed(
            {
                "features": FEATURES,
                "labels": {"click": {"event": "clicks", "within": "1h"}},
                "tasks": {"ctr": {"label": "click"}},
            },
            {"features.user.buckets": None, "features.user.shares": "item"},
        )
    )
    assert (shared.owner("user"), shared.owner("tags")) == ("item", "tags")


OPTIONS = {*WRITTEN}

"""Two kinds that only this file knows, each one class and one line in KINDS: from the configuration
file to an export whose answers the C API compares with the checkpoint's.
"""

import json
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.kinds import KINDS
from features.kinds.base import Embedding, FeatureKind, Number
from funnel.cli.main import main


class TextLength(FeatureKind):
    """The number of characters of a text as an id, up to `longest`; 0 is missing."""

    kind: Literal["text_length"] = "text_length"
    column: str = ""
    longest: int = 30
    dim: int = 2

    def raw_columns(self, features):
        return [(self.column, "text")]

    @property
    def written_slots(self):
        return 1

    @property
    def embedding(self):
        return Embedding(self.dim, rows=self.longest + 1)

    def encode_arrow(self, columns, features):
        lengths = pc.fill_null(pc.utf8_length(columns[self.column]), 0).to_numpy()
        return np.minimum(lengths, self.longest)[:, np.newaxis]

    def encode_tensors(self, tf, columns, features):
        lengths = tf.strings.length(columns[self.column], unit="UTF8_CHAR")
        return tf.cast(tf.minimum(lengths, self.longest), tf.int64)[:, tf.newaxis]


class HowMany(FeatureKind):
    """The number of values in a list that are not missing, as a number."""

    kind: Literal["how_many"] = "how_many"
    column: str = ""

    def raw_columns(self, features):
        return [(self.column, "texts")]

    @property
    def number(self):
        return Number(transform="log1p", scale="standardize")

    def number_arrow(self, columns):
        lists = columns[self.column].to_pylist()
        return np.array([sum(bool(text) for text in texts or ()) for texts in lists], np.float32)

    def number_tensors(self, tf, columns):
        texts = columns[self.column]
        texts = texts.to_tensor("") if isinstance(texts, tf.RaggedTensor) else texts
        return tf.reduce_sum(tf.cast(tf.not_equal(texts, ""), tf.float32), 1)


CONFIG = """
run = "{folder}/run"

[simulate]
out = "{folder}/logs"
impressions = 2000
days = 3

[logs]
impressions = {{ files = "{folder}/logs/impressions/*/*", id = "impression_id", time = "ts" }}
clicks = {{ files = "{folder}/logs/clicks/*/*", id = "impression_id", time = "ts" }}

[labels]
click = {{ event = "clicks", within = "30m" }}

[features]
user_id = {{ kind = "categorical", buckets = 100, dim = 2 }}
user_segment = {{ kind = "text_length", longest = 9 }}
tags = {{ kind = "how_many" }}

[split]
eval = {{ fraction = 0.3 }}

[tasks]
ctr = {{ label = "click" }}

[model]
sharing = {{ name = "shared_bottom" }}

[train]
batch_size = 256
steps = 3
"""


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setitem(KINDS, "text_length", TextLength)
    monkeypatch.setitem(KINDS, "how_many", HowMany)


def test_new_kinds_from_the_configuration_file_to_the_export(toys, tmp_path):
    (tmp_path / "toy.toml").write_text(CONFIG.format(folder=tmp_path))
    assert main(["run", str(tmp_path / "toy.toml"), "--debug"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["parity"]["max_abs_difference"] <= 1e-5
    assert "auc" in summary["evaluation"]["ctr"]
    statistics = json.loads((tmp_path / "run" / "data" / "statistics.json").read_text())
    assert {"user_id", "user_segment", "tags"} <= statistics["features"].keys()


def test_new_kinds_are_written_and_read_back(toys, tmp_path):
    from features import arrays
    from features.spec import Spec

    spec = Spec.parse(
        {
            "features": {
                "title": {"kind": "text_length", "longest": 4},
                "tags": {"kind": "how_many"},
            },
            "labels": {"click": {"column": "clicked"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )
    spec.save(tmp_path / "spec.json")
    assert Spec.load(tmp_path / "spec.json") == spec
    columns = {
        "title": pa.array(["ü", None, "longer"]),
        "tags": pa.array([["a", ""], None, ["b", "c"]]),
    }
    encoded = arrays.encode(spec, columns)
    assert encoded.ids.tolist() == [[1], [0], [4]]
    assert encoded.dense.tolist() == [[1.0], [0.0], [2.0]]

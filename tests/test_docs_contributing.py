"""CONTRIBUTING's extension points: each is at most 15 lines long, runs, and does what it shows."""

import io
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field

from features.kinds.base import FeatureKind, Number
from features.layouts import LAYOUTS, ArrayKey, array_keys
from features.spec import Slots, Spec
from model.layers import MLP
from model.metrics import METRICS
from model.metrics.base import Metric, Sample
from model.settings.base import SharingParams
from model.settings.networks import Units
from model.sharing.base import Sharing
from pipeline.sources.formats.base import LogFile, ParsedRows

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
KNOWN = {
    "Literal": Literal, "np": np, "pa": pa, "pc": pc, "Field": Field, "Units": Units, "MLP": MLP,
    "FeatureKind": FeatureKind, "Number": Number, "Metric": Metric, "Sample": Sample,
    "LogFile": LogFile, "ParsedRows": ParsedRows, "Spec": Spec, "Slots": Slots,
    "ArrayKey": ArrayKey, "Sharing": Sharing, "SharingParams": SharingParams,
}  # fmt: skip


@pytest.fixture(scope="module")
def shown():
    """What the blocks define, with dicts of their own to register in."""
    names = KNOWN | {"METRICS": dict(METRICS), "LAYOUTS": dict(LAYOUTS)}
    for block in BLOCKS:
        exec(block, names)
    return names


def test_each_is_15_lines_at_most():
    assert len(BLOCKS) == 5
    assert [block for block in BLOCKS if len(block.splitlines()) > 15] == []


def test_the_feature_kind(shown):
    import tensorflow as tf

    feature, texts = shown["TextLength"](column="title"), ["", "äb", "x" * 40]
    assert feature.raw_columns({}) == [("title", "text")]
    arrow = feature.number_arrow({"title": pa.array([*texts, None])})
    tensors = feature.number_tensors(tf, {"title": tf.constant([*texts, ""])})
    assert arrow.tolist() == tensors.numpy().tolist() == [0, 2, 40, 0]
    assert feature.number.scale == "standardize"


def test_the_metric(shown):
    sample = Sample(np.array([0.5, 1.0]), np.array([1, 1]))
    assert shown["METRICS"]["brier"].compute(sample) == 0.125  # (0.5² + 0²) / 2


def test_the_format(shown):
    file = shown["PairsFile"](io.BytesIO(b"id=a item=x\nid=b item=y\n"), None)
    (rows,) = file.read({"item": "text"})
    assert file.names == ["id", "item"]
    assert rows.table["item"].to_pylist() == ["x", "y"]
    assert rows.positions.tolist() == [1, 2]


def test_the_layout(shown, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "toy", shown["LAYOUTS"]["one_list_a_feature"])
    features = {
        "user": {"kind": "categorical", "buckets": 9},
        "age": {"kind": "numeric"},
        "price": {"kind": "numeric"},
    }
    spec = Spec.parse(
        {"features": features, "labels": {"y": {"column": "y"}}, "tasks": {"t": {"label": "y"}}}
    )
    assert [(k.key, k.array, k.shape) for k in array_keys("toy", spec)] == [
        ("user", "ids", (1,)),
        ("numbers", "dense", (2,)),
    ]


def test_the_architecture(shown):
    layer = shown["SharedBottom"]({"units": [3]}, ["ctr", "cvr"])
    found = layer(np.ones([2, 4], np.float32))
    assert {head: h.shape.as_list() for head, h in found.items()} == {"ctr": [2, 3], "cvr": [2, 3]}

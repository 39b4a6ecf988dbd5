"""A layout is one function and one line of LAYOUTS: a toy layout from a configuration file through
preprocessing, training and export; and what a layout must hold.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from pipeline_logs import records

from features import layouts
from features.errors import FunnelError
from features.layouts import LAYOUTS, ArrayKey, array_keys
from features.spec import Slots, Spec
from funnel.cli.main import main
from funnel.reports.examples import first_examples
from model.data.input import Data

CONFIG = """
run = "{folder}/run"

[simulate]
out = "{folder}/logs"
impressions = 3000
users = 200
items = 50
days = 4

[logs]
impressions = {{ files = "{folder}/logs/impressions/*/*", id = "impression_id", time = "ts" }}
clicks = {{ files = "{folder}/logs/clicks/*/*", id = "impression_id", time = "ts" }}
conversions = {{ files = "{folder}/logs/conversions/*/*", id = "impression_id", time = "ts" }}

[labels]
click = {{ event = "clicks", within = "30m" }}
convert = {{ event = "conversions", within = "1d", after = "click" }}

[features]
user_id = {{ kind = "categorical", buckets = 500, dim = 4 }}
tags = {{ kind = "categorical", buckets = 50, dim = 4, max_length = 3 }}
price = {{ kind = "numeric", transform = "log1p" }}
user_age = {{ kind = "numeric" }}

[split]
eval = {{ fraction = 0.2 }}

[output]
layout = "{layout}"

[tasks]
ctr = {{ label = "click" }}
cvr = {{ label = "convert", given = "click" }}

[model]
sharing = {{ name = "shared_bottom" }}
funnel = {{ name = "esmm", tower_units = [4] }}

[train]
batch_size = 256
steps = 4
"""


def halves(spec):
    """The ids of each feature as fixed lists, and two keys of numbers, the last number first."""
    keys = [
        ArrayKey(f"ids of {name}", "ids", slots, shape=(slots.length,))
        for name, slots in spec.id_slots.items()
    ]
    last = spec.dense_width - 1
    keys.append(ArrayKey("last", "dense", Slots(last, 1), shape=None, padding=float("nan")))
    keys.append(ArrayKey("others", "dense", Slots(0, last), shape=(last,)))
    return keys


def batch_of(run):
    data = Data(run / "data", Spec.load(run / "data" / "spec.json"))
    return next(iter(data.eval_input(batch_size=50)(tf.distribute.InputContext())))


def test_a_toy_layout_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "halves", halves)
    batches, shown = {}, {}
    for layout in ("packed", "halves"):
        folder = tmp_path / layout
        folder.mkdir()
        (folder / "toy.toml").write_text(CONFIG.format(folder=folder, layout=layout))
        steps = ("simulate", "preprocess", "train", "export")
        for command in steps if layout == "halves" else steps[:2]:
            assert main([command, str(folder / "toy.toml"), "--debug"]) == 0
        manifest = json.loads((folder / "run" / "data" / "manifest.json").read_text())
        assert manifest["layout"] == layout
        batches[layout] = batch_of(folder / "run")
        shown[layout] = first_examples(folder / "run" / "data", manifest, 3)
    (shard,) = (tmp_path / "halves" / "run" / "data" / "train").iterdir()
    example = tf.train.Example.FromString(records(shard)[0])
    keys = {"ids of user_id", "ids of tags", "last", "others", "click", "convert", "id"}
    assert set(example.features.feature) == keys
    for name, values in batches["packed"].items():
        np.testing.assert_array_equal(values, batches["halves"][name])
    assert shown["packed"] == shown["halves"]
    assert list((tmp_path / "halves" / "run" / "export").glob("*/saved_model.pb"))


def spec_of():
    return Spec.parse(
        {
            "features": {"price": {"kind": "numeric"}, "age": {"kind": "numeric"}},
            "labels": {"y": {"column": "y"}},
            "tasks": {"t": {"label": "y"}},
        }
    )


def test_a_layout_must_hold_each_column_once(monkeypatch):
    for slots in ([Slots(0, 1)], [Slots(0, 2), Slots(1, 1)]):
        keys = [ArrayKey(str(n), "dense", one, shape=(1,)) for n, one in enumerate(slots)]
        monkeypatch.setitem(LAYOUTS, "toy", lambda spec, keys=keys: keys)
        with pytest.raises(ValueError, match="a layout must hold each column once"):
            array_keys("toy", spec_of())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_every_column(layout):
    assert {key.array for key in array_keys(layout, spec_of())} == {"dense"}


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path, capsys):
    (tmp_path / "toy.toml").write_text(CONFIG.format(folder=tmp_path, layout="halves"))
    assert main(["preprocess", str(tmp_path / "toy.toml")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "output.layout = 'halves': must be a layout; known: columns, packed" in error
    with pytest.raises(FunnelError, match="layout 'halves' is not known; known: columns, packed"):
        layouts.array_keys("halves", spec_of())

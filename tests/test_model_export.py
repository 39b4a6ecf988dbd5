"""Exports: what a server sees of one, and that a wrong one is never published."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from model_data import DWELL, EVERY_KIND, FEATURES, arrow, make_estimator, make_model, make_spec, raw_rows, write_data

from features import arrays
from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.ranking import RankingModel
from model.serving import export as export_module
from model.serving import serving_check
from model.serving.export import checkpoint_scores, export, raw_examples, request_columns, save

SPEC = make_spec()
OUTPUTS = ["p_ctcvr", "p_ctr", "p_cvr"]


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    write_data(folder)
    estimator = make_estimator(folder, model=make_model("shared_bottom", "esmm"), steps=3)
    estimator.train()
    return estimator


@pytest.fixture(scope="module")
def exported(estimator, tmp_path_factory):
    return export(estimator, tmp_path_factory.mktemp("versions"), version=7)


@pytest.fixture
def unchecked(estimator, monkeypatch):
    """Spares the fresh process: whatever is saved, it scores as the checkpoint does, moved by `unchecked.by`."""

    def reloaded(spec, sample, path):
        expected = checkpoint_scores(estimator.load(), sample)
        moved = {name: (p + (reloaded.by if name == "p_cvr" else 0)).tolist() for name, p in expected.items()}
        return {"serving_default": expected, "examples": {name: moved[name] for name in reloaded.outputs}}

    reloaded.by, reloaded.outputs = 0.0, OUTPUTS
    monkeypatch.setattr(export_module, "reloaded_scores", reloaded)
    return reloaded


def test_what_is_reported(exported):
    assert (exported.path.name, exported.version, exported.outputs) == ("7", 7, OUTPUTS)
    # write_data keeps 40 raw rows; items are never missing, so all can be asked
    assert exported.rows_compared == 40
    assert 0 <= exported.max_abs_difference <= 1e-5


def test_only_the_version_is_left(exported):
    assert [p.name for p in exported.path.parent.iterdir()] == ["7"]
    assert (exported.path / "saved_model.pb").exists()
    assert Spec.load(exported.path / "assets/spec.json") == SPEC


def test_names_of_both_signatures(exported):
    signatures = tf.saved_model.load(str(exported.path)).signatures
    assert sorted(signatures) == ["examples", "serving_default"]
    inputs = {name: {n: (t.dtype, t.shape.rank) for n, t in s.structured_input_signature[1].items()} for name, s in signatures.items()}
    assert inputs == {
        "serving_default": {
            "user": (tf.string, 1),
            "item": (tf.int64, 1),
            "tags": (tf.string, 2),
            "price": (tf.float32, 1),
            "age": (tf.float32, 1),
        },
        "examples": {"examples": (tf.string, 1)},
    }
    assert {name: sorted(s.structured_outputs) for name, s in signatures.items()} == dict.fromkeys(inputs, OUTPUTS)


def test_rows_that_were_not_in_the_sample_agree_too(estimator, exported):
    rows = pa.table(arrow(SPEC, raw_rows(60, seed=9)[0]))
    expected = checkpoint_scores(estimator.load(), rows)
    signatures = tf.saved_model.load(str(exported.path)).signatures
    specs = signatures["serving_default"].structured_input_signature[1]
    columns = {name: tf.constant(values, specs[name].dtype) for name, values in request_columns(SPEC, rows).items()}
    answers = [signatures["serving_default"](**columns), signatures["examples"](examples=tf.constant(raw_examples(SPEC, rows)))]
    for scores in answers:
        for name, p in expected.items():
            assert p.shape == scores[name].shape == (60,)
            np.testing.assert_allclose(scores[name], p, atol=1e-5)


def test_an_existing_version_is_refused_and_untouched(estimator, tmp_path):
    (tmp_path / "5").mkdir()
    (tmp_path / "5/saved_model.pb").write_text("served")
    with pytest.raises(FunnelError, match=r"5: exists already, and a published version is never overwritten"):
        export(estimator, tmp_path, version=5)
    assert [p.name for p in tmp_path.rglob("*")] == ["5", "saved_model.pb"]
    assert (tmp_path / "5/saved_model.pb").read_text() == "served"


def test_the_version_is_the_time_unless_given(estimator, tmp_path, unchecked, monkeypatch):
    monkeypatch.setattr(export_module.time, "time", lambda: 1_790_000_000.9)
    assert export(estimator, tmp_path).path == tmp_path / "1790000000"


@pytest.mark.parametrize("by", [1e-3, -2e-5, float("nan")])
def test_scores_that_differ_are_not_published(estimator, tmp_path, unchecked, by):
    unchecked.by = by
    with pytest.raises(FunnelError, match=r"p_cvr of signature examples differs from the checkpoint's by .* not published"):
        export(estimator, tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_lack_are_not_published(estimator, tmp_path, unchecked):
    unchecked.outputs = ["p_ctr"]
    with pytest.raises(FunnelError, match=r"signature examples returns \['p_ctr'\], the checkpoint \['p_ctcvr', 'p_ctr', 'p_cvr'\]"):
        export(estimator, tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_weight_is_found_by_the_fresh_process(estimator, tmp_path, monkeypatch):
    def save_another(model, path):
        model.weights[-1].assign_add(tf.fill(model.weights[-1].shape, 0.01))
        save(model, path)
        model.weights[-1].assign_sub(tf.fill(model.weights[-1].shape, 0.01))

    monkeypatch.setattr(export_module, "save", save_another)
    with pytest.raises(FunnelError, match=r"of signature serving_default differs from the checkpoint's"):
        export(estimator, tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_cannot_be_loaded_is_not_published(estimator, tmp_path, monkeypatch):
    def save_half(model, path):
        save(model, path)
        (path / "saved_model.pb").write_bytes(b"half")

    monkeypatch.setattr(export_module, "save", save_half)
    with pytest.raises(FunnelError, match="cannot be loaded in a fresh process, so it is not published"):
        export(estimator, tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


def test_rows_without_an_integer_are_left_out_of_the_check(estimator, tmp_path, unchecked):
    sample = estimator.data.directory / "sample.parquet"
    rows = pq.read_table(sample)
    place = rows.schema.get_field_index("item")
    try:
        pq.write_table(rows.set_column(place, "item", pa.array([None, *range(39)], pa.int64())), sample)
        assert export(estimator, tmp_path, version=1).rows_compared == 39
        pq.write_table(rows.set_column(place, "item", pa.nulls(40, pa.int64())), sample)
        with pytest.raises(FunnelError, match="every row lacks an integer or a time, so no request can be checked"):
            export(estimator, tmp_path, version=2)
    finally:
        pq.write_table(rows, sample)


def test_requests_have_no_null():
    spec = make_spec(features={name: FEATURES[name] for name in ("user", "tags", "price")})
    rows = pa.table(arrow(spec, {"user": ["u", None], "tags": [None, ["a", None, "b"]], "price": [2.0, None]}))
    found = request_columns(spec, rows)
    assert (found["user"], found["tags"]) == (["u", ""], [["", "", ""], ["a", "", "b"]])
    np.testing.assert_array_equal(found["price"], [2.0, np.nan])
    first, second = map(tf.train.Example.FromString, raw_examples(spec, rows))
    assert sorted(first.features.feature) == ["price", "user"]
    assert {name: list(f.bytes_list.value) for name, f in second.features.feature.items()} == {"tags": [b"a", b"", b"b"]}


@pytest.mark.parametrize("features", [{"age": FEATURES["age"]}, {"user": FEATURES["user"]}], ids=["numbers", "ids"])
def test_specs_without_ids_or_without_numbers_are_served(tmp_path, features):
    spec = make_spec(features=features)
    write_data(tmp_path, spec)
    estimator = make_estimator(tmp_path, spec, make_model("shared_bottom"), steps=1)
    estimator.train()
    model, rows = estimator.load(), pq.read_table(tmp_path / "data/sample.parquet")
    serve = export_module.Serving(model).examples
    for name, p in checkpoint_scores(model, rows).items():
        np.testing.assert_allclose(serve(tf.constant(raw_examples(spec, rows)))[name], p, atol=1e-6)


@pytest.mark.parametrize("name", ["features", "features.spec", "model.ranking", "pipeline", "funnel.cli"])
def test_the_fresh_process_cannot_import_the_project(name, monkeypatch):
    with pytest.raises(ImportError, match=f"{name} is blocked: a SavedModel must load without the code that made it"):
        serving_check.Blocked().find_spec(name)
    monkeypatch.setattr(sys, "meta_path", [serving_check.Blocked(), *sys.meta_path])
    top = name.split(".")[0]
    for module in [m for m in sys.modules if m.split(".")[0] == top]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ImportError, match=f"{top} is blocked"):
        __import__(name)


@pytest.mark.parametrize("name", ["json", "features_of_another", "modelling", "keras.models"])
def test_other_names_are_left_alone(name):
    assert serving_check.Blocked().find_spec(name) is None


def test_column_names_that_tensorflow_cannot_keep(tmp_path):
    features = {"hours": {"kind": "numeric", "column": "hours-per week", "scale": "none"}}
    features["country"] = {"kind": "categorical", "column": "País", "buckets": 9}
    spec = make_spec(features=features, labels={"click": {"column": "click"}}, tasks={"ctr": {"label": "click"}})
    model = RankingModel(spec, make_model("shared_bottom"), Fitted(), 1)
    save(model, tmp_path / "1")
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"hours_per_week", "Pa_s"}
    columns = {"hours-per week": pa.array([40.0, None]), "País": pa.array(["España", None])}
    encoded = arrays.encode(spec, columns)
    expected = model.scores(tf.constant(encoded.ids, tf.int64), tf.constant(encoded.dense))["p_ctr"]
    request = request_columns(spec, pa.table(columns))
    scores = signature(**{name: tf.constant(values) for name, values in request.items()})["p_ctr"]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_every_kind_of_feature_scores_alike_and_position_is_fed(tmp_path):
    spec = make_spec(features=EVERY_KIND)
    write_data(tmp_path, spec)
    estimator = make_estimator(tmp_path, spec, make_model("mmoe", "esmm"), steps=3)
    estimator.train()
    exported = export(estimator, tmp_path / "export", version=1)
    assert exported.rows_compared == 40
    assert exported.max_abs_difference <= 1e-5
    signature = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    assert "position" not in signature.structured_input_signature[1]
    rows = pa.table(arrow(spec, raw_rows(60, seed=9)[0]))
    first = rows.set_column(rows.column_names.index("position"), "position", pa.array(["1"] * 60))
    scores, fed = checkpoint_scores(estimator.load(), rows), checkpoint_scores(estimator.load(), first)
    np.testing.assert_array_equal(scores["p_ctr"], fed["p_ctr"])


@pytest.mark.slow
def test_a_number_is_served_in_its_own_unit(tmp_path):
    spec = make_spec(**DWELL)
    write_data(tmp_path, spec)
    estimator = make_estimator(tmp_path, spec, steps=200, learning_rate=0.01)
    estimator.train()
    result = estimator.evaluate()["dwell"]
    known = estimator.predict()
    clicked = known["dwell"][(known["click"] == 1) & (known["dwell"] >= 0)]
    assert result["rows"] == len(clicked)
    assert result["mse"] < 0.5 * clicked.var()  # less than half of what the mean alone leaves
    assert abs(result["calibration"] - 1) < 0.2
    exported = export(estimator, tmp_path / "export", version=1)
    assert exported.outputs == ["p_ctcvr", "p_ctr", "p_cvr", "y_dwell"]
    assert exported.max_abs_difference <= 1e-5
    rows = pa.table(arrow(spec, raw_rows(60, seed=9)[0]))
    answer = tf.saved_model.load(str(exported.path)).signatures["examples"](examples=tf.constant(raw_examples(spec, rows)))
    np.testing.assert_allclose(answer["y_dwell"], checkpoint_scores(estimator.load(), rows)["y_dwell"], atol=1e-5)


@pytest.mark.parametrize(("by", "published"), [(3e-3, True), (3e-2, False)])
def test_large_numbers_are_compared_in_shares_of_themselves(estimator, tmp_path, monkeypatch, by, published):
    # 1000 ± 0.003 is 3e-6 of it, 1000 ± 0.03 is 3e-5
    monkeypatch.setattr(export_module, "checkpoint_scores", lambda model, sample: {"y_dwell": np.full(len(sample), 1000.0)})
    monkeypatch.setattr(export_module, "reloaded_scores", lambda spec, sample, path: {"examples": {"y_dwell": [1000.0 + by] * len(sample)}})
    if published:
        assert export(estimator, tmp_path, version=1).max_abs_difference == pytest.approx(by / 1000)
    else:
        with pytest.raises(FunnelError, match="y_dwell of signature examples differs from the checkpoint's by 3e-05"):
            export(estimator, tmp_path, version=1)

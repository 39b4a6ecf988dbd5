"""Exports: what a server sees of one, and that a wrong one is never published."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from model_data import (
    DWELL,
    EVERY_KIND,
    FEATURES,
    arrow,
    make_estimator,
    make_model,
    make_spec,
    raw_rows,
    write_data,
)

from features import arrays
from features.errors import FunnelError
from features.fitted import Fitted
from features.manifest import checksums
from features.spec import Spec
from model.evaluation.constants import no_better
from model.ranking import RankingModel
from model.serving import check
from model.serving import export as export_module
from model.serving.export import checkpoint_scores
from model.serving.merged_tables import MergedTables
from model.serving.requests import raw_examples, request_columns
from model.serving.saved_model import save, trace

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
    return estimator.export_saved_model(tmp_path_factory.mktemp("versions"), version=7)


@pytest.fixture
def unchecked(estimator, monkeypatch):
    """Spares the fresh process: whatever is saved, loaders score as the checkpoint does, moved by
    `unchecked.by`.
    """

    def answers(path, inputs, on_answer):
        rows = len(inputs["examples"]["examples"]["values"])
        held = pq.read_table(estimator.config.sample)
        expected = checkpoint_scores(
            estimator.load(), held.filter(pa.compute.is_valid(held["item"])).slice(0, rows)
        )
        plain = {name: p.tolist() for name, p in expected.items()}
        moved = {
            name: (p + (answers.by if name == "p_cvr" else 0)).tolist()
            for name, p in expected.items()
        }
        scores = {
            "serving_default": plain,
            "examples": {name: moved[name] for name in answers.outputs},
        }
        return [
            {"tensorflow": "2", "seconds": 1.0},
            *({"loader": name, "scores": scores, "seconds": 1.0} for name in check.LOADERS),
        ]

    answers.by, answers.outputs = 0.0, OUTPUTS
    monkeypatch.setattr(check, "ask_loaders", answers)
    return answers


def test_what_is_reported(exported):
    assert (exported.path.name, exported.version, exported.outputs) == ("7", 7, OUTPUTS)
    # write_data keeps 40 raw rows; items are never missing, so all can be asked
    assert exported.check.rows == 40
    assert list(exported.check.loaders) == ["c_api", "session", "python"]
    assert all(0 <= loader.max_abs_difference <= 1e-5 for loader in exported.check.loaders.values())


def test_the_manifest_says_with_what_it_was_checked(exported):
    manifest = json.loads((exported.path / "assets.extra/manifest.json").read_text())
    assert manifest["tensorflow"] == tf.__version__
    assert manifest["rows"] == 40
    assert manifest["start_seconds"] > 0
    assert list(manifest["loaders"]) == ["c_api", "session", "python"]
    assert all(
        set(loader) == {"max_abs_difference", "seconds"} for loader in manifest["loaders"].values()
    )


def test_the_manifest_has_the_evaluation_of_its_step(exported, estimator, unchecked, tmp_path):
    def about(version):
        manifest = json.loads((version.path / "assets.extra/manifest.json").read_text())
        return {name: manifest[name] for name in ("step", "evaluation", "warnings")}

    assert about(exported) == {"step": 3, "evaluation": None, "warnings": []}  # not evaluated yet
    results = estimator.evaluate()
    warnings = no_better(results)
    version = estimator.export_saved_model(tmp_path)
    assert about(version) == {"step": 3, "evaluation": results, "warnings": warnings}
    assert version.evaluation == about(version)
    assert {"logloss", "constant_logloss", "constant"} < set(results["ctcvr"])


def test_the_manifest_has_the_checksum_of_every_other_file(exported):
    manifest = json.loads((exported.path / "assets.extra/manifest.json").read_text())
    found = checksums(exported.path)
    del found["assets.extra/manifest.json"]
    assert manifest["files"] == found
    assert {"saved_model.pb", "assets/spec.json", "variables/variables.index"} < set(found)


def test_only_the_version_is_left(exported):
    assert [p.name for p in exported.path.parent.iterdir()] == ["7"]
    assert (exported.path / "saved_model.pb").exists()
    assert Spec.load(exported.path / "assets/spec.json") == SPEC


def test_names_of_both_signatures(exported):
    signatures = tf.saved_model.load(str(exported.path)).signatures
    assert sorted(signatures) == ["examples", "serving_default"]
    inputs = {
        name: {n: (t.dtype, t.shape.rank) for n, t in s.structured_input_signature[1].items()}
        for name, s in signatures.items()
    }
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
    assert {name: sorted(s.structured_outputs) for name, s in signatures.items()} == dict.fromkeys(
        inputs, OUTPUTS
    )


def test_rows_that_were_not_in_the_sample_agree_too(estimator, exported):
    rows = pa.table(arrow(SPEC, raw_rows(60, seed=9)[0]))
    expected = checkpoint_scores(estimator.load(), rows)
    signatures = tf.saved_model.load(str(exported.path)).signatures
    specs = signatures["serving_default"].structured_input_signature[1]
    columns = {
        name: tf.constant(values, specs[name].dtype)
        for name, values in request_columns(SPEC, rows).items()
    }
    answers = [
        signatures["serving_default"](**columns),
        signatures["examples"](examples=tf.constant(raw_examples(SPEC, rows))),
    ]
    for scores in answers:
        for name, p in expected.items():
            assert p.shape == scores[name].shape == (60,)
            np.testing.assert_allclose(scores[name], p, atol=1e-5)


def test_an_existing_version_is_refused_and_untouched(estimator, tmp_path):
    (tmp_path / "5").mkdir()
    (tmp_path / "5/saved_model.pb").write_text("served")
    with pytest.raises(
        FunnelError, match=r"5: exists already, and a published version is never overwritten"
    ):
        estimator.export_saved_model(tmp_path, version=5)
    assert [p.name for p in tmp_path.rglob("*")] == ["5", "saved_model.pb"]
    assert (tmp_path / "5/saved_model.pb").read_text() == "served"


def test_the_version_is_the_time_unless_given(estimator, tmp_path, unchecked, monkeypatch):
    monkeypatch.setattr(export_module.time, "time", lambda: 1_790_000_000.9)
    assert estimator.export_saved_model(tmp_path).path == tmp_path / "1790000000"


@pytest.mark.parametrize("by", [1e-3, -2e-5, float("nan")])
def test_scores_that_differ_are_not_published(estimator, tmp_path, unchecked, by):
    unchecked.by = by
    with pytest.raises(
        FunnelError,
        match=r"C API: signature examples differs in p_cvr from the checkpoint's by .* "
        "not published",
    ):
        estimator.export_saved_model(tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_lack_are_not_published(estimator, tmp_path, unchecked):
    unchecked.outputs = ["p_ctr"]
    with pytest.raises(
        FunnelError,
        match=(
            r"signature examples returns \['p_ctr'\], the checkpoint \['p_ctcvr', 'p_ctr', "
            r"'p_cvr'\]"
        ),
    ):
        estimator.export_saved_model(tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_weight_is_found_by_the_fresh_process(estimator, tmp_path, monkeypatch):
    def save_another(model, path):
        model.weights[-1].assign_add(tf.fill(model.weights[-1].shape, 0.01))
        save(model, path)
        model.weights[-1].assign_sub(tf.fill(model.weights[-1].shape, 0.01))

    monkeypatch.setattr(export_module, "save", save_another)
    with pytest.raises(
        FunnelError,
        match=r"TensorFlow's C API: signature serving_default differs in p_\w+ from the "
        "checkpoint's",
    ):
        estimator.export_saved_model(tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


def test_rows_without_an_integer_are_left_out_of_the_check(estimator, tmp_path, unchecked):
    sample = estimator.data.directory / "sample.parquet"
    rows = pq.read_table(sample)
    place = rows.schema.get_field_index("item")
    try:
        pq.write_table(
            rows.set_column(place, "item", pa.array([None, *range(39)], pa.int64())), sample
        )
        assert estimator.export_saved_model(tmp_path, version=1).check.rows == 39
        pq.write_table(rows.set_column(place, "item", pa.nulls(40, pa.int64())), sample)
        with pytest.raises(
            FunnelError, match="every row lacks an integer or a time, so no request can be checked"
        ):
            estimator.export_saved_model(tmp_path, version=2)
    finally:
        pq.write_table(rows, sample)


def test_requests_have_no_null():
    spec = make_spec(features={name: FEATURES[name] for name in ("user", "tags", "price")})
    rows = pa.table(
        arrow(spec, {"user": ["u", None], "tags": [None, ["a", None, "b"]], "price": [2.0, None]})
    )
    found = request_columns(spec, rows)
    assert (found["user"], found["tags"]) == (["u", ""], [["", "", ""], ["a", "", "b"]])
    np.testing.assert_array_equal(found["price"], [2.0, np.nan])
    first, second = map(tf.train.Example.FromString, raw_examples(spec, rows))
    assert sorted(first.features.feature) == ["price", "user"]
    assert {name: list(f.bytes_list.value) for name, f in second.features.feature.items()} == {
        "tags": [b"a", b"", b"b"]
    }


@pytest.mark.parametrize(
    "features", [{"age": FEATURES["age"]}, {"user": FEATURES["user"]}], ids=["numbers", "ids"]
)
def test_specs_without_ids_or_without_numbers_are_served(tmp_path, features):
    spec = make_spec(features=features)
    write_data(tmp_path, spec)
    estimator = make_estimator(tmp_path, spec, make_model("shared_bottom"), steps=1)
    estimator.train()
    model, rows = estimator.load(), pq.read_table(tmp_path / "data/sample.parquet")
    serve = trace(model, MergedTables(model))["examples"]
    for name, p in checkpoint_scores(model, rows).items():
        np.testing.assert_allclose(
            serve(examples=tf.constant(raw_examples(spec, rows)))[name], p, atol=1e-6
        )


def test_column_names_that_tensorflow_cannot_keep(tmp_path):
    features = {"hours": {"kind": "numeric", "column": "hours-per week", "scale": "none"}}
    features["country"] = {"kind": "categorical", "column": "País", "buckets": 9}
    spec = make_spec(
        features=features, labels={"click": {"column": "click"}}, tasks={"ctr": {"label": "click"}}
    )
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


def test_every_kind_of_feature_scores_alike_and_position_is_fed(every_kind, tmp_path):
    estimator, spec = every_kind, every_kind.config.spec
    exported = estimator.export_saved_model(tmp_path / "export", version=1)
    assert exported.check.rows == 40
    assert exported.check.max_abs_difference <= 1e-5
    signature = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    assert "position" not in signature.structured_input_signature[1]
    rows = pa.table(arrow(spec, raw_rows(60, seed=9)[0]))
    first = rows.set_column(rows.column_names.index("position"), "position", pa.array(["1"] * 60))
    scores, fed = (
        checkpoint_scores(estimator.load(), rows),
        checkpoint_scores(estimator.load(), first),
    )
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
    exported = estimator.export_saved_model(tmp_path / "export", version=1)
    assert exported.outputs == ["p_ctcvr", "p_ctr", "p_cvr", "y_dwell"]
    assert exported.check.max_abs_difference <= 1e-5
    rows = pa.table(arrow(spec, raw_rows(60, seed=9)[0]))
    answer = tf.saved_model.load(str(exported.path)).signatures["examples"](
        examples=tf.constant(raw_examples(spec, rows))
    )
    np.testing.assert_allclose(
        answer["y_dwell"], checkpoint_scores(estimator.load(), rows)["y_dwell"], atol=1e-5
    )


@pytest.mark.parametrize(("by", "published"), [(3e-3, True), (3e-2, False)])
def test_large_numbers_are_compared_in_shares_of_themselves(tmp_path, monkeypatch, by, published):
    # 1000 ± 0.003 is 3e-6 of it, 1000 ± 0.03 is 3e-5
    scores = {"examples": {"y_dwell": [1000.0 + by] * 4}}
    answers = [{"loader": name, "scores": scores, "seconds": 1.0} for name in check.LOADERS]
    monkeypatch.setattr(
        check,
        "ask_loaders",
        lambda path, inputs, _: [{"tensorflow": "2", "seconds": 1.0}, *answers],
    )
    expected = {"y_dwell": np.full(4, 1000.0)}
    if published:
        assert check.check_loaders(tmp_path, {}, expected).max_abs_difference == pytest.approx(
            by / 1000
        )
    else:
        with pytest.raises(
            FunnelError,
            match="signature examples differs in y_dwell from the checkpoint's by 3e-05",
        ):
            check.check_loaders(tmp_path, {}, expected)


def test_scores_of_another_shape_are_refused(tmp_path, monkeypatch):
    answers = [
        {"loader": "c_api", "scores": {"examples": {"p_ctr": [[0.5], [0.5]]}}, "seconds": 1.0}
    ]
    monkeypatch.setattr(
        check,
        "ask_loaders",
        lambda path, inputs, _: [{"tensorflow": "2", "seconds": 1.0}, *answers],
    )
    with pytest.raises(
        FunnelError,
        match=(
            r"signature examples returns p_ctr of shape \(2, 1\), the checkpoint \(2,\); not "
            r"published"
        ),
    ):
        check.check_loaders(tmp_path, {}, {"p_ctr": np.array([0.5, 0.5])})


DAMAGES = {  # what becomes of a saved version, and what is said of it
    "pb": (
        lambda path: (path / "saved_model.pb").write_bytes(b"half"),
        r"saved_model.pb: is not a SavedModel \(Error parsing",
    ),
    "variables": (
        lambda path: halve(path / "variables/variables.data-00000-of-00001"),
        r"variables/variables: \w+/\w+.* cannot be read",
    ),
    "index": (
        lambda path: halve(path / "variables/variables.index"),
        r"variables/variables: its index cannot be read \(not an sstable",
    ),
    "no variables": (lambda path: shutil.rmtree(path / "variables"), r"Could not find variable"),
    "vocabulary": (
        lambda path: (path / "assets/vocabulary_user.txt").unlink(),
        r"vocabulary_user.txt; No such file or directory",
    ),
    "another vocabulary": (
        lambda path: (path / "assets/vocabulary_user.txt").write_text("5\n"),
        r"signature \w+ differs in p_",
    ),
}


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """An estimator over every kind of feature, a vocabulary among them."""
    folder, spec = tmp_path_factory.mktemp("kinds"), make_spec(features=EVERY_KIND)
    write_data(folder, spec)
    estimator = make_estimator(folder, spec, make_model("mmoe", "esmm"), steps=3)
    estimator.train()
    return estimator


@pytest.mark.parametrize(
    "damage",
    [
        name if name in ("pb", "variables") else pytest.param(name, marks=pytest.mark.slow)
        for name in DAMAGES
    ],
)
def test_what_loaders_cannot_run_is_not_published(every_kind, tmp_path, monkeypatch, damage):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").write_text("served")
    spoil, said = DAMAGES[damage]

    def save_spoilt(model, path):
        save(model, path)
        spoil(path)

    monkeypatch.setattr(export_module, "save", save_spoilt)
    with pytest.raises(FunnelError, match=said) as raised:
        every_kind.export_saved_model(tmp_path, version=2)
    assert "publish" in str(raised.value)
    assert "TensorFlow's C API" in str(raised.value) or damage == "pb"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["1", "saved_model.pb"]
    assert (tmp_path / "1/saved_model.pb").read_text() == "served"

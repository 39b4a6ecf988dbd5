"""Metrics against scikit-learn, on each task's own sample space and each joint's."""

import json

import numpy as np
import pyarrow as pa
import pytest
from model_data import DWELL, TASKS, make_spec
from sklearn import metrics as sk

from features.errors import FunnelError
from model.evaluation.metrics import (
    auc_entire_space,
    evaluate,
    measure,
    measure_number,
    reliability,
)

SPEC = make_spec(
    tasks={
        "ctr": {"label": "click", "threshold": 0.4},
        "cvr": {"label": "convert", "given": "click", "threshold": 0.5},
    }
)


@pytest.fixture
def drawn():
    """1000 rows: (scores, labels), all nine combinations of labels among them."""
    rng = np.random.default_rng(0)
    scores = {name: rng.random(1000).astype(np.float32) for name in ("p_ctr", "p_cvr", "p_ctcvr")}
    return scores, {name: rng.integers(-1, 2, 1000) for name in ("click", "convert")}


def test_every_number_is_scikit_learns(drawn):
    scores, labels = drawn
    click, convert = labels["click"], labels["convert"]
    joint = np.where(
        (click == 0) | (convert == 0), 0, np.where((click == 1) & (convert == 1), 1, -1)
    )
    spaces = {
        "ctr": (click, click >= 0, 0.4),
        "cvr": (convert, (click == 1) & (convert >= 0), 0.5),
        "ctcvr": (joint, joint >= 0, 0.2),
    }
    found = evaluate(SPEC, scores, labels)
    assert set(found) == set(spaces)
    for name, (
        label,
        mask,
        threshold,
    ) in spaces.items():  # the joint's threshold is the chain's product, 0.4 · 0.5
        y, p = label[mask], scores[f"p_{name}"][mask]
        cut = p >= threshold
        expected = {
            "auc": sk.roc_auc_score(y, p),
            "logloss": sk.log_loss(y, p.astype(float)),
            "calibration": p.mean(dtype=float) / y.mean(),
            "precision": sk.precision_score(y, cut),
            "recall": sk.recall_score(y, cut),
            "accuracy": sk.accuracy_score(y, cut),
            "rows": mask.sum(),
            "threshold": threshold,
        }
        assert found[name] == pytest.approx(expected, rel=1e-6)


def test_on_paper():
    found = measure(np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 0, 1, 0]), 0.5)
    assert (
        found["auc"] == 3 / 4
    )  # of four pairs (positive, negative) only (0.4, 0.6) is out of order
    assert found["logloss"] == pytest.approx(-(2 * np.log(0.9) + 2 * np.log(0.4)) / 4)
    assert found["calibration"] == pytest.approx((0.9 + 0.6 + 0.4 + 0.1) / 2)
    assert (found["precision"], found["recall"], found["accuracy"]) == (1 / 2, 1 / 2, 2 / 4)


def test_a_probability_at_the_threshold_is_a_positive():
    found = measure(np.array([0.5, 0.5, 0.5, 0.4]), np.array([1, 1, 0, 0]), 0.5)
    assert (found["precision"], found["recall"], found["accuracy"]) == (2 / 3, 2 / 2, 3 / 4)


def test_a_tie_is_half_in_order():
    # of the pairs (positive, negative) (.5, .2), (.8, .2) and (.8, .5) are in order
    found = measure(np.array([0.2, 0.5, 0.5, 0.8]), np.array([0, 0, 1, 1]), 0.5)
    assert found["auc"] == 3.5 / 4
    assert measure(np.array([0.3, 0.3]), np.array([1, 0]), 0.5)["auc"] == 1 / 2


@pytest.mark.parametrize(
    ("p", "label", "undefined"),
    [
        ([0.1, 0.2], [0, 0], {"auc", "calibration", "precision", "recall"}),
        ([0.6, 0.2], [1, 1], {"auc"}),
        ([], [], {"auc", "logloss", "calibration", "precision", "recall", "accuracy"}),
    ],
)
def test_what_is_undefined_is_none(p, label, undefined):
    found = measure(np.array(p, np.float32), np.array(label, int), 0.5)
    assert {name for name, value in found.items() if value is None} == undefined
    json.dumps(found, allow_nan=False)


def test_a_probability_that_rounded_to_one_has_a_finite_logloss():
    assert measure(np.array([1.0], np.float32), np.array([0]), 0.5)["logloss"] == pytest.approx(
        -np.log(1e-7), rel=1e-5
    )


def test_reliability_is_by_tenths_of_the_rows():
    p = np.linspace(0, 0.99, 100)[::-1]
    label = (np.arange(100) % 2).astype(int)
    tenths = reliability(
        SPEC, {"p_ctr": p, "p_cvr": p, "p_ctcvr": p}, {"click": label, "convert": np.full(100, -1)}
    )
    # tenth k holds the predictions 0.1·k … 0.1·k + 0.09, in steps of 0.01, every other one a click
    np.testing.assert_allclose(
        tenths["ctr"], [(0.1 * k + 0.045, 0.5, 10) for k in range(10)], atol=1e-9
    )
    assert tenths["cvr"] == []
    assert [rows for _, _, rows in tenths["ctcvr"]] == [
        5
    ] * 10  # no click, so no conversion: known though convert is not


def test_reliability_of_fewer_than_ten_rows():
    three, space = (
        np.array([0.1, 0.3, 0.2]),
        {"click": np.array([0, 1, 0]), "convert": np.array([0, 1, 0])},
    )
    assert reliability(SPEC, dict.fromkeys(["p_ctr", "p_cvr", "p_ctcvr"], three), space)["ctr"] == [
        (0.1, 0, 1),
        (0.2, 0, 1),
        (0.3, 1, 1),
    ]


def test_numbers_on_paper():
    found = measure_number(
        np.array([1.0, 2.0, 6.0], np.float32), np.array([0.0, 4.0, 5.0], np.float32)
    )
    # errors 1, −2, 1
    assert found == {
        "mse": pytest.approx((1 + 4 + 1) / 3),
        "mae": pytest.approx((1 + 2 + 1) / 3),
        "calibration": 9 / 9,
        "rows": 3,
    }


@pytest.mark.parametrize(
    ("y", "label", "undefined"),
    [([1.0], [0.0], {"calibration"}), ([], [], {"mse", "mae", "calibration"})],
)
def test_what_is_undefined_of_numbers_is_none(y, label, undefined):
    found = measure_number(np.array(y, np.float32), np.array(label, np.float32))
    assert {name for name, value in found.items() if value is None} == undefined
    json.dumps(found, allow_nan=False)


def test_a_number_is_measured_on_its_own_sample_space():
    # known dwell of clicked rows: 2 and 4, the second and the fourth row
    labels = {
        "click": np.array([0, 1, 1, 1, -1]),
        "convert": np.array([0, 0, 0, 1, -1]),
        "dwell": np.array([0, 2, -1, 4, 3], np.float32),
    }
    scores = dict.fromkeys(["p_ctr", "p_cvr", "p_ctcvr"], np.full(5, 0.5)) | {
        "y_dwell": np.array([9, 1, 9, 5, 9], np.float32)
    }
    found = evaluate(make_spec(**DWELL), scores, labels)
    assert list(found) == ["ctr", "cvr", "ctcvr", "dwell"]
    assert found["dwell"] == {"mse": 1.0, "mae": 1.0, "calibration": 6 / 6, "rows": 2}
    assert reliability(make_spec(**DWELL), scores, labels)["dwell"] == [(1, 2, 1), (5, 4, 1)]


def test_a_task_whose_label_is_the_joint():
    spec = make_spec(
        tasks=TASKS | {"cvr": TASKS["cvr"] | {"label_is_joint": True, "threshold": 0.3}}
    )
    labels = {"click": np.array([1, 1, 0, 0, -1]), "convert": np.array([1, 0, 1, 0, 1])}
    joint = np.array([0.9, 0.1, 0.8, 0.2, 0.4])
    alone = evaluate(
        spec, {"p_ctr": joint, "p_ctcvr": joint}, labels
    )  # as `independent` predicts it
    assert list(alone) == ["ctr", "ctcvr"]
    assert alone["ctcvr"]["rows"] == 5  # the label itself, whatever click is
    assert (alone["ctcvr"]["auc"], alone["ctcvr"]["threshold"], alone["ctcvr"]["accuracy"]) == (
        1,
        0.3,
        1,
    )
    both = evaluate(spec, {"p_ctr": joint, "p_ctcvr": joint, "p_cvr": joint}, labels)
    assert list(both) == ["ctr", "cvr", "ctcvr"]
    assert both["cvr"]["rows"] == 2
    assert both["ctcvr"] == alone["ctcvr"]


TRUTH = pa.table({"impression_id": ["a", "b", "日本"], "converts": [True, False, False]})


def test_auc_of_the_entire_space_joins_by_id():
    # converts of 日本, a, b: 0, 1, 0; of the pairs (a, 日本), (a, b) the second is in order
    assert auc_entire_space(["日本".encode(), b"a", b"b"], np.array([0.9, 0.5, 0.1]), TRUTH) == 0.5


def test_an_id_that_is_not_in_the_truth_is_refused():
    with pytest.raises(
        FunnelError,
        match=r"impression 'é' is not in the truth: evaluation\.truth belongs to other logs",
    ):
        auc_entire_space([b"a", "é".encode()], np.array([0.5, 0.5]), TRUTH)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(FunnelError, match="1 of 2 scores are not finite: training diverged"):
        measure(np.array([0.5, np.nan]), np.array([0, 1]), 0.5)
    with pytest.raises(FunnelError, match="2 of 2 scores are not finite: training diverged"):
        measure_number(np.array([np.inf, np.nan]), np.array([0, 1]))

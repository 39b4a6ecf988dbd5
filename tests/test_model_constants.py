"""The training split's constant beside each log loss and squared error, on paper."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_data import DWELL, TASKS, make_estimator, make_model, make_spec, write_data
from test_model_base_rates import FUNNEL, outcome

from model.estimator.evaluations import evaluation_of
from model.evaluation.constants import beside, measure_constant, no_better
from model.evaluation.metrics import evaluate
from model.objectives.base_rates import BaseRates


def entropy(p: float, positives: int, negatives: int) -> float:
    """The mean log loss of predicting p for every row."""
    total = positives * math.log(p) + negatives * math.log(1 - p)
    return -total / (positives + negatives)


def test_constants_are_the_rates_on_their_sample_spaces():
    # 20 clicks of 100 rows; 3 of the 18 clicks whose conversion is known; 3 of the 98 known joints
    assert BaseRates(make_spec(), FUNNEL).constants() == pytest.approx(
        {"ctr": 20 / 100, "cvr": 3 / 18, "ctcvr": 3 / 98}
    )
    assert BaseRates(make_spec(), []).constants() == {}


def test_the_constant_of_a_number_is_its_mean():
    rows = [
        outcome(80, click=0, convert=0, dwell=0, totals={"dwell": 0.0}),
        outcome(20, click=1, convert=0, dwell=1, totals={"dwell": 70.0}),
    ]
    assert BaseRates(make_spec(**DWELL), rows).constants()["dwell"] == pytest.approx(70 / 20)


def test_rows_count_with_their_weight_and_positives_once():
    heavy = {name: task | {"positive_weight": 5.0} for name, task in TASKS.items()}
    weighted = [outcome(80, weight=160, click=0, convert=0), *FUNNEL[1:]]
    assert BaseRates(make_spec(tasks=heavy), weighted).constants() == pytest.approx(
        {"ctr": 20 / 180, "cvr": 3 / 18, "ctcvr": 3 / 178}
    )


@pytest.mark.parametrize(
    ("rows", "weight", "constant"),
    [
        # half a row is added to both classes, as for the output bias, whose weight scores undo
        ([outcome(99, click=0, convert=0)], 1.0, 0.5 / 100),
        ([outcome(99, click=0, convert=0)], 4.0, (0.5 / 4) / (0.5 / 4 + 99.5)),
        ([outcome(99, click=1, convert=0)], 1.0, 99.5 / 100),
    ],
)
def test_a_rate_of_0_or_1_is_smoothed(rows, weight, constant):
    spec = make_spec(tasks={"ctr": TASKS["ctr"] | {"positive_weight": weight}})
    found = BaseRates(spec, rows).constants()["ctr"]
    assert found == pytest.approx(constant)
    # one click among four evaluation rows
    measured = measure_constant(found, np.array([0, 1, 0, 0]), "logloss")
    assert measured["constant_logloss"] == pytest.approx(entropy(constant, 1, 3))


def test_the_label_of_a_joint_itself():
    spec = make_spec(tasks=TASKS | {"cvr": TASKS["cvr"] | {"label_is_joint": True}})
    # convert is 1 in 3 of the 98 rows where it is known, and in 3 of the 18 clicks among them
    assert BaseRates(spec, FUNNEL).constants() == pytest.approx(
        {"ctr": 20 / 100, "cvr": 3 / 18, "ctcvr": 3 / 98}
    )


def test_an_evaluation_has_them_on_its_own_rows():
    labels = {
        "click": np.array([0, 1, 1, 1, -1]),
        "convert": np.array([0, 0, 1, -1, -1]),
        "dwell": np.array([0, 2, 4, -1, 3], np.float32),
    }
    scores = dict.fromkeys(["p_ctr", "p_cvr", "p_ctcvr", "y_dwell"], np.full(5, 0.5))
    constants = {"ctr": 0.25, "cvr": 0.5, "ctcvr": 0.125, "dwell": 2.5}
    found = evaluate(make_spec(**DWELL), scores, labels, constants)
    assert {name: own["constant"] for name, own in found.items()} == constants
    assert found["ctr"]["constant_logloss"] == pytest.approx(entropy(0.25, 3, 1))
    assert found["cvr"]["constant_logloss"] == pytest.approx(math.log(2))
    assert found["ctcvr"]["constant_logloss"] == pytest.approx(entropy(0.125, 1, 2))
    assert found["dwell"]["constant_mse"] == pytest.approx((0.5**2 + 1.5**2) / 2)
    assert "constant_mse" not in found["ctr"]
    assert "constant_logloss" not in found["dwell"]


def test_an_empty_sample_space_has_none():
    labels = {"click": np.array([0, 0]), "convert": np.array([0, 0])}
    scores = dict.fromkeys(["p_ctr", "p_cvr", "p_ctcvr"], np.full(2, 0.5))
    constants = {"ctr": 0.25, "cvr": 0.5, "ctcvr": 0.125}
    found = evaluate(make_spec(), scores, labels, constants)["cvr"]
    assert (found["rows"], found["constant_logloss"]) == (0, None)
    assert no_better({"cvr": found}) == []


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.01, 0.99))
def test_on_the_training_rows_no_constant_is_better(positives, negatives, other):
    rows = [outcome(positives, click=1, convert=0), outcome(negatives, click=0, convert=0)]
    best = BaseRates(make_spec(), rows).constants()["ctr"]
    label = np.repeat([1, 0], [positives, negatives])
    found = measure_constant(best, label, "logloss")["constant_logloss"]
    assert found == pytest.approx(entropy(positives / len(label), positives, negatives))
    assert found <= measure_constant(other, label, "logloss")["constant_logloss"] + 1e-9


@pytest.mark.parametrize(
    ("own", "begins", "ends"),
    [
        (
            {"auc": 0.61, "logloss": 0.4, "constant": 0.0312, "constant_logloss": 0.35},
            "'ctr' is not better than a constant: its log loss over 1,234 evaluation rows is 0.4, "
            "that of the training split's rate 0.0312 is 0.35; ",
            "; its AUC is 0.6100, so calibrate may help",
        ),
        (
            {"auc": 0.5, "logloss": 0.35, "constant": 0.0312, "constant_logloss": 0.35},  # a tie
            "'ctr' is not better than a constant: its log loss over 1,234 evaluation rows is 0.35, "
            "that of the training split's rate 0.0312 is 0.35; ",
            "train on more rows or longer, or lower train.learning_rate",
        ),
        (
            {"mse": 3.5, "constant": 12.0, "constant_mse": 3.25},
            "'ctr' is not better than a constant: its squared error over 1,234 evaluation rows is "
            "3.5, that of the training split's mean 12 is 3.25; ",
            "train on more rows or longer, or lower train.learning_rate",
        ),
        ({"logloss": 0.3499, "constant": 0.0312, "constant_logloss": 0.35}, None, None),
        ({"mse": 3.0, "constant": 12.0, "constant_mse": 3.25}, None, None),
        ({"logloss": 0.4}, None, None),  # of data whose counts of labels are not known
        ({"logloss": None, "constant": 0.03, "constant_logloss": None}, None, None),
    ],
)
def test_what_is_not_better_is_named(own, begins, ends):
    found = no_better({"cvr": {"logloss": 0.1, "rows": 5}, "ctr": own | {"rows": 1234}})
    assert len(found) == (begins is not None)
    assert not found or (found[0].startswith(begins) and found[0].endswith(ends))


def test_the_constant_stands_beside_its_metric():
    assert [beside(name) for name in ("auc", "logloss", "mse", "mae")] == [
        ["auc"],
        ["logloss", "constant_logloss"],
        ["mse", "constant_mse"],
        ["mae"],
    ]


@pytest.fixture
def trained(tmp_path):
    """A model of random labels, two steps from its start, and the lines it warned of."""
    write_data(tmp_path)
    said: list[str] = []
    estimator = make_estimator(
        tmp_path, model=make_model("shared_bottom"), steps=2, learning_rate=1.0, warn=said.append
    )
    estimator.train()
    return estimator, said


def test_the_estimator_warns_and_remembers_what_exports_carry(trained):
    estimator, said = trained
    results, known = estimator.evaluate(), estimator.model_dir / "evaluation.json"
    rates = BaseRates(estimator.config.spec, estimator.fitted.outcomes)
    assert {name: own["constant"] for name, own in results.items()} == rates.constants()
    worse = [name for name, own in results.items() if own["logloss"] >= own["constant_logloss"]]
    assert worse  # a learning rate of 1 leaves them so
    assert said == no_better(results)
    assert [line.split("'")[1] for line in said] == worse
    assert json.loads(known.read_text()) == {"step": 2, "evaluation": results, "warnings": said}
    assert evaluation_of(estimator.model_dir, 2)["evaluation"] == results
    # that of another step is not this checkpoint's
    nothing = {"step": 3, "evaluation": None, "warnings": []}
    assert evaluation_of(estimator.model_dir, 3) == nothing
    known.write_text(json.dumps({"step": None, "evaluation": {}, "warnings": ["x"]}))
    assert evaluation_of(estimator.model_dir, None)["evaluation"] is None

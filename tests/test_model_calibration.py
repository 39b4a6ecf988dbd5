"""Undone weights and calibration maps: on paper, in the graph, and over rows of known rates."""

import json

import numpy as np
import pytest
import tensorflow as tf
from model_data import LABELS, TASKS, make_spec
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from features.errors import FunnelError
from features.spec import Spec
from model import calibration
from model.calibration import CalibrationMap, fit
from model.funnels import FUNNELS
from model.objectives.predictions import from_logit, joint, unweighted


def p_of(prediction) -> np.ndarray:
    return np.exp(prediction.log_p)


def probability(p: list[float]):
    return from_logit(tf.constant(logit(np.array(p)), tf.float32))


def test_a_weight_of_positives_is_undone():
    # r = 1/4: p·r / (1 − p + r·p); an odds of 4·odds is divided by 4
    found = unweighted(probability([0.5, 0.8, 0.999]), 4.0)
    np.testing.assert_allclose(p_of(found), [0.2, 0.5, 0.999 / 4 / (0.001 + 0.999 / 4)], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found.log_not_p), 1 - p_of(found), rtol=1e-4)


def weighted_spec(**weights: float) -> Spec:
    return make_spec(
        tasks={task: TASKS[task] | {"positive_weight": w} for task, w in weights.items()}
    )


@pytest.mark.parametrize("funnel", ["independent", "dbmtl", "escm2"])
def test_tasks_are_undone_and_joints_their_products(funnel):
    spec = weighted_spec(ctr=4.0, cvr=9.0)
    found = FUNNELS[funnel](FUNNELS[funnel].Params.parse({"name": funnel}), spec)
    served = found.unweighted(
        {"ctr": probability([0.5]), "cvr": probability([0.9]), "ctcvr": probability([0.45])}
    )
    assert {name: p_of(p)[0] for name, p in served.items()} == pytest.approx(
        {"ctr": 0.2, "cvr": 0.5, "ctcvr": 0.1}, rel=1e-5
    )


@pytest.mark.parametrize("funnel", ["esmm", "aitm"])
def test_joints_are_undone_and_tasks_their_quotients(funnel):
    spec = weighted_spec(ctr=4.0, cvr=9.0)
    found = FUNNELS[funnel](FUNNELS[funnel].Params.parse({"name": funnel}), spec)
    first, second = probability([0.5]), probability([0.9])
    served = found.unweighted({"ctr": first, "cvr": second, "ctcvr": joint(first, second)})
    own = 0.45 / 9 / (0.55 + 0.45 / 9)
    assert {name: p_of(p)[0] for name, p in served.items()} == pytest.approx(
        {"ctr": 0.2, "ctcvr": own, "cvr": own / 0.2}, rel=1e-5
    )


def test_without_weights_nothing_changes():
    given = {"ctr": probability([0.5]), "cvr": probability([0.9]), "ctcvr": probability([0.45])}
    for name in ("independent", "esmm"):
        served = FUNNELS[name](FUNNELS[name].Params.parse({"name": name}), make_spec()).unweighted(
            given
        )
        assert served["ctr"] is given["ctr"]


def test_platt_is_a_line_in_the_logits():
    found = CalibrationMap(kind="platt", x=[2.0], y=[-1.0])
    np.testing.assert_allclose(
        p_of(found(probability([0.5, 0.8]))), expit([-1.0, 2 * np.log(4) - 1]), rtol=1e-5
    )


def test_isotonic_runs_through_its_points():
    found = CalibrationMap(kind="isotonic", x=[-2.0, 0.0], y=[-3.0, 1.0])
    z = np.array([-4.0, -2.0, -1.0, 0.0, 2.0])
    np.testing.assert_allclose(
        p_of(found(probability(expit(z)))), expit([-5.0, -3.0, -1.0, 1.0, 3.0]), rtol=1e-4
    )


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions whose odds are 1.6 powers of the true ones, times e: too extreme and too high."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows) - 2.5
    return expit(1.6 * z + 1).astype(np.float32), (rng.random(rows) < expit(z)).astype(np.int64)


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_what_is_fitted_calibrates_other_rows_and_ranks_them_alike(kind):
    p, label = drawn(400_000)
    found = fit(kind, p[:200_000], label[:200_000], np.ones(200_000))
    mapped = p_of(found(probability(p.astype(np.float64))))
    other = slice(200_000, None)
    assert mapped[:200_000].mean() == pytest.approx(label[:200_000].mean(), rel=1e-4)
    assert mapped[other].mean() / label[other].mean() == pytest.approx(1, abs=0.02)
    assert roc_auc_score(label, mapped) == pytest.approx(roc_auc_score(label, p), abs=1e-5)
    for tenth in np.array_split(np.argsort(p[other]), 10)[3:]:  # of enough positives
        assert mapped[other][tenth].mean() / label[other][tenth].mean() == pytest.approx(
            1, abs=0.08
        )


def test_weights_count_as_rows():
    p, label = drawn(20_000)
    kept = (label == 1) | (np.random.default_rng(1).random(20_000) < 0.25)
    weights = np.where(label == 1, 1.0, 4.0)
    found = fit("platt", p[kept], label[kept], weights[kept])
    whole = fit("platt", p, label, np.ones(20_000))
    assert found.x + found.y == pytest.approx(whole.x + whole.y, abs=0.05)


def test_points_on_paper():
    """40 rows of p = .1 and 40 of p = .5: 20 positives each of .25 and .5 … the first rate .5, the
    second .5, are pooled.
    """
    p = np.repeat([0.1, 0.5], 40).astype(np.float32)
    label = np.tile([0, 1], 40)
    found = fit("isotonic", p, label, np.ones(80))
    assert found.x == pytest.approx([logit(0.3)])
    # one point: f(z) = z − x + y + b, with mean(p) = .5 as b says
    mapped = p_of(found(probability(p.astype(np.float64))))
    assert mapped.mean() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
@pytest.mark.parametrize("case", ["one class", "wrong way round", "all alike"])
def test_rows_that_tell_little_keep_their_order(kind, case):
    p, label = drawn(2000)
    if case == "one class":
        label = np.zeros_like(label)
    elif case == "wrong way round":
        p = 1 - p
    else:
        p = np.full_like(p, 0.3)
    found = fit(kind, p, label, np.ones(2000))
    z = np.linspace(-8, 8, 50)
    mapped = p_of(found(probability(expit(z))))
    assert np.isfinite(mapped).all()
    assert (np.diff(mapped) > 0).all()
    if case != "one class":
        assert p_of(found(probability(p.astype(np.float64)))).mean() == pytest.approx(
            label.mean(), rel=1e-3
        )


def test_each_output_of_a_task_is_calibrated_on_its_own_space():
    spec = make_spec(tasks={"ctr": TASKS["ctr"], "cvr": TASKS["cvr"] | {"calibrate": "platt"}})
    rng = np.random.default_rng(0)
    click = (rng.random(5000) < 0.5).astype(int)
    convert = click * (rng.random(5000) < 0.2)
    scores = {f"p_{name}": rng.uniform(0.05, 0.95, 5000) for name in ("ctr", "cvr", "ctcvr")}
    maps = calibration.fit_all(spec, scores, {"click": click, "convert": convert})
    assert list(maps) == ["cvr", "ctcvr"]
    given = {name: probability(scores[f"p_{name}"]) for name in ("ctr", "cvr", "ctcvr")}
    served = calibration.apply(maps, given)
    assert served["ctr"] is given["ctr"]
    assert p_of(served["cvr"])[click == 1].mean() == pytest.approx(
        convert[click == 1].mean(), rel=1e-3
    )
    assert p_of(served["ctcvr"]).mean() == pytest.approx(convert.mean(), rel=1e-3)


def test_maps_are_of_one_checkpoint(tmp_path):
    path, maps = (
        tmp_path / "calibration.json",
        {"ctr": CalibrationMap(kind="platt", x=[2.0], y=[-1.0])},
    )
    assert calibration.read(path, 5) is None
    calibration.write(path, 5, maps)
    assert calibration.read(path, 5) == maps
    assert calibration.read(path, 6) is None
    assert json.loads(path.read_text())["step"] == 5


def test_a_number_is_not_calibrated():
    dwell = {"dwell": {"event": "clicks", "value": "seconds", "after": "click"}}
    with pytest.raises(FunnelError, match="calibrate"):
        make_spec(
            labels=LABELS | dwell,
            tasks=TASKS | {"dwell": {"label": "dwell", "given": "click", "calibrate": "platt"}},
        )

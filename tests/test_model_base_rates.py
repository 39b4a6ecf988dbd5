"""Where outputs begin: each funnel's constant predictions on paper, and the loss before the first
step.
"""

import math

import numpy as np
import pytest
import tensorflow as tf
from model_data import DWELL, LABELS, TASKS, make_model, make_spec
from pairs import spec_of

from features.fitted import Fitted, Outcome
from model.funnels import FUNNELS
from model.objectives.base_rates import BaseRates, log_odds
from model.ranking import RankingModel


def outcome(
    rows: int, weight: float | None = None, totals: dict | None = None, **states: int
) -> Outcome:
    return Outcome(
        states=states, rows=rows, weight=rows if weight is None else weight, totals=totals or {}
    )


# 100 rows: 80 without a click, 15 clicks without a conversion, 3 with one, 2 whose conversion is
# unknown.
FUNNEL = [
    outcome(80, click=0, convert=0),
    outcome(2, click=1, convert=-1),
    outcome(15, click=1, convert=0),
    outcome(3, click=1, convert=1),
]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_rates_on_their_sample_spaces():
    rates = BaseRates(make_spec(), FUNNEL)
    assert rates.own("ctr") == pytest.approx(20 / 100)
    assert rates.own("cvr") == pytest.approx(3 / 18)  # of the clicks whose conversion is known
    assert rates.joint("cvr") == pytest.approx(3 / 98)
    assert (rates.positives("ctr"), rates.positives("cvr")) == (20, 3)


def test_the_rarest_class():
    # 80 and 20 of the clicks, 15 and 3 of the conversions whose label is known
    assert BaseRates(make_spec(), FUNNEL).rarest() == 3
    clicked = [outcome(7, click=0, convert=0), outcome(20, click=1, convert=1)]
    assert BaseRates(make_spec(), clicked).rarest() == 0  # no click without a conversion


def test_rows_count_with_their_weight():
    """Half of the 160 rows without a click were sampled out: each of the others stands for two."""
    weighted = [outcome(80, weight=160, click=0, convert=0), *FUNNEL[1:]]
    assert BaseRates(make_spec(), weighted).own("ctr") == pytest.approx(20 / 180)


def test_positives_that_weigh_more():
    spec = make_spec(tasks={"ctr": TASKS["ctr"] | {"positive_weight": 3.0}})
    assert BaseRates(spec, FUNNEL).own("ctr") == pytest.approx(3 * 20 / (3 * 20 + 80))


def test_a_number_begins_at_its_mean():
    spec = make_spec(**DWELL)
    rows = [
        outcome(80, click=0, convert=0, dwell=0, totals={"dwell": 0.0}),
        outcome(20, click=1, convert=0, dwell=1, totals={"dwell": 70.0}),
    ]
    assert BaseRates(spec, rows).logit("dwell") == pytest.approx(3.5)  # over the clicks


@pytest.mark.parametrize(
    ("funnel", "starts"),
    [
        ("independent", {"ctr": logit(0.2), "cvr": logit(3 / 18)}),
        ("dbmtl", {"ctr": logit(0.2), "cvr": logit(3 / 18)}),
        ("esmm", {"ctr": logit(0.2), "cvr": logit(3 / 98 / 0.2)}),
        ("aitm", {"ctr": logit(0.2), "cvr": logit(3 / 98)}),
        ("escm2", {"ctr": logit(0.2), "cvr": logit(3 / 18)}),
    ],
)
def test_heads_begin_at_their_funnels_constant(funnel, starts):
    assert FUNNELS[funnel](FUNNELS[funnel].Params.parse({"name": funnel}), make_spec()).starts(
        BaseRates(make_spec(), FUNNEL)
    ) == pytest.approx(starts)


def test_the_imputation_begins_at_the_entropy():
    params = FUNNELS["escm2"].Params.parse({"name": "escm2", "estimator": "dr"})
    z = FUNNELS["escm2"](params, make_spec()).starts(BaseRates(make_spec(), FUNNEL))["imputation"]
    p = 3 / 18
    assert math.log1p(math.exp(z)) == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))


def test_esm2_begins_at_the_same_rate_with_and_without_the_action():
    spec = spec_of("esm2")
    click, cart, buy = spec.labels
    rows = [
        outcome(70, **{click: 0, cart: 0, buy: 0}),
        outcome(10, **{click: 1, cart: 0, buy: 0}),
        outcome(14, **{click: 1, cart: 1, buy: 0}),
        outcome(6, **{click: 1, cart: 1, buy: 1}),
    ]
    params = FUNNELS["esm2"].Params.parse({"name": "esm2", "action": list(spec.tasks)[1]})
    starts = list(FUNNELS["esm2"](params, spec).starts(BaseRates(spec, rows)).values())
    assert starts == pytest.approx([logit(0.3), logit(20 / 30), logit(6 / 30), logit(6 / 30)])


@pytest.mark.parametrize(
    ("rows", "said", "p"),
    [
        (
            [outcome(99, click=0, convert=0)],
            "task 'ctr' has no positive row among the 99 training rows",
            0.5 / 100,
        ),
        ([outcome(99, click=1, convert=0)], "task 'ctr' has no negative row", 99.5 / 100),
        (
            [outcome(5, click=-1, convert=-1)],
            "task 'ctr' has no positive and no negative row among the 0",
            0.5,
        ),
    ],
)
def test_a_task_of_one_class_is_smoothed_and_warned_of(rows, said, p):
    rates = BaseRates(make_spec(), rows)
    assert rates.warnings()[0].startswith(said)
    assert rates.own("ctr") == pytest.approx(p)
    assert rates.logit("ctr") == pytest.approx(logit(p))


def test_without_outcomes_nothing_is_known():
    rates = BaseRates(make_spec(), [])
    assert rates.logit("ctr") == 0.0
    assert rates.warnings() == []


def test_a_quotient_above_1_begins_at_one_half():
    assert (
        log_odds(0.33 / 0.24) == 0.0
    )  # joint labels that do not form a chain, as in funnel/examples/adult.toml


def test_log_odds_stay_finite():
    assert log_odds(0.0) == pytest.approx(math.log(1e-6), rel=1e-5)
    assert log_odds(1.0) == pytest.approx(-math.log(1e-6), rel=1e-5)


@pytest.mark.parametrize("funnel", ["independent", "esmm", "dbmtl", "aitm", "escm2"])
def test_the_loss_before_the_first_step_is_the_constants(funnel):
    """Each objective over all rows, however features are set, against that of the best constant,
    found by a grid.
    """
    spec = make_spec()
    model = RankingModel(spec, make_model("mmoe", funnel), _fitted(spec), seed=1)
    states = [[o.states[name] for o in FUNNEL for _ in range(o.rows)] for name in LABELS]
    labels = {
        name: tf.constant(values, tf.int64) for name, values in zip(LABELS, states, strict=True)
    }
    rng = np.random.default_rng(0)
    ids = tf.constant(rng.integers(0, 20, (100, spec.ids_width)), tf.int64)
    dense = tf.constant(rng.normal(size=(100, spec.dense_width)), tf.float32)
    found = {o.name: o.sums() for o in model.funnel.objectives(model(ids, dense), labels)}
    best = {"ctr": _entropy(20, 80), "cvr": _entropy(3, 15), "ctcvr": _entropy(3, 95)}
    if (
        funnel == "escm2"
        # IPW divides a click's loss by p_ctr and takes the mean over all rows whose joint label is
        # known
    ):
        best["cvr"] *= 18 / 0.2 / 98
    assert {name for name in best if name in found} == set(found) - {"calibrator_cvr"}
    for name in found.keys() & best.keys():
        assert float(found[name][0] / found[name][1]) == pytest.approx(best[name], rel=0.002)


def _entropy(positive: int, negative: int) -> float:
    p = positive / (positive + negative)
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def _fitted(spec) -> Fitted:
    numbers = dict.fromkeys(spec.numeric, (0.0, 1.0))
    return Fitted(moments=numbers, ranges=dict.fromkeys(spec.numeric, (-3.0, 3.0)), outcomes=FUNNEL)


def test_outcomes_of_training_rows_are_counted():
    from pipeline.statistics.partitions import outcome_sums
    from pipeline.statistics.sample import SplitRows

    spec = make_spec(**DWELL)
    labels = {
        "click": np.array([0, 1, 1, -1, 0], np.int8),
        "convert": np.array([0, 1, -1, -1, 0], np.int8),
        "dwell": np.array([0, 2.5, 1.5, -1, 0], np.float32),
    }
    weights = np.array([2, 1, 1, 1, 2], np.float32)
    blank = np.zeros((5, 0))
    rows = SplitRows(
        blank, blank, labels, np.zeros(5, np.int64), np.arange(5, dtype=np.uint64), weights
    )
    found = {states: sums.tolist() for states, sums in outcome_sums(spec, rows).items()}
    # rows, Σ weight, and Σ weight·value of click, convert and dwell
    assert found == {
        (-1, -1, -1): [1, 1, 0, 0, 0],
        (0, 0, 0): [2, 4, 0, 0, 0],
        (1, -1, 1): [1, 1, 1, 0, 1.5],
        (1, 1, 1): [1, 1, 1, 1, 2.5],
    }

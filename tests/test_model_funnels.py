"""What each funnel predicts and trains, on paper; and that no logit is too far out for it."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from model_data import LABELS, TASKS, make_spec
from pairs import ACTION, CART, OPTIONS, config_of, spec_of

from features.errors import FunnelError
from features.fitted import Fitted
from model.config import ModelConfig
from model.funnels import FUNNELS
from model.objectives.predictions import Probability, Value
from model.ranking import RankingModel

SPEC = make_spec()
RETURN = {"return": {"event": "returns", "within": "7d", "after": "convert"}}
CHAIN = make_spec(
    labels=LABELS | RETURN, tasks=TASKS | {"ret": {"label": "return", "given": "convert"}}
)
OUTRIGHT = make_spec(
    tasks={
        "ctr": TASKS["ctr"],
        "cvr": {"label": "convert", "given": "click", "label_is_joint": True},
    }
)
DWELL = {"dwell": {"event": "clicks", "value": "seconds", "after": "click"}}
# Rows: no click; click alone; click and conversion; click whose conversion is unknown.
ROWS = {
    "click": tf.constant([0, 1, 1, 1], tf.int64),
    "convert": tf.constant([0, 0, 1, -1], tf.int64),
}
ln = np.log


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def build(name, spec=None, **options):
    kind = FUNNELS[name]
    table = {"name": name, "tower_units": [2]} | OPTIONS.get(name, {}) | options
    spec = spec or spec_of(name)
    params = kind.Params.parse(table)
    params.check(spec)
    funnel = kind(params, spec)
    funnel(dict.fromkeys(funnel.heads, tf.zeros([1, 1])))
    return funnel


def set_logits(funnel, **logits):
    """Makes the logits constant: kernels of 0 and the logit as bias, 0 where none is given."""
    for head, dense in funnel.outputs.items():
        dense.set_weights([np.zeros(dense.kernel.shape), np.array([logits.get(head, 0.0)])])


def predict(funnel, rows=4):
    return funnel(dict.fromkeys(funnel.heads, tf.ones([rows, 1])))


def probabilities(funnel):
    return {
        name: float(np.exp(p.log_p[0]))
        for name, p in predict(funnel, 1).items()
        if isinstance(p, Probability)
    }


def sums(funnel, labels=None):
    return {
        o.name: tuple(map(float, o.sums()))
        for o in funnel.objectives(predict(funnel), labels or ROWS)
    }


def test_independent():
    funnel = build("independent")
    set_logits(funnel)
    assert sums(funnel) == {
        "ctr": pytest.approx((4 * ln(2), 4)),
        "cvr": pytest.approx((2 * ln(2), 2)),
    }


def test_esmm():
    funnel = build("esmm")
    set_logits(funnel)
    # p_ctcvr = 1/4 on the three rows where it is known: labels 0, 0, 1
    assert sums(funnel) == {
        "ctr": pytest.approx((4 * ln(2), 4)),
        "ctcvr": pytest.approx((2 * ln(4 / 3) + ln(4), 3)),
    }


def test_esm2():
    funnel = build("esm2")
    set_logits(
        funnel, ctr=ln(3), action=-ln(4), cvr_action=ln(9), cvr_other=0.0
    )  # y = 3/4, 1/5, 9/10, 1/2
    p = probabilities(funnel)
    cvr = 1 / 5 * 9 / 10 + 4 / 5 * 1 / 2
    assert p == pytest.approx(
        {"ctr": 3 / 4, "action": 1 / 5, "ctr_action": 3 / 20, "cvr": cvr, "ctcvr": 3 / 4 * cvr}
    )
    labels = ROWS | {"cart": tf.constant([0, 1, 0, -1], tf.int64)}
    losses = {
        "ctr": (-ln(1 / 4) - 3 * ln(3 / 4), 4),
        "ctr_action": (-2 * ln(17 / 20) - ln(3 / 20), 3),
        "ctcvr": (-2 * ln(1 - 3 / 4 * cvr) - ln(3 / 4 * cvr), 3),
    }
    assert sums(funnel, labels) == {
        name: pytest.approx(loss, rel=1e-5) for name, loss in losses.items()
    }


def test_dbmtl_reads_the_tasks_before():
    funnel = build("dbmtl", CHAIN, relation_units=[1], activation="linear")
    for relation, kernel in zip(
        funnel.relations.values(), ([1, 1], [1, 1, 2], [1, 1, 0, 3]), strict=True
    ):
        relation.set_weights([np.array(kernel, float)[:, None], np.zeros(1)])
    for head, dense in funnel.outputs.items():
        dense.set_weights([np.array([[1.0]]), np.array([0.0])])
        funnel.towers[head].set_weights([np.full([1, 2], 0.25), np.zeros(2)])  # towers give (¼, ¼)
    # r = ½; ½ + 2·½ = 1.5; ½ + 0·½ + 3·1.5 = 5
    found = probabilities(funnel)
    assert [found[task] for task in ("ctr", "cvr", "ret")] == pytest.approx(
        [sigmoid(0.5), sigmoid(1.5), sigmoid(5)], rel=1e-5
    )
    assert sums(funnel, ROWS | {"return": ROWS["convert"]})["cvr"][1] == 2  # its own sample space


def test_aitm():
    funnel = build("aitm")
    set_logits(funnel, ctr=0.0, cvr=-ln(3))  # ŷ = 1/2, 1/4
    assert probabilities(funnel) == pytest.approx({"ctr": 1 / 2, "cvr": 1 / 2, "ctcvr": 1 / 4})
    wanted = {"ctr": (4 * ln(2), 4), "ctcvr": (2 * ln(4 / 3) + ln(4), 3), "calibrator_cvr": (0, 4)}
    assert sums(funnel) == {name: pytest.approx(loss, rel=1e-5) for name, loss in wanted.items()}
    set_logits(funnel, ctr=-ln(3), cvr=0.0)  # the other way round: p_cvr is cut at 1
    assert probabilities(funnel) == pytest.approx(
        {"ctr": 1 / 4, "cvr": 1, "ctcvr": 1 / 2}, rel=1e-5
    )
    assert sums(funnel)["calibrator_cvr"] == pytest.approx((4 * 0.6 * (1 / 2 - 1 / 4), 4))


@pytest.mark.parametrize(("floor", "propensity"), [(0.02, 0.25), (0.5, 0.5)])
def test_escm2_ipw(floor, propensity):
    funnel = build("escm2", propensity_floor=floor, global_weight=0.5)
    set_logits(funnel, ctr=-ln(3))  # p_ctr = 1/4, p_cvr = 1/2
    # Two clicked rows with a known conversion, for the three whose joint label is known; p_ctcvr =
    # 1/8
    wanted = {
        "ctr": (-ln(3 / 4) - 3 * ln(1 / 4), 4),
        "cvr": (2 * ln(2) / propensity, 3),
        "ctcvr": (0.5 * (-2 * ln(7 / 8) - ln(1 / 8)), 3),
    }
    assert sums(funnel) == {name: pytest.approx(loss, rel=1e-5) for name, loss in wanted.items()}


def test_escm2_doubly_robust():
    funnel = build("escm2", estimator="dr")
    set_logits(
        funnel
    )  # p = 1/2; δ = ln 2 on clicked rows, δ̂ = softplus(0) = ln 2 everywhere: nothing to correct
    found = sums(funnel)
    assert found["cvr"] == pytest.approx((3 * ln(2), 3))
    assert found["imputation"] == pytest.approx((0, 3))
    set_logits(funnel, imputation=ln(3))  # δ̂ = ln 4: 3·ln 4 + 2·(ln 2 − ln 4)/½
    found = sums(funnel)
    assert found["cvr"] == pytest.approx((3 * ln(4) - 4 * ln(2), 3), rel=1e-5)
    assert found["imputation"] == pytest.approx((4 * ln(2) ** 2, 3), rel=1e-5)
    assert "imputation" not in {
        name for name, p in predict(funnel).items() if isinstance(p, Probability | Value)
    }


@pytest.mark.parametrize("estimator", ["ipw", "dr"])
def test_the_propensity_learns_nothing_from_conversions(estimator):
    funnel = build("escm2", estimator=estimator)
    bias = funnel.outputs["ctr"].bias.value
    with tf.GradientTape(persistent=True) as tape:
        objectives = {o.name: o.sums()[0] for o in funnel.objectives(predict(funnel), ROWS)}
    assert tape.gradient(objectives["cvr"], bias) is None
    assert tape.gradient(objectives["ctr"], bias) is not None


@pytest.mark.parametrize("funnel", ["independent", "esmm", "dbmtl", "aitm"])
def test_a_chain_of_three(funnel):
    model = RankingModel(
        CHAIN,
        config_of("mmoe", funnel),
        Fitted(moments=dict.fromkeys(CHAIN.numeric, (0.0, 1.0))),
        seed=1,
    )
    ids = tf.constant(np.random.default_rng(0).integers(0, 20, [8, CHAIN.ids_width]))
    p = {
        name: score.numpy()
        for name, score in model.scores(ids, tf.ones([8, CHAIN.dense_width])).items()
    }
    assert set(p) == {"p_ctr", "p_cvr", "p_ctcvr", "p_ret", "p_cvr_ret"}
    if funnel != "aitm":  # whose estimated joints may be likelier than what they imply
        np.testing.assert_allclose(p["p_cvr_ret"], p["p_ctr"] * p["p_cvr"] * p["p_ret"], rtol=1e-5)


def test_a_task_whose_label_is_the_joint():
    labels = {
        "click": tf.constant([0, 0, 1, -1], tf.int64),
        "convert": tf.constant([0, 1, 1, 1], tf.int64),
    }
    funnel = build("independent", OUTRIGHT)
    set_logits(funnel, cvr=ln(3))
    assert probabilities(funnel) == pytest.approx({"ctr": 1 / 2, "ctcvr": 3 / 4})
    assert sums(funnel, labels) == {
        "ctr": pytest.approx((3 * ln(2), 3)),
        "ctcvr": pytest.approx((-ln(1 / 4) - 3 * ln(3 / 4), 4)),
    }
    funnel = build("esmm", OUTRIGHT)
    set_logits(funnel)
    assert probabilities(funnel) == pytest.approx({"ctr": 1 / 2, "cvr": 1 / 2, "ctcvr": 1 / 4})
    assert sums(funnel, labels)["ctcvr"] == pytest.approx((-ln(3 / 4) - 3 * ln(1 / 4), 4))


@pytest.mark.parametrize(
    ("loss", "wanted"), [({}, 4 + 0.25), ({"loss": "huber", "huber_delta": 1.0}, 1.5 + 0.125)]
)
def test_a_number(loss, wanted):
    spec = make_spec(
        labels=LABELS | DWELL,
        tasks={"ctr": TASKS["ctr"], "dwell": {"label": "dwell", "given": "click"} | loss},
    )
    funnel = build("independent", spec)
    set_logits(funnel, dwell=3.0)
    found = predict(funnel)
    assert set(found) == {"ctr", "dwell"}
    assert found["dwell"].value.numpy().tolist() == [3.0] * 4
    # Errors of the clicked rows with a known number: 2 and −½. 4 + ¼; Huber 1·(2 − ½) + ½·¼
    labels = {
        "click": tf.constant([0, 1, 1, 1], tf.int64),
        "dwell": tf.constant([0.0, 1.0, 3.5, -1.0]),
    }
    assert sums(funnel, labels)["dwell"] == pytest.approx((wanted, 2))


def test_positives_weigh_more():
    spec = make_spec(tasks={"ctr": {"label": "click", "positive_weight": 3.0}})
    funnel = build("independent", spec)
    set_logits(funnel)
    assert sums(funnel)["ctr"] == pytest.approx(
        (ln(2) + 9 * ln(2), 4)
    )  # one row of 0, three of 1; divided by rows


def saturated(funnel, cases):
    """(logits, labels, gradients by head) of one row for every choice of logits of ±40 and each of
    the cases, labels by name.
    """
    biases = {head: dense.bias.value for head, dense in funnel.outputs.items()}
    for signs in itertools.product((-40.0, 40.0), repeat=len(funnel.heads)):
        logits = dict(zip(funnel.heads, signs, strict=True))
        set_logits(funnel, **logits)
        for case in cases:
            labels = {name: tf.constant([label], tf.int64) for name, label in case.items()}
            with tf.GradientTape() as tape:
                loss = tf.add_n(
                    [o.sums()[0] for o in funnel.objectives(predict(funnel, 1), labels)]
                )
            gradients = {
                head: float(g[0])
                for head, g in tape.gradient(loss, biases).items()
                if g is not None
            }
            assert np.isfinite([float(loss), *gradients.values()]).all(), (logits, case)
            yield logits, case, gradients


SATURATED = [(name, {}) for name in FUNNELS] + [("escm2", {"estimator": "dr"})]


@pytest.mark.parametrize(
    ("name", "options"),
    SATURATED,
    ids=lambda x: x if isinstance(x, str) else "-".join(x.values()) or "default",
)
def test_logits_of_40_lose_no_gradient(name, options):
    cases = [
        {"click": click, "convert": convert, "cart": 1}
        for click, convert in ((0, 0), (1, 0), (1, 1))
    ]
    for logits, labels, gradients in saturated(build(name, **options), cases):
        if (logits["ctr"] > 0) != bool(labels["click"]):
            assert abs(gradients["ctr"]) > 0.4, (
                logits,
                labels,
            )  # a saturated mistake pulls with its full weight
        if "cvr" in logits and labels["convert"] and logits["cvr"] < 0:
            assert gradients["cvr"] < -0.4, (logits, labels)


@pytest.mark.parametrize("name", ["independent", "esmm", "dbmtl", "aitm"])
def test_logits_of_40_lose_no_gradient_along_a_chain_of_three(name):
    names, funnel = ["click", "convert", "return"], build(name, CHAIN)
    cases = [
        {label: int(place < reached) for place, label in enumerate(names)} for reached in range(4)
    ]
    for logits, labels, gradients in saturated(funnel, cases):
        reached = sum(labels.values())
        for head in funnel.heads[:reached]:
            if logits[head] < 0:
                assert gradients[head] < -0.4, (head, logits, labels)
        upto = funnel.heads[: reached + 1]
        if reached < 3 and all(logits[head] > 0 for head in upto):
            # −ln(1 − p₁p₂p₃) is shared out among what makes the product: at least a third each
            assert gradients[upto[-1]] > 0.3, (logits, labels)


def test_logits_of_40_lose_no_gradient_of_esm2s_action():
    cases = [
        {"click": 1, "cart": cart, "convert": convert} for cart in (0, 1) for convert in (0, 1)
    ]
    for logits, labels, gradients in saturated(build("esm2"), cases):
        y1, y2, y3, y4 = (logits[head] > 0 for head in ("ctr", "action", "cvr_action", "cvr_other"))
        if labels["cart"] and not y2:
            assert gradients["action"] < -0.4, (logits, labels)
        if not labels["cart"] and not labels["convert"] and y1 and y2 and y3 == y4:
            assert gradients["action"] > 0.4, (
                logits,
                labels,
            )  # −ln(1 − y₁y₂), to which the purchase adds nothing
        way, head = (y3, "cvr_action") if y2 else (y4, "cvr_other")
        if labels["convert"] and not way:
            assert gradients[head] < -0.4, (logits, labels)
        if not labels["convert"] and way and y1:
            assert gradients[head] > 0.3, (logits, labels)


@pytest.mark.parametrize(
    ("funnel", "spec", "problem"),
    [
        (
            "esmm",
            {"ctr": TASKS["ctr"]},
            r"'esmm' needs a chain of tasks, but none of ctr has `given`.*'independent'",
        ),
        (
            "aitm",
            {"ctr": TASKS["ctr"], "cvr": {"label": "convert"}},
            r"'aitm' needs a chain of tasks",
        ),
        (
            "dbmtl",
            TASKS | {"ret": {"label": "return"}},
            r"'dbmtl' needs its tasks in one chain, but ctr → cvr leaves out 'ret'",
        ),
        (
            "escm2",
            TASKS | {"ret": {"label": "return", "given": "convert"}},
            r"'escm2' is defined for chains of at most 2 tasks",
        ),
        ("esm2", TASKS, r"'esm2' needs three tasks.*these are ctr, cvr"),
        (
            "esmm",
            TASKS | {"dwell": {"label": "dwell", "given": "click"}},
            r"label 'dwell' of task 'dwell' is a number",
        ),
    ],
)
def test_tasks_that_do_not_fit_are_refused(funnel, spec, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"funnel": funnel}).check(
            make_spec(labels=LABELS | RETURN | DWELL, tasks=spec)
        )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"name": "esmm", "tower_units": {"ctr": [4]}},
            r"tower_units lacks 'cvr': give units to each of ctr, cvr",
        ),
        (
            {"name": "esmm", "tower_units": {"ctr": [4], "cvr": [4], "cvrr": [4]}},
            r"names 'cvrr', which is not a head: did you mean 'cvr'",
        ),
        (
            {"name": "aitm", "tower_units": {"ctr": [4], "cvr": [5]}},
            r"aitm attends to what towers give",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options, problem):
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"funnel": options}).check(SPEC)


def test_esm2_needs_to_know_the_action():
    with pytest.raises(
        FunnelError,
        match=r"model\.funnel\.action is not given: name the task of the action: "
        "known: action, cvr",
    ):
        ModelConfig.parse({"funnel": "esm2"}).check(spec_of("esm2"))


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (
            "other",
            r"tasks\.other: .*those of ctr, cvr, other are ctr, other, cvr_other, cvr_other, "
            r"where 'cvr_other' is twice: give the",
        ),
        (
            "cvr_other",
            r"tasks\.cvr_other: .*are ctr, cvr_other, cvr_cvr_other, cvr_other, where 'cvr_other' "
            r"is twice: give the",
        ),
    ],
)
def test_esm2_refuses_two_heads_of_one_name(action, problem):
    spec = make_spec(labels=LABELS | CART, tasks=TASKS | {action: ACTION["action"]})
    with pytest.raises(FunnelError, match=problem):
        ModelConfig.parse({"funnel": {"name": "esm2", "action": action}}).check(spec)


def test_an_unknown_funnel_is_refused_with_the_nearest():
    with pytest.raises(FunnelError, match=r"name = 'esm' is unknown: did you mean 'esmm'\?"):
        ModelConfig.parse({"funnel": "esm"})


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(
        FunnelError, match=r"funnel.*unknown key 'tower_unit': did you mean 'tower_units'\?"
    ):
        FUNNELS["esmm"].Params.parse({"name": "esmm", "tower_unit": [4]}, "model.funnel")

"""Every option of weightings, optimizers and schedules changes a weight or a factor after steps on
literal numbers.
"""

import numpy as np
import pytest
from effects import differs

from model.config import ModelConfig
from model.settings.dense import OPTIMIZERS, DenseParams
from model.settings.rules import RULE_PARAMS
from model.settings.weighting import WEIGHTING_PARAMS
from model.training.config import TrainConfig

pytestmark = pytest.mark.slow

WEIGHTINGS = {
    "fixed": ({}, {"weights": {"b": 2.0}}),
    "decay": ({"gamma": {"a": 0.9}}, {"weights": {"b": 2.0}, "gamma": {"b": 0.5}}),
    "uncertainty": ({}, {}),
    "dwa": ({"period": 1}, {"period": 2, "temperature": 1.0}),
    "gradnorm": ({}, {"asymmetry": 0.0, "learning_rate": 0.1}),
    "pareto": ({}, {"at_least": {"b": 0.6}}),
    "pcgrad": ({}, {"seed": 5}),
}
RULES = {
    "adagrad": {"initial_accumulator": 0.5, "epsilon": 0.1},
    "rowwise_adagrad": {"initial_accumulator": 0.5, "epsilon": 0.1},
    "lazy_adam": {"beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1},
    "ftrl": {"initial_accumulator": 0.5, "l1": 0.1, "l2": 0.1, "beta": 0.5},
    "sgd": {},
}
ADAM = {"beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1}
DENSE = {
    "adam": ADAM | {"amsgrad": True},
    "adamw": ADAM | {"amsgrad": True},
    "adagrad": {"initial_accumulator_value": 0.5, "epsilon": 0.1},
    "adamax": ADAM,
    "ftrl": {
        "learning_rate_power": -0.3,
        "initial_accumulator_value": 0.5,
        "l1_regularization_strength": 0.1,
        "l2_regularization_strength": 0.1,
        "l2_shrinkage_regularization_strength": 0.1,
        "beta": 0.5,
    },
    "lion": {"beta_1": 0.99, "beta_2": 0.5},
    "nadam": ADAM,
    "rmsprop": {"rho": 0.5, "momentum": 0.5, "epsilon": 0.1, "centered": True},
    "sgd": {"momentum": 0.5, "nesterov": True},
}
SCHEDULES = {
    "Constant.warm_up_steps": ({"name": "constant"}, 3),
    "Exponential.warm_up_steps": ({"name": "exponential", "decay_rate": 0.5, "decay_steps": 3}, 3),
    "Exponential.decay_rate": ({"name": "exponential", "decay_rate": 0.5, "decay_steps": 3}, 0.6),
    "Exponential.decay_steps": ({"name": "exponential", "decay_rate": 0.5, "decay_steps": 3}, 4),
    "Exponential.staircase": ({"name": "exponential", "decay_rate": 0.5, "decay_steps": 3}, True),
    "Cosine.warm_up_steps": ({"name": "cosine", "decay_steps": 3}, 3),
    "Cosine.decay_steps": ({"name": "cosine", "decay_steps": 3}, 4),
    "Cosine.alpha": ({"name": "cosine", "decay_steps": 3}, 0.5),
}


def named_cases(table):
    return [(name, option, value) for name, own in table.items() for option, value in own.items()]


def case_id(value):
    return value if isinstance(value, str) else None


def values(variables):
    return [np.asarray(v).tobytes() for v in variables]


def weighed(options):
    import tensorflow as tf

    from model.weighting import WEIGHTING

    params = ModelConfig.parse({"weighting": options}, "model").weighting
    names = ["a", "b", "c"]
    params.check(names)
    weighting, found = WEIGHTING[params.name](params, names), []
    for step in range(6):
        found.append(weighting.current())
        losses = tf.constant([1.0, 2.0 / (1 + step), 3.0])
        gradients = [
            [tf.constant(g)] for g in ([1.0, -0.9, 0.5], [-0.8, 1.0, 0.5], [-0.5, -0.4, -1.0])
        ]
        if params.needs_task_gradients:
            found.append(weighting.balance(gradients, losses))
        present = tf.ones([3], tf.bool)
        slopes = weighting.trained_gradients(losses, present, replicas=1)
        for variable, slope in zip(weighting.trained, slopes, strict=True):
            variable.assign_sub(0.1 * slope)
        weighting.advance(losses, present)
    return values(found)


WEIGHTING_CASES = [
    (name, base, option, value)
    for name, (base, own) in WEIGHTINGS.items()
    for option, value in own.items()
]


@pytest.mark.parametrize(("name", "base", "option", "value"), WEIGHTING_CASES, ids=case_id)
def test_a_weighting(name, base, option, value):
    differs(weighed, {"name": name} | base, {option: value})


GRADIENTS = [[1.0, -0.5], [0.1, -0.5], [0.01, 0.3]]


def updated(options):
    import tensorflow as tf

    from model.optimizers import RULES as BY_NAME

    params = TrainConfig.parse({"embedding_optimizer": options}, "train").embedding_optimizer
    rule, w = BY_NAME[params.name](params), tf.constant([[0.5, -0.5]])
    slots = tuple(tf.fill([1, width], start) for width, start in rule.slots(2).values())
    for step, g in enumerate(GRADIENTS):
        w, slots = rule(w, slots, tf.constant([g]), tf.constant(0.1), tf.constant(step + 1.0))
    return values([w])


@pytest.mark.parametrize(("name", "option", "value"), named_cases(RULES), ids=case_id)
def test_a_rule_of_tables(name, option, value):
    differs(updated, {"name": name}, {option: value})


def optimized(options):
    import keras
    import tensorflow as tf

    from model.optimizers.dense import make_optimizer

    weights = keras.Variable([0.5, -0.5])
    optimizer = make_optimizer(DenseParams.parse(options))
    optimizer.learning_rate = 0.1
    for g in GRADIENTS:
        optimizer.apply([tf.constant(g)], [weights])
    return values([weights])


def dense_cases():
    for name, option, value in named_cases(DENSE):
        yield name, {"momentum": 0.5} if option == "nesterov" else {}, option, value
    yield from ((name, {}, "weight_decay", 0.3) for name in OPTIMIZERS if name != "ftrl")


@pytest.mark.parametrize(("name", "base", "option", "value"), list(dense_cases()), ids=case_id)
def test_a_dense_optimizer(name, base, option, value):
    differs(optimized, {"name": name} | base, {option: value})


@pytest.mark.parametrize("option", SCHEDULES)
def test_a_schedule(option):
    from model.optimizers.schedules import factor

    def factors(schedule):
        found = TrainConfig.parse({"schedule": schedule}, "train").schedule
        return values([factor(found, step) for step in range(8)])

    base, value = SCHEDULES[option]
    differs(factors, base, {option.partition(".")[2]: value})


ALIKE = {
    "weighting": (weighed, {name: base for name, (base, _) in WEIGHTINGS.items()}),
    "rule": (updated, {name: {} for name in RULES}),
    "optimizer": (optimized, {name: {} for name in DENSE}),
}


@pytest.mark.parametrize("axis", ALIKE)
def test_every_entry_differs_from_every_other(axis):
    observe, entries = ALIKE[axis]
    found = [str(observe({"name": name} | base)) for name, base in entries.items()]
    assert len(set(found)) == len(found)


def _of(params, cases):
    return {f"{params[name].__name__}.{option}" for name, option in cases}


OPTIONS = {
    *_of(WEIGHTING_PARAMS, [(name, option) for name, _, option, _ in WEIGHTING_CASES]),
    *_of(RULE_PARAMS, [(name, option) for name, option, _ in named_cases(RULES)]),
    *_of(OPTIMIZERS, [(name, option) for name, _, option, _ in dense_cases()]),
    *SCHEDULES,
    "ModelConfig.weighting",
    *("TrainConfig.optimizer", "TrainConfig.embedding_optimizer"),
}

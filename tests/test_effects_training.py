"""Every option of tasks, of training and of how a model reads features changes a weight, a loss, a
metric, a row that is read, or what a step is compiled to.
"""

import numpy as np
import pytest
from effects import changed, differs

pytestmark = pytest.mark.slow

LABELS = {
    "click": {"event": "clicks", "within": "30m"},
    "convert": {"event": "conversions", "within": "1d", "after": "click"},
    "dwell": {"event": "clicks", "value": "seconds", "after": "click"},
}
FEATURES = {
    "user": {"kind": "categorical", "buckets": 40, "dim": 4, "serve": "u1"},
    "tags": {"kind": "categorical", "buckets": 20, "dim": 2, "max_length": 3},
    "recent": {
        **{"kind": "sequence", "column": "tags", "buckets": 20, "dim": 2},
        "max_length": 2,
    },
    "pair": {
        **{"kind": "cross", "of": ["user", "tags"], "buckets": 60, "dim": 2},
        "max_length": 4,
    },
    "hour": {"kind": "time", "column": "at", "part": "hour", "dim": 3},
    "price": {"kind": "numeric"},
    "band": {"kind": "bucketized", "column": "age", "quantiles": 3, "dim": 3},
    "both": {"kind": "product", "of": ["tags", "recent"]},
}
SECTIONS = {
    "features": FEATURES,
    "labels": LABELS,
    "tasks": {
        "ctr": {"label": "click"},
        "cvr": {"label": "convert", "given": "click"},
        "dwell": {"label": "dwell", "given": "click", "loss": "huber"},
    },
    "model": {
        "sharing": {"name": "single_task", "units": [4]},
        "funnel": {"name": "independent", "tower_units": [3]},
    },
    "train": {"batch_size": 16, "steps": 4, "precision": "float32"},
}
A_STEP = {  # what a step does to weights
    "Categorical.dim": {"features.user.dim": 5},
    "Categorical.pooling": {"features.tags.pooling": "max"},
    "Sequence.dim": {"features.recent.dim": 4, "features.tags.dim": 4},
    "Sequence.pooling": {"features.recent.pooling": "sum"},
    "Cross.dim": {"features.pair.dim": 3},
    "Cross.pooling": {"features.pair.pooling": "sum"},
    "Time.dim": {"features.hour.dim": 4},
    "Numeric.missing": {"features.price.missing": 7.0},
    "Numeric.clip": {"features.price.clip": [0.0, 2.0]},
    "Numeric.transform": {"features.price.transform": "log1p"},
    "Numeric.scale": {"features.price.scale": "minmax"},
    "Bucketized.boundaries": {"features.band.quantiles": None, "features.band.boundaries": [30]},
    "Bucketized.quantiles": {"features.band.quantiles": 5},
    "Bucketized.dim": {"features.band.dim": 4},
    "Product.of": {"features.both.of": ["tags", "pair"]},
    "Task.label": {"tasks.ctr.label": "convert", "tasks.cvr": None, "tasks.dwell.given": None},
    "Task.given": {"tasks.dwell.given": None},
    "Task.label_is_joint": {"tasks.cvr.label_is_joint": True},
    "Task.positive_weight": {"tasks.ctr.positive_weight": 3.0},
    "Task.loss": {"tasks.dwell.loss": "mse"},
    "Task.huber_delta": {"tasks.dwell.huber_delta": 0.1},
    "ModelConfig.wide": {"model.wide": False},
    "SingleTaskParams.share_embeddings": {"model.sharing.share_embeddings": True},
    "TrainConfig.batch_size": {"train.batch_size": 32},
    "TrainConfig.learning_rate": {"train.learning_rate": 0.01},
    "TrainConfig.embedding_learning_rate": {"train.embedding_learning_rate": 0.02},
    "TrainConfig.wide_learning_rate": {"train.wide_learning_rate": 0.02},
    "TrainConfig.schedule": {"train.schedule": {"name": "constant", "warm_up_steps": 2}},
    "TrainConfig.clip_norm": {"train.clip_norm": 0.01},
    "TrainConfig.precision": {"train.precision": "bfloat16"},
    "TrainConfig.seed": {"train.seed": 2},
    "TableOptions.learning_rate": {"train.features.user.learning_rate": 0.5},
    "TableOptions.l2": {"train.features.user.l2": 0.5},
}


def parsed(sections):
    from features.spec import Spec
    from model.config import ModelConfig
    from model.training.config import TrainConfig

    spec = Spec.parse({key: sections[key] for key in ("features", "labels", "tasks")})
    model = ModelConfig.parse(sections["model"], "model")
    train = TrainConfig.parse(sections["train"], "train")
    model.check(spec)
    train.check(spec, wide=model.wide)
    return spec, model, train


def trainer_of(sections):
    """A trainer over the statistics of 32 raw rows, and these rows as a batch."""
    import tensorflow as tf
    from model_data import Rows, arrow, fit_training, raw_rows

    from features import arrays
    from model.training.strategy import make_strategy
    from model.training.trainer import Trainer

    spec, model, train = parsed(sections)
    columns, labels = raw_rows(32)
    encoded = arrays.encode(spec, arrow(spec, columns))
    ids = np.array([str(n) for n in range(32)])
    known = {name: labels[name] for name in spec.labels}
    fitted = fit_training(spec, Rows(encoded.ids, encoded.dense, known, None, ids))
    batch = {"ids": encoded.ids, "dense": encoded.dense} | known
    tensors = {name: tf.constant(np.asarray(value)) for name, value in batch.items()}
    tensors["ids"] = tf.cast(tensors["ids"], tf.int64)
    return Trainer(spec, model, train, fitted, make_strategy(None)), tensors


def a_step(sections):
    trainer, batch = trainer_of(sections)
    trainer.strategy.run(trainer.step, args=(batch,))
    state = trainer.model.state
    return [(name, state[name].numpy().tobytes()) for name in sorted(state)]


@pytest.mark.parametrize("option", A_STEP)
def test_a_step(option):
    differs(a_step, SECTIONS, A_STEP[option])


def names(sections):
    trainer, batch = trainer_of(sections)
    return sorted(trainer.model.scores(batch["ids"], batch["dense"]))


def rates(sections):
    """The learning rates on two replicas."""
    trainer, _ = trainer_of(sections)
    trainer.updates.replicas = 2
    return trainer.learning_rates


def compiled(sections):
    """What a step is computed with: the backward pass is a compiled function or a plain one."""
    trainer, _ = trainer_of(sections)
    return trainer.mode, trainer.backward._compiled == trainer.backward._differentiate


def length(sections):
    return parsed(sections)[2].total_steps(320)


def measured(sections):
    from model.evaluation.metrics import evaluate

    spec, _, _ = parsed(sections)
    p = np.linspace(0.1, 0.9, 8)
    label = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    scores = {"p_ctr": p, "p_cvr": p, "p_ctcvr": p * p, "y_dwell": p}
    found = evaluate(spec, scores, {"click": label, "convert": label, "dwell": p})
    return [(name, found["ctr"][name]) for name in ("precision", "recall", "accuracy")]


def held_out(sections):
    """The share that is held out, and the calibration that is fitted on it."""
    from features.fitted import Outcome
    from model.calibration import fit_all
    from model.objectives.base_rates import BaseRates
    from model.training.defaults import suited

    spec, _, train = parsed(sections)
    often = [
        Outcome(states=dict.fromkeys(LABELS, known), rows=9000, weight=9000.0) for known in (0, 1)
    ]
    found = suited(train, 18_000, BaseRates(spec, often), lambda share: int(share * 18_000), 40)
    p = np.linspace(0.1, 0.9, 80)
    label = (np.arange(80) % 3 == 0).astype(int)
    maps = fit_all(spec, {"p_ctr": p}, {"click": label})
    return found.held_out, found.train.early_stop, {name: str(m) for name, m in maps.items()}


OTHERS = {
    "Task.joint": (names, {"tasks.cvr.joint": "bought"}),
    "Task.threshold": (measured, {"tasks.ctr.threshold": 0.3}),
    "Task.calibrate": (held_out, {"tasks.ctr.calibrate": "platt"}),
    "TrainConfig.early_stop": (held_out, {"train.early_stop": True}),
    "TrainConfig.held_out": (held_out, {"train.held_out": 0.2}),
    "TrainConfig.steps": (length, {"train.steps": 5}),
    "TrainConfig.epochs": (length, {"train.steps": None, "train.epochs": 3}),
    "TrainConfig.scale_learning_rate": (rates, {"train.scale_learning_rate": "linear"}),
    "TrainConfig.xla": (compiled, {"train.xla": True}),
}


@pytest.mark.parametrize("option", OTHERS)
def test_other_observables(option):
    observe, changes = OTHERS[option]
    early = {"train.early_stop": True} if option == "TrainConfig.held_out" else {}
    differs(observe, changed(SECTIONS, early), changes)


def test_shuffle_buffer(tmp_path):
    import tensorflow as tf
    from model_data import make_spec, write_data

    from model.data.input import Data
    from model.training.config import TrainConfig

    data = Data(write_data(tmp_path), make_spec())

    def order(train):
        found = TrainConfig.parse(train, "train")
        make = data.train_input(batch_size=16, shuffle_buffer=found.shuffle_buffer, seed=found.seed)
        batches = make(tf.distribute.InputContext()).take(2)
        return [row for batch in batches for row in batch["id"].numpy().tolist()]

    differs(order, {"shuffle_buffer": 50}, {"shuffle_buffer": 1})


OPTIONS = {*A_STEP, *OTHERS, "TrainConfig.shuffle_buffer"}

"""Steps of the trainer on the model of shape.py, and the matrix products that bound them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tensorflow as tf

from benchmarks import machine, shape
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.ranking import RankingModel
from model.training.config import TrainConfig
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

MMOE = {
    "sharing": {"name": "mmoe", "experts": shape.EXPERTS, "expert_units": shape.EXPERT_UNITS},
    "funnel": {"name": "independent", "tower_units": shape.TOWER_UNITS},
    "wide": False,  # as the peers' models
}
FLOAT32 = {"precision": "float32", "xla": False}
COMPILED = {"precision": "float32", "xla": True}
BEST = {"precision": "auto"}


def make_spec(rows_per_table: int) -> Spec:
    """26 categorical and 13 numeric features; both tasks on all rows, as the peers train them."""
    categorical = {"kind": "categorical", "buckets": rows_per_table, "dim": shape.DIM}
    return Spec.parse(
        {
            "features": {f"c{i}": categorical for i in range(shape.CATEGORICAL)}
            | {f"n{i}": {"kind": "numeric"} for i in range(shape.NUMERIC)},
            "labels": {task: {"column": f"label_{task}"} for task in shape.TASKS},
            "tasks": {task: {"label": task} for task in shape.TASKS},
        }
    )


def plain(spec: Spec) -> Fitted:
    """Numbers as they are."""
    return Fitted(moments=dict.fromkeys(spec.numeric, (0.0, 1.0)))


def in_memory(rows_per_table: int) -> tf.data.Dataset:
    """Endless batches as model.data.input parses them."""
    ids, dense, labels = shape.draw(rows_per_table)
    columns = {"ids": ids, "dense": dense} | {
        task: labels[..., i] for i, task in enumerate(shape.TASKS)
    }
    return tf.data.Dataset.from_tensor_slices(columns).repeat().prefetch(2)


def make_trainer(rows_per_table: int, *, wide: bool = False, **train: object) -> Trainer:
    """On one device; `train` are settings of TrainConfig."""
    spec, config = make_spec(rows_per_table), TrainConfig.parse({"batch_size": shape.BATCH} | train)
    return Trainer(
        spec, ModelConfig.parse(MMOE | {"wide": wide}), config, plain(spec), make_strategy(None)
    )


def stepper(trainer: Trainer, dataset: tf.data.Dataset, steps: int) -> Callable[[], float]:
    """Seconds a step, over `steps` of the trainer's, once it is warm."""
    batches = iter(dataset)
    trainer.steps(batches, tf.constant(shape.WARM_UP, tf.int64))
    count = tf.constant(steps, tf.int64)
    return lambda: machine.seconds(lambda: trainer.steps(batches, count).losses.numpy()) / steps


def products(
    kernels: Iterable[tuple[list[int], list[int]]], steps: int, dtype: tf.DType = tf.float32
) -> Callable[[], float]:
    """Seconds of a step's dense matrix products alone: for each x·W of the forward pass, x [.., B,
    in] and W [.., in, out], also xᵀ·dy and dy·Wᵀ. bfloat16 weights are cast from float32 in every
    step, as the trainer's are.
    """
    pairs = [
        (tf.random.normal(x), tf.random.normal(w), tf.random.normal([*x[:-1], w[-1]]))
        for x, w in kernels
    ]
    operands = [(tf.cast(x, dtype), w, tf.cast(dy, dtype)) for x, w, dy in pairs]

    @tf.function
    def run(operands: list[tuple[tf.Tensor, ...]]) -> list[tf.Tensor]:
        cast = [(x, tf.cast(w, dtype), dy) for x, w, dy in operands]
        return [
            product
            for x, w, dy in cast
            for product in (
                tf.matmul(x, w),
                tf.matmul(x, dy, transpose_a=True),
                tf.matmul(dy, w, transpose_b=True),
            )
        ]

    def many() -> None:
        for _ in range(steps):
            run(operands)[-1].numpy()

    many()
    return lambda: machine.seconds(many) / steps


def kernels(
    model: RankingModel, spec: Spec, sequence: int = 1
) -> list[tuple[list[int], list[int]]]:
    """The shapes (x, W) of the forward pass's matrix products on one batch. Inside a loop, where
    shapes are not known, `sequence` times.
    """
    inputs = [
        tf.TensorSpec([shape.BATCH, spec.ids_width], tf.int64),
        tf.TensorSpec([shape.BATCH, spec.dense_width], tf.float32),
    ]
    graph = tf.function(model.scores).get_concrete_function(*inputs).graph
    found = []
    for function in [
        graph,
        *(
            graph._get_function(name).graph
            for name in graph._functions
            if "while" in name and "body" in name
        ),
    ]:
        for op in function.get_operations():
            if op.type in ("MatMul", "BatchMatMulV2"):
                x, w = (list(given.shape) if given.shape.rank else None for given in op.inputs)
                if w[0] == shape.BATCH:  # no layer's weights: how a row mixes its experts
                    continue
                inside = x is None or None in x
                found += [([shape.BATCH, w[-2]] if inside else x, w)] * (sequence if inside else 1)
    return found

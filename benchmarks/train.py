"""Training speed from tensors in memory: does a step depend on the tables' size, and how far is it from its matrix products?

MMoE, 26 categorical × 16 + 13 numeric, 4 experts 256-128, towers 64, batch 4096, one device. Everything runs interleaved in
one process. `vocabulary` times the trainer's steps at each table size; `of_limit` is the time of the step's dense matrix
products alone, forward and backward, over the time of the whole step.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from benchmarks import machine, shape
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.strategy import make_strategy
from model.train_config import TrainConfig
from model.trainer import Trainer

LIMIT = "matrix products"


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


def make_batches(rows_per_table: int) -> tf.data.Dataset:
    """Endless batches as model.input parses them."""
    ids, dense, labels = shape.draw(rows_per_table)
    columns = {"ids": ids, "dense": dense} | {task: labels[..., i] for i, task in enumerate(shape.TASKS)}
    return tf.data.Dataset.from_tensor_slices(columns).repeat().prefetch(2)


def stepper(rows_per_table: int, steps: int) -> Callable[[], float]:
    """Seconds a step, over `steps` of the trainer's."""
    spec = make_spec(rows_per_table)
    config = ModelConfig.parse(
        {
            "sharing": {"name": "mmoe", "experts": shape.EXPERTS, "expert_units": shape.EXPERT_UNITS},
            "funnel": {"name": "independent", "tower_units": shape.TOWER_UNITS},
        }
    )
    fitted = Fitted(moments=dict.fromkeys(spec.numeric, (0.0, 1.0)))
    trainer = Trainer(spec, config, TrainConfig(batch_size=shape.BATCH), fitted, make_strategy(None))
    batches = iter(make_batches(rows_per_table))
    trainer.steps(batches, tf.constant(shape.WARM_UP, tf.int64))
    count = tf.constant(steps, tf.int64)
    return lambda: machine.seconds(lambda: [loss.numpy() for loss in trainer.steps(batches, count).values()]) / steps


def products(steps: int) -> Callable[[], float]:
    """Seconds of a step's dense matrix products alone: for each kernel x·W, xᵀ·dy and dy·Wᵀ, in float32."""
    width, (first, last), (tower,) = shape.CATEGORICAL * shape.DIM + shape.NUMERIC, shape.EXPERT_UNITS, shape.TOWER_UNITS
    tasks, rows = len(shape.TASKS), shape.BATCH
    kernels = [((rows, width), (width, shape.EXPERTS * first)), ((shape.EXPERTS, rows, first), (shape.EXPERTS, first, last))]
    kernels += [((rows, width), (width, shape.EXPERTS)), ((rows, last), (last, tower)), ((rows, tower), (tower, 1))] * tasks
    operands = [(tf.random.normal(x), tf.random.normal(w), tf.random.normal((*x[:-1], w[-1]))) for x, w in kernels]

    @tf.function
    def run(operands: list[tuple[tf.Tensor, ...]]) -> list[tf.Tensor]:
        return [
            product
            for x, w, dy in operands
            for product in (tf.matmul(x, w), tf.matmul(x, dy, transpose_a=True), tf.matmul(dy, w, transpose_b=True))
        ]

    def many() -> None:
        for _ in range(steps):
            run(operands)[-1].numpy()

    many()
    return lambda: machine.seconds(many) / steps


def measure(sizes: list[int], steps: int, rounds: int, only: str | None) -> tuple[list[list[str]], dict[str, float]]:
    """(table, result). The smallest table size is what the others and the limit are compared with."""
    smallest = min(sizes)
    wanted = [smallest] if only == "of_limit" else sizes
    measured = {shape.size_label(size): stepper(size, steps) for size in wanted}
    if only != "vocabulary":
        measured[LIMIT] = products(steps)
    times = machine.interleave(measured, rounds)
    result, base = {}, times[shape.size_label(smallest)]
    table = [["", "ms a step", "rows/s", "× the time of " + shape.size_label(smallest)]]
    for name, seconds in times.items():
        relative = machine.ratio(seconds, base)
        table.append([name, f"{1000 * median(seconds):.1f}", f"{shape.BATCH / median(seconds):,.0f}", f"{relative:.3f}"])
        if name == LIMIT:
            result["of_limit"] = relative
            continue
        result[f"rows_per_second_{name}"] = shape.BATCH / median(seconds)
        if name != shape.size_label(smallest):
            result[f"vocabulary_{name}"] = relative
    return table, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python benchmarks/train.py --only of_limit",
    )
    parser.add_argument(
        "--rows-per-table", type=int, nargs="+", default=[10_000, 400_000], metavar="N", help="table sizes (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=20, help="steps of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--only", choices=["vocabulary", "of_limit"], help="one measurement instead of both")
    parser.add_argument("--quick", action="store_true", help="one round of three steps: shows that it runs, measures nothing")
    arguments = parser.parse_args()
    steps, rounds = (3, 1) if arguments.quick else (arguments.steps, arguments.rounds)
    machine.finish(*measure(arguments.rows_per_table, steps, rounds, arguments.only))


if __name__ == "__main__":
    main()

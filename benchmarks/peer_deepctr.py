"""Rows/s of DeepCTR's MMOE under Keras' Adam. Runs in DeepCTR's own environment; the last line is
JSON.

Without DeepCTR's default L2 on the embeddings, which would read the whole tables at every step:
ours has none either.
"""

from __future__ import annotations

import json
import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import shape
import tensorflow as tf
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import MMOE


class Timer(tf.keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds = time.perf_counter() - self.start


def make_model(rows_per_table: int) -> tf.keras.Model:
    """The model of benchmarks/shape.py, compiled."""
    columns = [SparseFeat(f"c{i}", rows_per_table, shape.DIM) for i in range(shape.CATEGORICAL)]
    columns += [DenseFeat(f"n{i}", 1) for i in range(shape.NUMERIC)]
    model = MMOE(
        columns,
        num_experts=shape.EXPERTS,
        expert_dnn_hidden_units=tuple(shape.EXPERT_UNITS),
        tower_dnn_hidden_units=tuple(shape.TOWER_UNITS),
        l2_reg_embedding=0,
        task_names=shape.TASKS,
    )
    model.compile("adam", loss=["binary_crossentropy"] * len(shape.TASKS))
    return model


def main() -> None:
    arguments = shape.worker_arguments(__doc__)
    ids, dense, labels = shape.draw(arguments.rows_per_table)
    inputs = {f"c{i}": ids[..., i] for i in range(shape.CATEGORICAL)} | {
        f"n{i}": dense[..., i] for i in range(shape.NUMERIC)
    }
    targets = {task: labels[..., i] for i, task in enumerate(shape.TASKS)}
    batches = tf.data.Dataset.from_tensor_slices((inputs, targets)).repeat().prefetch(2)
    model, timer = make_model(arguments.rows_per_table), Timer()
    model.fit(batches, steps_per_epoch=shape.WARM_UP, verbose=0)
    model.fit(batches, steps_per_epoch=arguments.steps, verbose=0, callbacks=[timer])
    print(json.dumps({"rows_per_second": arguments.steps * shape.BATCH / timer.seconds}))


if __name__ == "__main__":
    main()

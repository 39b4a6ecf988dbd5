"""Peak memory of a training in a process of its own, beside its tables and their slots; the last
line is JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from benchmarks import machine, shape
from benchmarks.train_steps import in_memory, make_trainer
from model.estimator.checkpoints import Checkpoints


def size(variables: list[tf.Variable]) -> int:
    return sum(v.dtype.size * v.shape.num_elements() for v in variables)


def main() -> None:
    """Trains and saves one checkpoint, in the foreground."""
    arguments = shape.worker_arguments(__doc__)
    trainer = make_trainer(arguments.rows_per_table)
    batches = iter(in_memory(arguments.rows_per_table))
    trainer.steps(batches, tf.constant(arguments.steps, tf.int64))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(
            Path(folder), trainer.state, keep=1, background=False, worker=0, workers=1
        )
        checkpoints.save(arguments.steps, batches, trainer.barrier)
        checkpoints.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tables = size([table.variable for table in trainer.model.tables])
    slots = size([slot for own in trainer.updates.table_optimizer.slots for slot in own.values()])
    print(
        json.dumps(
            {
                name: value / machine.GIB
                for name, value in (("peak", peak), ("tables", tables), ("slots", slots))
            }
        )
    )


if __name__ == "__main__":
    main()

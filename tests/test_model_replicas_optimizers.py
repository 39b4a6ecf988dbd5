"""One, two and four replicas train alike with every optimizer. Devices are fixed before TensorFlow
starts, so this file runs itself.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_train
from pairs import config_of, spec_of
from test_model_replicas import FITTED, batches

from model.optimizers import RULES
from model.optimizers.dense import KINDS
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

STEPS = 10
COURSES = (
    {f"tables {name}": {"embedding_optimizer": name} for name in RULES}
    | {f"dense {name}": {"optimizer": name} for name in KINDS}
    | {
        # It divides differences of square roots by the rate, and so their rounding.
        "dense ftrl": {"optimizer": "ftrl", "learning_rate": 0.05},
        "clipping": {"clip_norm": 0.05},
        "clipping, batch norm, warm-up": {
            "clip_norm": 0.05,
            "schedule": {"name": "cosine", "decay_steps": 20, "warm_up_steps": 3},
        },
        "rates by feature": {
            "features": {"user": {"learning_rate": 0.2, "l2": 0.01}, "tags": {"l2": 0.1}}
        },
        "xla": {"xla": True},
        "float16": {"precision": "float16"},
        "bfloat16": {"precision": "bfloat16"},
    }
)
SCALED = {"scale_learning_rate": "linear"}


def trainer_of(name: str, devices: int | None, **more: object) -> Trainer:
    options = {"normalize": "batch"} if "batch norm" in name else {}
    settings = make_train(**({"batch_size": 8, "learning_rate": 0.001} | COURSES[name] | more))
    return Trainer(
        spec_of("esmm"),
        config_of("mmoe", "esmm", **options),
        settings,
        FITTED,
        make_strategy(devices),
    )


def course(name: str, devices: int | None, steps: int, **more: object) -> dict[str, np.ndarray]:
    """Every variable after `steps` over batches whose sample spaces lie unevenly, one of them
    without clicks.
    """
    trainer, parts = trainer_of(name, devices, **more), list(batches())
    rows = tf.data.Dataset.from_tensor_slices(
        {key: tf.stack([b[key] for b in parts]) for key in parts[0]}
    ).repeat()
    trainer.steps(iter(rows), tf.constant(steps, tf.int64))
    return {key: variable.numpy() for key, variable in trainer.state.items()}


def gradients(name: str, devices: int | None) -> list[np.ndarray]:
    """The gradients of each batch, of tables and of dense weights, added up over replicas; [] where
    the optimizer alone is new, which they precede.
    """
    if name.startswith(("tables", "dense")) and name != "tables lazy_adam":
        return []
    trainer = trainer_of(name, devices)

    def of_replica(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        _, tables, dense = trainer.gradients(trainer._slice(batch, replica))
        return replica.all_reduce(
            tf.distribute.ReduceOp.SUM, [*map(tf.convert_to_tensor, tables), *dense]
        )

    added_up = tf.function(lambda batch: trainer.strategy.run(of_replica, [batch]))
    local = trainer.strategy.experimental_local_results
    return [local(g)[0].numpy() for batch in batches() for g in added_up(batch)]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, of the largest magnitude where that is above 1."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.abs(a - b).max() / max(1, np.abs(a).max()))


def main(devices: int, steps: int, names: list[str]) -> None:
    """Prints {name: {"weights", "gradients": the largest difference of replicas from one}}."""
    # Graphs of a few steps cost more to optimize than to run.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.get_logger().setLevel("ERROR")  # MirroredStrategy warns that eager steps are slow
    found = {}
    for name in names:
        # Eager steps do the same arithmetic without tracing, which takes most of the time.
        tf.config.run_functions_eagerly(name != "xla")
        many, one = (course(name, count, steps) for count in (devices, None))
        slopes = gradients(name, devices), gradients(name, None)
        found[name] = {
            "weights": max(apart(one[key], many[key]) for key in one),
            "gradients": max((apart(a, b) for a, b in zip(*slopes, strict=True)), default=0.0),
        }
    rates = {"learning_rate": 0.001 * devices, "embedding_learning_rate": 0.05 * devices}
    scaled = course("tables sgd", devices, 1, **SCALED), course("tables sgd", None, 1, **rates)
    found["scaled"] = {"weights": max(apart(scaled[0][key], scaled[1][key]) for key in scaled[0])}
    print(json.dumps(found))


def compare(names: list[str], devices: int, steps: int) -> dict:
    path = os.pathsep.join(p for p in sys.path if p)
    command = [sys.executable, __file__, str(devices), str(steps), *names]
    env = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def bounds(name: str) -> tuple[float, float]:
    """Of weights and of gradients. bfloat16 has three digits and float16 four, and each replica
    rounds its own sums.
    """
    return {"bfloat16": (2e-2, 2e-2), "float16": (2e-3, 2e-3)}.get(name, (1e-5, 1e-6))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_train_alike(devices):
    found = compare(list(COURSES), devices, STEPS)
    late = {name: found[name] for name in COURSES if not found[name]["weights"] <= bounds(name)[0]}
    assert late == {}
    assert {
        name: found[name] for name in COURSES if not found[name]["gradients"] <= bounds(name)[1]
    } == {}
    assert found["scaled"]["weights"] <= 1e-6  # linear: the learning rates times the replicas


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

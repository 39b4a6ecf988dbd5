"""Two replicas weigh the objectives as one does, and take its step. Runs itself as a script, as
test_model_replicas.py does.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from model_data import SMALL, make_train
from pairs import spec_of
from test_model_replicas import FITTED, batches

from model.config import ModelConfig
from model.training.strategy import make_strategy
from model.training.trainer import Trainer
from model.weighting import WEIGHTING

OPTIONS = {
    "decay": {"gamma": {"ctr": 0.5}},
    "dwa": {"period": 1},
    "pareto": {"at_least": {"ctr": 0.1}},
}
COURSES = [f"{weighting}-esmm" for weighting in WEIGHTING] + [
    "uncertainty-aitm",
    "pareto-aitm",
    "pcgrad-aitm",
]  # with a penalty


def course(weighting: str, funnel: str, devices: int | None) -> list[dict[str, np.ndarray]]:
    """The losses and every variable after each batch; replicas have uneven sample spaces."""
    table = {"name": weighting} | OPTIONS.get(weighting, {})
    config = ModelConfig.parse(
        {"sharing": {"name": "mmoe"} | SMALL["mmoe"], "funnel": funnel, "weighting": table}
    )
    trainer = Trainer(
        spec_of(funnel), config, make_train(batch_size=8), FITTED, make_strategy(devices)
    )
    parts, result = list(batches()), []
    rows = iter(
        tf.data.Dataset.from_tensor_slices(
            {name: tf.stack([b[name] for b in parts]) for name in parts[0]}
        )
    )
    for _ in parts:
        losses = trainer.steps(rows, tf.constant(1, tf.int64))
        state = {name: v.numpy().copy() for name, v in trainer.state.items()}
        result.append({"losses": losses.losses.numpy()} | state | trainer.objective_weights)
    return result


def difference(one: np.ndarray, two: np.ndarray) -> float:
    """An accumulator of sums over the batch comes to 5 and more, where float32 itself steps by
    5e-7.
    """
    return float((np.abs(one - two) / np.maximum(np.abs(one), 1)).max())


def main(names: list[str]) -> None:
    """Prints {weighting-funnel: the largest difference after any batch, relative where a value is
    above 1}.
    """
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )  # a quarter of the time
    found = {}
    for name in names:
        two, one = (course(*name.split("-"), devices) for devices in (2, None))
        found[name] = max(difference(a[n], b[n]) for a, b in zip(one, two, strict=True) for n in a)
    print(json.dumps(found))


def too_far(names: list[str]) -> dict[str, float]:
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, __file__, *names], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: found[name] for name in names if not found[name] <= 1e-6}


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one():
    assert too_far(COURSES) == {}


if __name__ == "__main__":
    main(sys.argv[1:])

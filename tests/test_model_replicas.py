"""Two replicas take the step of one. Devices are fixed before TensorFlow starts, so this file runs
itself as a script.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from model_data import make_train
from pairs import FAST, PAIRS, config_of, spec_of

from features.errors import FunnelError
from features.fitted import Fitted
from model.funnels import FUNNELS
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

SPEC = spec_of("esmm")
FITTED = Fitted(moments={"price": (2.0, 1.0), "age": (45.0, 15.0)})
NORMED = [
    f"{sharing}-esmm-normed"
    for sharing in ("mmoe", "shared_bottom", "asymmetric", "cross_stitch", "ple")
]  # with batch norm
COURSES = ["-".join(pair) for pair in PAIRS] + NORMED
FEW = ["-".join(pair) for pair in FAST] + NORMED[:1]  # the rest are slow
LABELS = [  # (click, convert) of 8 rows; the first replica takes the first four
    ([1, 1, 1, 0, 0, 0, 0, 0], [1, 0, -1, 0, 0, 0, 0, 0]),  # all clicks on one replica
    ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]),  # no clicks
    ([0, 1, 0, 1, -1, -1, -1, 1], [0, 1, 0, 0, -1, -1, -1, 1]),  # four known rows and one
    ([-1, -1, -1, -1, 1, 1, 0, 0], [-1, -1, -1, -1, 0, 1, 0, 0]),  # nothing known on one replica
]


def batches():
    """The literal labels with ids that occur on both replicas."""
    rng = np.random.default_rng(0)
    for click, convert in LABELS:
        ids, dense = (
            rng.integers(0, 6, [8, SPEC.ids_width]),
            rng.lognormal(3, 1, [8, SPEC.dense_width]).astype(np.float32),
        )
        labels = {
            name: np.array(label, np.int64)
            for name, label in (("click", click), ("cart", convert[::-1]), ("convert", convert))
        }
        yield {name: tf.constant(v) for name, v in ({"ids": ids, "dense": dense} | labels).items()}


def course(pair: str, devices: int | None) -> list[dict[str, np.ndarray]]:
    """The losses and every weight, optimizers' too, after each batch."""
    sharing, funnel, *normed = pair.split("-")
    settings = make_train(batch_size=8)
    options = {"normalize": "batch"} if normed else {}
    trainer = Trainer(
        spec_of(funnel),
        config_of(sharing, funnel, **options),
        settings,
        FITTED,
        make_strategy(devices),
    )
    assert trainer.strategy.num_replicas_in_sync == (devices or 1)
    datasets, result = list(batches()), []
    rows = tf.data.Dataset.from_tensor_slices(
        {name: tf.stack([b[name] for b in datasets]) for name in datasets[0]}
    )
    iterator = iter(rows)
    for _ in datasets:
        losses = trainer.steps(iterator, tf.constant(1, tf.int64)).losses
        state = {name: variable.numpy().copy() for name, variable in trainer.state.items()}
        result.append({"losses": losses.numpy()} | state)
    return result


def main(mode: str, pairs: list[str]) -> None:
    """Prints {pair: the largest difference at each batch}, and whether batch size 7 is refused.

    `mode` is "graph" or "eager". Eager steps do the same arithmetic without tracing, which takes
    two thirds of the time; the pairs of `make test` are traced.
    """
    tf.config.run_functions_eagerly(mode == "eager")
    tf.get_logger().setLevel("ERROR")  # MirroredStrategy warns that eager steps are slow
    # A quarter of the time; conformance tests have graph optimization.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    found = {}
    for pair in pairs:
        two, one = (course(pair, devices) for devices in (2, None))
        assert all(set(a) == set(b) for a, b in zip(one, two, strict=True))
        found[pair] = [max(apart(a[n], b[n]) for n in a) for a, b in zip(one, two, strict=True)]
    try:
        odd = make_train(batch_size=7)
        Trainer(SPEC, config_of("shared_bottom", "esmm"), odd, FITTED, make_strategy(2))
    except FunnelError as error:
        found["refused"] = str(error)
    print(json.dumps(found))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, of the largest magnitude where that is above 1."""
    return float(np.abs(a - b).max() / max(1, np.abs(a).max()))


def compare(mode: str, pairs: list[str]) -> dict:
    path = os.pathsep.join(p for p in sys.path if p)
    command, env = (
        [sys.executable, __file__, mode, *pairs],
        os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_equal(found: dict, pairs: list[str]) -> None:
    # A variance as E(x²) − E(x)² is rounded the more, the smaller it is, and its root divides.
    bounds = {pair: 2e-5 if pair.endswith("normed") else 1e-6 for pair in pairs}
    assert [(pair, found[pair]) for pair in pairs if not max(found[pair]) <= bounds[pair]] == []


@pytest.fixture(scope="module")
def few():
    return compare("graph", FEW)


def test_two_replicas_take_the_step_of_one(few):
    assert_equal(few, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("funnel", FUNNELS)
def test_two_replicas_take_the_step_of_one_with_every_pair(funnel):
    rest = [pair for pair in COURSES if pair not in FEW and pair.split("-")[1] == funnel]
    assert_equal(compare("eager", rest), rest)


def test_a_batch_that_does_not_divide_is_refused(few):
    assert (
        few["refused"]
        == "train.batch_size = 7 is global and must divide evenly among 2 replicas: set 6 or 8"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

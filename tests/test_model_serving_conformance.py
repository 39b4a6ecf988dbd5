"""Every sharing under every funnel, exported after each kind of training and scored by TensorFlow's
C API.

Devices are fixed before TensorFlow starts, so this file runs itself as a script.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from model_data import (
    EVERY_KIND,
    LABELS,
    TASKS,
    arrow,
    batches,
    make_spec,
    make_train,
    raw_rows,
    write_data,
)
from pairs import ACTION, CART, COURSES, config_of

from features.spec import Spec
from model.data.input import Data
from model.layers.network import NORMALIZE
from model.ranking import RankingModel
from model.serving.export import checkpoint_scores
from model.serving.graph_check import check_graph
from model.serving.loaders import c_api
from model.serving.loaders.inputs import arrays
from model.serving.requests import requests
from model.serving.saved_model import save
from model.sharing import SHARING
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

FEATURES = EVERY_KIND | {
    "visitor": {
        "kind": "categorical",
        "column": "user",
        "buckets": 40,
        "dim": 4,
    },  # hashed, beside the vocabulary of the same column
    "words": {"kind": "categorical", "column": "tags", "buckets": 20, "dim": 2, "max_length": 3},
}
MODES = {  # train.precision, and train.cpu_devices
    "float32": ("float32", None),
    "bfloat16_mirrored": ("bfloat16", 2),
}
# Every pair; the kinds of training take turns, so that each sharing and each funnel has both.
ALL = [
    (sharing, funnel, [*MODES][(i + j) % 2])
    for i, sharing in enumerate(SHARING)
    for j, funnel in enumerate(COURSES)
]


def few() -> list[tuple[str, str, str]]:
    """Every funnel after every kind of training; the sharings take turns."""
    sharings = itertools.cycle(SHARING)
    return [(next(sharings), funnel, mode) for funnel, mode in itertools.product(COURSES, MODES)]


def spec_of(funnel: str) -> Spec:
    return make_spec(
        features=FEATURES, labels=LABELS | CART, tasks=TASKS | (ACTION if funnel == "esm2" else {})
    )


def normalize_of(sharing: str, funnel: str) -> str:
    """They take turns."""
    return NORMALIZE[(list(SHARING).index(sharing) - COURSES.index(funnel)) % len(NORMALIZE)]


def main(folder: Path, cases: list[str]) -> None:
    """Prints {case: the largest difference between the C API's scores and the checkpoint's}."""
    make_strategy(2)  # fixes the devices
    found = {}
    for (sharing, funnel), own in itertools.groupby(
        (case.split("/") for case in cases), lambda case: case[:2]
    ):
        # elu, since some units of relu die
        spec, config = (
            spec_of(funnel),
            config_of(sharing, funnel, activation="elu", normalize=normalize_of(sharing, funnel)),
        )
        data, served = Data(folder / "data", spec), None
        batch = next(iter(batches(data, 16)))
        rows = pa.table(
            arrow(spec, raw_rows(60, seed=9)[0])
        )  # values that training has not seen among them
        for _, _, mode in own:
            precision, devices = MODES[mode]
            trainer = Trainer(
                spec,
                config,
                make_train(batch_size=16, precision=precision),
                data.fitted,
                make_strategy(devices),
            )
            assert (trainer.replicas, trainer.mode.precision) == (devices or 1, precision)
            trainer.strategy.run(trainer.step, args=(batch,))
            if mode == "float32":
                served = trainer.model  # what a server computes in, on one device
            else:
                served = served or RankingModel(spec, config, data.fitted, seed=9)
                hand_over(trainer.model, served, folder / "checkpoint")
            path = folder / f"{sharing}-{funnel}-{mode}"
            save(served, path)
            check_graph(path)
            found[f"{sharing}/{funnel}/{mode}"] = difference(
                path, spec, rows, checkpoint_scores(served, rows)
            )
    print(json.dumps(found))


def hand_over(trained: RankingModel, served: RankingModel, path: Path) -> None:
    """Gives what was trained to the model that is served, by a checkpoint."""
    trained, served = (
        {name.replace("/", "|"): v for name, v in model.state.items()}
        for model in (trained, served)
    )
    written = tf.train.Checkpoint(**trained).write(str(path))
    tf.train.Checkpoint(**served).read(written).assert_consumed()


def difference(path: Path, spec: Spec, rows: pa.Table, expected: dict[str, np.ndarray]) -> float:
    with c_api.Model(str(path)) as model:
        answers = [
            model.run(signature, inputs)
            for signature, inputs in arrays(requests(spec, rows)).items()
        ]
    assert len(answers) == 2
    for scores in answers:
        assert set(scores) == set(expected)
        assert len(set(zip(*scores.values(), strict=True))) > 10  # they are of the rows
    return max(
        float(np.abs(scores[name] - p).max()) for scores in answers for name, p in expected.items()
    )


def exported(folder: Path, cases: list[tuple[str, str, str]]) -> dict[str, float]:
    path = os.pathsep.join(p for p in sys.path if p)
    command = [sys.executable, __file__, str(folder), *map("/".join, cases)]
    env = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    write_data(folder, spec_of("esmm"), labels={"cart": 1})
    return folder


def assert_equal(found: dict[str, float], cases: list[tuple[str, str, str]]) -> None:
    assert set(found) == set(map("/".join, cases))
    assert {case: apart for case, apart in found.items() if not apart <= 1e-6} == {}


def test_every_sharing_and_every_funnel_after_every_kind_of_training(folder):
    assert {sharing for sharing, _, _ in few()} == set(SHARING)
    assert {normalize_of(sharing, funnel) for sharing, funnel, _ in few()} == set(NORMALIZE)
    assert_equal(exported(folder, few()), few())


@pytest.mark.slow
@pytest.mark.parametrize("sharing", SHARING)
def test_every_architecture(folder, sharing):
    assert {(s, mode) for s, _, mode in ALL} == {*itertools.product(SHARING, MODES)}
    assert {(funnel, mode) for _, funnel, mode in ALL} == {*itertools.product(COURSES, MODES)}
    cases = [case for case in ALL if case[0] == sharing]
    assert_equal(exported(folder, cases), cases)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Two replicas of one process are killed, go on, and start warm. Devices are fixed before
TensorFlow starts, so this file runs itself.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from model_data import make_estimator, make_model, make_spec, write_data
from pairs import config_of, spec_of
from test_model_estimator import assert_equal, weights

from model.estimator.estimator import RankingEstimator
from model.estimator.warm_start import WarmStart
from model.funnels import FUNNELS

SETTINGS = {
    "steps": 20,
    "checkpoint_every": 7,
    "log_every": 7,
    "cpu_devices": 2,
    "embedding_optimizer": "lazy_adam",
}


def run(folder: Path, **options: object):
    model = make_model("mmoe", dropout=0.2, normalize="batch")  # random states and moving averages
    return make_estimator(folder, model=model, async_checkpoints=True, **SETTINGS, **options)


def killed(folder: Path) -> None:
    """Trains until the report of step 14, before its checkpoint is written, when that of 7 is
    whole.
    """

    def kill(progress):
        while progress.step == 14:
            if (folder / "model/checkpoints/checkpoint").exists():  # the list, which follows it
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)

    run(folder).train(kill)


def resumed(folder: Path) -> None:
    seen = []
    trained = run(folder).train(lambda progress: seen.append(progress.step))
    print(json.dumps([trained.ended, seen]))


def whole(folder: Path) -> None:
    for funnel in FUNNELS:  # to check a configuration fixes no devices
        config_of("mmoe", funnel).check(spec_of(funnel))
    print(json.dumps(run(folder).train().ended))


def warm(folder: Path) -> None:
    """Begins where the run in folder ended, with its weights on every replica."""
    said: list[str] = []
    new = run(folder.with_name("warm"), warm_start=WarmStart(folder / "model"), warn=said.append)
    RankingEstimator.train(new, new.train_input, steps=0)
    trainer, began = new._session.trainer, run(folder).load().state
    copies = {
        name: [v.numpy() for v in trainer.strategy.experimental_local_results(trainer.state[name])]
        for name in began
    }
    apart = max(
        float(np.abs(copy - began[name].numpy()).max())
        for name, several in copies.items()
        for copy in several
    )
    new.train()
    print(
        json.dumps(
            [
                {len(several) for several in copies.values()} == {2},
                len(copies) > 20,
                apart,
                new.latest_step(),
                said,
            ]
        )
    )


def state(folder: Path) -> dict[str, np.ndarray]:
    return weights(run(folder))


def process(what: str, folder: Path) -> subprocess.CompletedProcess:
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run(
        [sys.executable, __file__, what, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )


def answer(what: str, folder: Path) -> object:
    done = process(what, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_and_resumed_is_undisturbed_and_a_start_for_another(tmp_path):
    for name in ("whole", "killed", "warm"):
        write_data(tmp_path / name, make_spec())
    assert answer("whole", tmp_path / "whole") == "steps"
    assert process("killed", tmp_path / "killed").returncode == -signal.SIGKILL
    assert answer("resumed", tmp_path / "killed") == ["steps", [14, 20]]
    expected, found = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert len(expected) > 30
    assert_equal(expected, found)
    assert answer("warm", tmp_path / "killed") == [True, True, 0.0, 20, []]


if __name__ == "__main__":
    {"whole": whole, "killed": killed, "resumed": resumed, "warm": warm}[sys.argv[1]](
        Path(sys.argv[2])
    )

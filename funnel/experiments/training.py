"""One training of a configuration, for its predictions on the eval split; nothing else is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from funnel.config.config import Config
from funnel.stages.interrupted import Interrupted
from funnel.stages.training import Run
from model.training.defaults import RULE
from model.training.interrupts import Interrupts

# Otherwise the machine decides, and results of two machines differ.
SAME_NUMBERS = ["train.precision=float32", "train.xla=false"]


def train(config: Config, data: Path) -> dict[str, np.ndarray]:
    """The eval split's {"id", "p_<name>" of each task and joint, each label}, [rows] each, after a
    training on `data`.

    Raises:
        Interrupted: SIGTERM or SIGHUP came.
    """
    keras.backend.clear_session()  # frees the graphs of earlier trainings
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, data, Path(folder))
        with Interrupts() as interrupts:
            trained = run.estimator.train(run.train_input, max_steps=run.max_steps)
            if trained.ended == "signal":  # half a training measures nothing
                raise Interrupted(trained.step, interrupts.number)
        return run.estimator.predict(run.eval_input)


def options(config: Config) -> dict[str, Any]:
    """All that a training's result depends on except its seed and its rows, as
    {"section.key": value}; features by their fingerprint.
    """
    train = config.train.model_dump(mode="json", exclude_none=True, exclude={"seed"})
    model = config.model.model_dump(mode="json", exclude_none=True)
    found = {"spec": config.spec.fingerprint}
    return found | flat("model", model) | flat("train", train | {"rule": RULE})


def flat(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """A nested section as one level.

    Example:
        >>> flat("model", {"a": {"b": 1}})
        {'model.a.b': 1}
    """
    found: dict[str, Any] = {}
    for key, value in section.items():
        nested = isinstance(value, Mapping)
        found |= flat(f"{name}.{key}", value) if nested else {f"{name}.{key}": value}
    return found

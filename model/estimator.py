"""The outer loop: data directory in, checkpoints and metrics out. Files only; the tensors are the trainer's."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model import metrics
from model.config import ModelConfig, TrainConfig
from model.gates import GateSums, alarms
from model.input import Data
from model.ranking import RankingModel
from model.trainer import Trainer, make_strategy

Progress = Callable[[int, int, dict[str, float]], None]


class RankingEstimator:
    """Trains, evaluates and predicts from a preprocessed directory, in the manner of tf.estimator.

    `model_dir` receives checkpoints/, metrics.jsonl and model.json, which says what the checkpoints are of. A directory
    whose model.json says otherwise is refused with a FunnelError. `anew`: whatever is there is replaced, once a new training
    is ready to begin.
    """

    def __init__(self, spec: Spec, model: ModelConfig, train: TrainConfig, data_dir: Path, model_dir: Path, *, anew: bool = False) -> None:
        self.spec, self.config, self.train_config = spec, model, train
        self.data, self.model_dir, self.anew = Data(data_dir, spec), model_dir, anew
        self.fitted = self.data.fitted if anew else self._identify()

    @property
    def checkpoint_dir(self) -> Path:
        return self.model_dir / "checkpoints"

    def train(self, on_progress: Progress | None = None) -> dict[str, float]:
        """Trains to the configured number of steps, from the latest checkpoint if there is one; returns the last losses.

        The checkpoint holds the model, the optimizers, the step and the position in the input: a training that was
        interrupted ends with the weights of one that was not.
        """
        settings = self.train_config
        trainer = Trainer(self.spec, self.config, settings, self.fitted, make_strategy(settings.cpu_devices))
        if self.anew:
            shutil.rmtree(self.model_dir, ignore_errors=True)
        self._check_resumable()
        self._write_identity()
        batches = iter(self.data.train(settings.batch_size, settings.shuffle_buffer, settings.seed))
        step = tf.Variable(0, dtype=tf.int64, trainable=False)
        manager = self._manager(tf.train.Checkpoint(state=_tracked(trainer.state), step=step, batches=batches))
        if manager.latest_checkpoint:
            manager.checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        self._forget_after(int(step))
        total, losses = settings.total_steps(self.data.rows("train")), {}
        while int(step) < total:
            until = min(_next(int(step), settings.log_every), _next(int(step), settings.checkpoint_every), total)
            means = trainer.steps(batches, tf.constant(until - int(step), tf.int64))
            step.assign(until)
            losses = {name: float(loss) for name, loss in means.items()}
            self._check_finite(until, losses)
            self._log({"step": until, "loss": losses, "weight": trainer.objective_weights})
            if on_progress:
                on_progress(until, total, losses)
            if until % settings.checkpoint_every == 0 or until == total:
                manager.save(until)
        return losses

    def load(self) -> RankingModel:
        """The model of the latest checkpoint, on one device. Raises FunnelError when there is none."""
        path = tf.train.latest_checkpoint(self.checkpoint_dir)
        if path is None:
            raise FunnelError(f"{self.checkpoint_dir}: holds no checkpoint; run `funnel train` first")
        model = RankingModel(self.spec, self.config, self.fitted, self.train_config.seed)
        tf.train.Checkpoint(state=_tracked(model.state)).restore(path).assert_existing_objects_matched().expect_partial()
        return model

    def predict(self) -> dict[str, np.ndarray]:
        """Scores of the eval split: {"id", "p_<name>" of each task and joint, "y_<name>" of numbers, each label}, [rows] each."""
        model = self.load()
        score = tf.function(lambda batch: model.scores(batch["ids"], batch["dense"]))
        kept = ["id", *self.spec.labels]
        batches = [{k: batch[k] for k in kept} | score(batch) for batch in self.data.evaluation(self.train_config.batch_size)]
        return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}

    def evaluate(self) -> dict[str, dict[str, float | None]]:
        """Metrics of the latest checkpoint on the eval split, by task and joint."""
        return self.measure(self.predict())

    def measure(self, predictions: dict[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
        """Metrics of what `predict` returned."""
        results = metrics.evaluate(self.spec, predictions, predictions)
        self._log({"evaluation": results})
        (self.model_dir / "reliability.json").write_text(json.dumps(metrics.reliability(self.spec, predictions, predictions)) + "\n")
        return results

    def gates(self) -> dict[str, Any]:
        """What the latest checkpoint's gates do on the eval split, and alarms: {"gates": {"level_<l>/<head>": {"weights": {expert: mean},
        "entropy": mean}}, "alarms": [lines]}; model/gates.json holds it too. Without gates both are empty.
        """
        model = self.load()
        sums = GateSums(model.gated_experts)
        if sums.experts:
            weigh = tf.function(lambda batch: model.gate_weights(batch["ids"], batch["dense"]))
            for batch in self.data.evaluation(self.train_config.batch_size):
                sums.add({gate: weights.numpy() for gate, weights in weigh(batch).items()})
            self._log({"gates": sums.summary()})
        found = {"gates": sums.summary(), "alarms": alarms(sums.summary())}
        (self.model_dir / "gates.json").write_text(json.dumps(found, indent=1) + "\n")
        return found

    def _manager(self, checkpoint: tf.train.Checkpoint) -> tf.train.CheckpointManager:
        return tf.train.CheckpointManager(checkpoint, str(self.checkpoint_dir), max_to_keep=self.train_config.keep_checkpoints)

    def _log(self, line: dict) -> None:
        with (self.model_dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _check_finite(self, step: int, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise FunnelError(
                    f"training diverged: the loss of {name} is {loss} before step {step}; lower train.learning_rate = "
                    f"{self.train_config.learning_rate} or train.embedding_learning_rate = {self.train_config.embedding_learning_rate}"
                )

    def _forget_after(self, step: int) -> None:
        """Takes from the log what an interrupted training did after its last checkpoint: it will be done again."""
        path = self.model_dir / "metrics.jsonl"
        if path.exists():
            kept = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line).get("step", 0) <= step]
            path.write_text("".join(kept))

    def _identity(self) -> dict:
        """What a checkpoint's meaning depends on. Thresholds are read by metrics alone."""
        return {
            "spec": self.spec.model_dump(mode="json", exclude_none=True, exclude={"tasks": {"__all__": {"threshold"}}}),
            "model": self.config.model_dump(mode="json"),
        }

    def _known(self) -> dict | None:
        """What model.json says of the checkpoints; None when there are none, as after a training that ended before its first."""
        path = self.model_dir / "model.json"
        return json.loads(path.read_text()) if path.exists() and tf.train.latest_checkpoint(self.checkpoint_dir) else None

    def _identify(self) -> Fitted:
        """Checks model.json against this configuration; returns what its checkpoints took from the training split."""
        known = self._known()
        if known is None:
            return self.data.fitted
        self._compare(known, self._identity())
        return Fitted.parse(known["fitted"], str(self.model_dir / "model.json"))

    def _course(self) -> dict:
        """What the course of a training depends on, besides its identity: to resume with another would mix two runs."""
        shards = self.data.manifest["shards"]["train"]
        lasting = self.train_config.model_dump(exclude={"steps", "epochs", "log_every", "checkpoint_every", "keep_checkpoints"})
        return {"train": lasting | {"data": hashlib.sha256("".join(s["sha256"] for s in shards).encode()).hexdigest()[:16]}}

    def _check_resumable(self) -> None:
        known = self._known()
        if known is not None:
            self._compare(known, self._course())

    def _compare(self, known: dict, mine: dict) -> None:
        for part, value in mine.items():
            # As text, since order counts: another order of features or tasks moves rows and columns between equal shapes.
            if json.dumps(known[part]) != json.dumps(value):
                raise FunnelError(
                    f"{self.model_dir}: its checkpoints are of another {part}: {_difference(known[part], value)}; "
                    "train anew with --force, or give another run directory"
                )

    def _write_identity(self) -> None:
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        content = self._identity() | self._course() | {"fitted": self.fitted.model_dump(mode="json")}
        (self.model_dir / "model.json").write_text(json.dumps(content, indent=1) + "\n")


def _tracked(state: dict[str, tf.Variable]) -> tf.Module:
    """Variables by name, as a checkpoint tracks them: Keras' own names for them depend on what was made before."""
    holder = tf.Module()
    holder.variables_by_name = dict(state)
    return holder


def _next(step: int, every: int) -> int:
    """The next multiple of `every` after `step`."""
    return (step // every + 1) * every


def _difference(known: object, mine: object, path: str = "") -> str:
    """The first place where two nested dictionaries differ, in values or else in order."""
    if isinstance(known, dict) and isinstance(mine, dict):
        for key in [*known, *mine]:
            if known.get(key) != mine.get(key):
                return _difference(known.get(key), mine.get(key), f"{path}.{key}".lstrip("."))
        for key in known:
            if json.dumps(known[key]) != json.dumps(mine[key]):
                return _difference(known[key], mine[key], f"{path}.{key}".lstrip("."))
        return f"order of {path} was {', '.join(known)} and is {', '.join(mine)}"
    return f"{path or 'value'} was {known!r} and is {mine!r}"

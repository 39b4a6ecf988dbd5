"""What a run's checkpoints are of: model.json, and the refusal to mix two runs in one directory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.data.input import Data
from model.estimator.checkpoints import listed
from model.objectives.base_rates import BaseRates
from model.training.config import TrainConfig
from model.training.defaults import suited


@dataclass(frozen=True)
class RankingConfig:
    """All that decides what is learnt: the features with what was taken from their training split,
    the architecture, the training.

    `data` names the training rows, which a checkpoint's position in the input counts in. `sample`
    is a Parquet file of raw rows that an export is checked with. `held_out` is the share of the
    training rows that is not trained on; `chosen` is what suits the number of `rows` where the
    configuration left it open, and `notes` say so.
    """

    spec: Spec
    model: ModelConfig
    train: TrainConfig
    fitted: Fitted
    data: str = ""
    sample: Path | None = None
    held_out: float = 0.0
    chosen: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        data: Data,
        model: ModelConfig,
        train: TrainConfig,
        earlier: Mapping[str, float] | None = None,
    ) -> RankingConfig:
        """The configuration over a preprocessed directory: what `train` leaves open is what suits
        its rows, or `earlier`, what was chosen for the run of a warm start.
        """
        shards = "".join(shard["sha256"] for shard in data.manifest["shards"]["train"])
        rates = BaseRates(data.spec, data.fitted.outcomes)
        suiting = suited(
            train, data.rows("train"), rates, lambda share: int(data.held_out(share).sum()), earlier
        )
        named = hashlib.sha256(shards.encode()).hexdigest()[:16]
        return cls(
            data.spec,
            model,
            suiting.train,
            data.fitted,
            named,
            data.sample,
            suiting.held_out,
            suiting.chosen,
            suiting.notes,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint's meaning depends on. Thresholds are read by metrics alone."""
        return {
            "spec": self.spec.model_dump(
                mode="json", exclude_none=True, exclude={"tasks": {"__all__": {"threshold"}}}
            ),
            "model": self.model.model_dump(mode="json"),
        }

    @property
    def course(self) -> dict[str, Any]:
        """What the course of a training depends on, besides its identity and the mode that
        precision and xla come to on its machine.
        """
        return {
            "train": self.train.model_dump(
                mode="json", exclude={"steps", "epochs", "precision", "xla"}
            )
            | {"data": self.data}
        }


class Identity:
    """model.json of a model directory. A directory without a checkpoint binds nothing."""

    def __init__(self, model_dir: Path) -> None:
        self.model_dir, self.path = model_dir, model_dir / "model.json"

    def known(self) -> dict[str, Any] | None:
        """What the file says; None without checkpoints. Raises FunnelError where it is cut short."""
        if not self.path.exists() or not listed(self.model_dir / "checkpoints"):
            return None
        try:
            return json.loads(self.path.read_text())
        except ValueError as error:
            raise FunnelError(
                f"{self.path}: is no JSON ({error}); put back a copy of it, or train anew with --force"
            ) from None

    def fitted(self, config: RankingConfig) -> Fitted:
        """What the checkpoints took from their training split; the configuration's own without any.
        Raises FunnelError when they are of another spec or model.
        """
        known = self.known()
        if known is None:
            return config.fitted
        self._compare(known, config.identity)
        return Fitted.parse(known["fitted"], str(self.path))

    def seed(self, config: RankingConfig) -> int:
        """The seed of the checkpoints' initial values; the configuration's own without any."""
        known = self.known()
        return config.train.seed if known is None else known["train"]["seed"]

    def check_course(self, config: RankingConfig, mode: dict[str, Any]) -> None:
        """Raises FunnelError when the checkpoints are of a training that went otherwise: to go on
        would mix two. `mode`: the precision and xla that this machine trains with.
        """
        known = self.known()
        if known is None:
            return
        self._compare(known, config.course)
        old = known["mode"]
        if old != mode:
            raise FunnelError(
                f"{self.model_dir}: its checkpoints were trained with {_toml(old)}, and this machine would go on with {_toml(mode)}: "
                f"set {_toml(old)}, or train anew with --force"
            )

    def write(self, config: RankingConfig, fitted: Fitted, mode: dict[str, Any]) -> None:
        """Writes the file, whole or not at all; one that says the same stays."""
        content = config.identity | config.course | {"mode": mode, "chosen": dict(config.chosen)}
        content |= {"fitted": fitted.model_dump(mode="json")}
        text = json.dumps(content, indent=1) + "\n"
        if self.path.exists() and self.path.read_text() == text:
            return
        self.model_dir.mkdir(parents=True, exist_ok=True)
        unfinished = self.model_dir / ".model.json"
        unfinished.write_text(text)
        os.replace(unfinished, self.path)

    def _compare(self, known: dict, mine: dict) -> None:
        for part, value in mine.items():
            # As text, since order counts: another order of features or tasks moves rows and columns
            # between equal shapes.
            if json.dumps(known[part]) != json.dumps(value):
                raise FunnelError(
                    f"{self.model_dir}: its checkpoints are of another {part}: {_difference(known[part], value)}; "
                    "train anew with --force, or give another run directory"
                )


def _toml(mode: dict[str, Any]) -> str:
    """As a configuration sets it."""
    return " and ".join(f"train.{name} = {json.dumps(value)}" for name, value in mode.items())


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

"""RankingConfig: everything that decides what a model learns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.data.input import Data
from model.estimator.model_json import ModelJson
from model.objectives.base_rates import BaseRates
from model.training.config import TrainConfig
from model.training.defaults import suited


@dataclass(frozen=True)
class RankingConfig:
    """The features with their statistics, the architecture and the training.

    Args:
        spec: features, labels and tasks.
        model: the architecture.
        train: optimizers, batches and length, with nothing left open.
        fitted: the statistics of the training split that features and base rates need.
        data: identifies the training shards, since a checkpoint holds a position in them.
        sample: a Parquet file of raw rows that an export is checked with.
        held_out: the share of the training rows that is not trained on.
        chosen: the settings that the configuration left open, as chosen for the number of `rows`.
        notes: a line about each choice, for the user.

    Example:
        data = Data("runs/mine/data", spec)
        config = RankingConfig.of(data, ModelConfig.parse({"sharing": "ple"}), train)
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
        """The configuration of a training on a preprocessed directory.

        Args:
            data: the directory.
            model: the architecture.
            train: what it leaves open is chosen to suit the number of training rows.
            earlier: what was chosen for the run of a warm start; it is kept.

        Raises:
            FunnelError: a batch is larger than the data, a task is to be calibrated on too few
                positives, or a schedule or weighting begins after the last step.
        """
        shards = "".join(shard["sha256"] for shard in data.manifest["shards"]["train"])
        rates = BaseRates(data.spec, data.fitted.outcomes)
        tables = [data.fitted.table_rows(data.spec, name) for name in data.spec.embedded]
        suiting = suited(
            train,
            data.rows("train"),
            rates,
            lambda share: int(data.held_out(share).sum()),
            max(tables, default=1),
            earlier,
        )
        held_out = int(data.held_out(suiting.held_out).sum()) if suiting.held_out else 0
        steps = suiting.train.total_steps(data.rows("train") - held_out)
        suiting.train.schedule.check_steps(steps)
        if earlier is None:  # a warm start goes on with the state of the weighting
            model.weighting.check_steps(steps)
        return cls(
            spec=data.spec,
            model=model,
            train=suiting.train,
            fitted=data.fitted,
            data=hashlib.sha256(shards.encode()).hexdigest()[:16],
            sample=data.sample,
            held_out=suiting.held_out,
            chosen=suiting.chosen,
            notes=suiting.notes,
        )

    @classmethod
    def restored(cls, model_dir: Path | str) -> RankingConfig:
        """The configuration of a trained model, from its directory only.

        It is enough to predict and to export: the preprocessed data is not read. Thresholds of
        tasks, which only metrics read, are the defaults.

        Raises:
            FunnelError: the directory holds no checkpoint.
        """
        model_json = ModelJson(Path(model_dir))
        known, where = model_json.read(), str(model_json.path)
        if known is None:
            raise FunnelError(f"{model_dir}: holds no checkpoint; run `funnel train` first")
        train = {name: value for name, value in known["train"].items() if name != "data"}
        return cls(
            spec=Spec.parse(known["spec"], where),
            model=ModelConfig.parse(known["model"], where),
            train=TrainConfig.parse(train, where),
            fitted=Fitted.parse(known["fitted"], where),
            data=known["train"]["data"],
            sample=model_json.sample if model_json.sample.exists() else None,
            chosen=known["chosen"],
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What the meaning of a checkpoint depends on; only metrics read thresholds."""
        return {
            "spec": self.spec.model_dump(
                mode="json", exclude_none=True, exclude={"tasks": {"__all__": {"threshold"}}}
            ),
            "model": self.model.model_dump(mode="json"),
        }

    @property
    def training_settings(self) -> dict[str, Any]:
        """What the weights of a training depend on besides, except the mode that `precision` and
        `xla` select on its machine.
        """
        settings = self.train.model_dump(
            mode="json", exclude={"steps", "epochs", "precision", "xla"}
        )
        return {"train": settings | {"data": self.data}}

"""What every funnel is: towers, the probabilities that they give, and the objectives that train them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import keras
import tensorflow as tf
from pydantic import Field

from features.settings import Settings
from features.spec import Spec
from model.layers import MLP
from model.objectives import Objective, Probability, from_logit, joint


class FunnelParams(Settings):
    """Options that every funnel has: the hidden units of its towers."""

    name: str
    tower_units: list[Annotated[int, Field(ge=1)]] = Field([64])


class Funnel(keras.Layer):
    """{head: [B, H]} → {name: Probability}, a tower for each head; heads are the tasks.

    Tasks with `given` are conditional on what comes before, and their joint is the product along the chain.
    """

    Params: type[FunnelParams]

    def __init__(self, params: FunnelParams, spec: Spec) -> None:
        super().__init__(name="funnel")
        self.params, self.spec = params, spec
        self.towers = {head: MLP(params.tower_units, name=f"tower_{head}") for head in self.heads}
        self.logits = {head: keras.layers.Dense(1, name=f"logit_{head}") for head in self.heads}

    @property
    def heads(self) -> list[str]:
        return list(self.spec.tasks)

    def call(self, representations: dict[str, tf.Tensor]) -> dict[str, Probability]:
        logits = {head: self.logits[head](self.towers[head](representations[head]))[:, 0] for head in self.heads}
        tasks = {head: from_logit(logit) for head, logit in logits.items()}
        return tasks | {self.spec.tasks[t].joint: self._joint(t, tasks) for t in tasks if self.spec.parent(t)}

    def _joint(self, task: str, tasks: dict[str, Probability]) -> Probability:
        parent = self.spec.parent(task)
        return tasks[task] if parent is None else joint(self._joint(parent, tasks), tasks[task])

    def objectives(self, probabilities: Mapping[str, Probability], labels: Mapping[str, tf.Tensor]) -> list[Objective]:
        """What is minimised, from probabilities by name and labels [B] by name."""
        raise TypeError(f"{type(self).__name__} must say what it minimises: give it objectives(probabilities, labels)")

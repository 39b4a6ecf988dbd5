"""Entire-space model with an action between click and purchase."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from model.funnels.base import Funnel
from model.objectives.base_rates import BaseRates, log_odds
from model.objectives.objective import Objective
from model.objectives.predictions import Prediction, either, from_logit, joint
from model.settings.funnels import ESM2Params


@keras.saving.register_keras_serializable("funnel")
class ESM2(Funnel):
    """p_ctavr = y₁·y₂, p_cvr = y₂·y₃ + (1 − y₂)·y₄, p_ctcvr = y₁·p_cvr: a purchase follows a click
    with or without the action.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | ctr: y₁ | click | rows with a known label | the space | p_ctr |
    | action: y₂ | click and action | rows with a known joint | the space | p_action, its joint |
    | cvr_action: y₃ | click and purchase | rows with a known joint | the space | p_cvr, p_ctcvr |
    | cvr_other: y₄ | the same | the same | the same | the same |

    The denominator "the space" is the number of rows of the sample space.
    `action` names the task of the deterministic action (into the basket, to the wish list); it and
    the purchase are both `given` the click. Wen et al., Entire Space Multi-Task Modeling via
    Post-Click Behavior Decomposition, SIGIR 2020.
    """

    Params = ESM2Params
    params: ESM2Params

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """y₂ = p_ctavr / p_ctr and y₃ = y₄ = p_ctcvr / p_ctr: with or without the action alike."""
        click, action, purchase = (rates.joint(task) for task in self.params.roles(self.spec))
        given = [click, action / click, purchase / click, purchase / click]
        return {head: log_odds(p) for head, p in zip(self.heads, given, strict=True)}

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        click, action, purchase = self.params.roles(self.spec)
        y1, y2, y3, y4 = (from_logit(self.logit(head, towers, wide)) for head in self.heads)
        buys = either(y2, y3, y4)
        joints = {
            self.spec.tasks[action].joint or action: joint(y1, y2),
            self.spec.tasks[purchase].joint or purchase: joint(y1, buys),
        }
        return {click: y1, action: y2, purchase: buys} | joints

    def unweighted(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        return self.unweighted_joints(predictions)

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        return [
            self.joint_objective(task, predictions, labels) for task in self.params.roles(self.spec)
        ]

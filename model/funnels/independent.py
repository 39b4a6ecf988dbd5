"""Every task on its own sample space."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from model.funnels.base import Funnel
from model.objectives.base_rates import BaseRates, log_odds
from model.objectives.objective import Objective, cross_entropy, huber, squared_error
from model.objectives.predictions import (
    Prediction,
    Probability,
    Value,
    from_logit,
    number,
    probability,
    unweighted,
)
from model.objectives.sample_spaces import own_space
from model.settings.funnels import IndependentParams, output_of


@keras.saving.register_keras_serializable("funnel")
class Independent(Funnel):
    """Each task is trained where it is defined; the joints follow as products.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | a task | its label | rows with a known label | the space | p_task |
    | with `given` | its label | rows whose given label is 1 | the space | p_task, p_joint |
    | of a number | its label | the same, with or without `given` | the space | y_task |
    | with `label_is_joint` | the joint label | rows with a known label | the space | p_joint |

    The denominator "the space" is the number of rows of the sample space, as in equation 9 of Tang
    et al., Progressive Layered Extraction, RecSys 2020. p_joint is the product along the chain.
    """

    Params = IndependentParams
    params: IndependentParams

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """A task declared `label_is_joint` starts at its joint's rate."""
        label_is_joint = {
            task: log_odds(rates.joint(task))
            for task, d in self.spec.tasks.items()
            if d.label_is_joint
        }
        return super().starts(rates) | label_is_joint

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        found: dict[str, Prediction] = {}
        for task in self.spec.tasks:
            logit = self.logit(task, towers, wide)
            found[output_of(task, self.spec)] = (
                Value(logit) if self._is_number(task) else from_logit(logit)
            )
        own = {
            task: p
            for task, p in found.items()
            if task in self.spec.tasks and isinstance(p, Probability)
        }
        return found | self.joints(own)

    def unweighted(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """The joint of a task declared `label_is_joint` is that task's own output."""
        label_is_joint = {
            d.joint or task: d.positive_weight
            for task, d in self.spec.tasks.items()
            if d.label_is_joint
        }
        own = {
            name: unweighted(probability(predictions[name]), weight)
            for name, weight in label_is_joint.items()
        }
        return super().unweighted(predictions) | own

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        return [
            self._objective(task, predictions[output_of(task, self.spec)], labels)
            for task in self.heads
        ]

    def _objective(
        self, task: str, prediction: Prediction, labels: Mapping[str, tf.Tensor]
    ) -> Objective:
        declared, name = self.spec.tasks[task], output_of(task, self.spec)
        if declared.label_is_joint:
            label = labels[declared.label]
            p = probability(prediction)
            return cross_entropy(name, p, label, label >= 0, declared.positive_weight)
        space = own_space(self.spec, task, labels)
        if not self._is_number(task):
            return cross_entropy(name, probability(prediction), *space, declared.positive_weight)
        y = number(prediction)
        if declared.loss == "huber":
            return huber(name, y, *space, declared.huber_delta)
        return squared_error(name, y, *space)

    def _is_number(self, task: str) -> bool:
        return self.spec.labels[self.spec.tasks[task].label].is_number

"""Entire-space counterfactual multi-task model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import tensorflow as tf

from model.funnels.base import Funnel
from model.objectives.base_rates import BaseRates, log_odds
from model.objectives.objective import Objective, cross_entropy
from model.objectives.predictions import AuxiliaryOutput, Prediction, from_logit, probability
from model.objectives.sample_spaces import entire_space, own_space
from model.settings.chain import check_chain
from model.settings.funnels import IMPUTATION, ESCM2Params


@keras.saving.register_keras_serializable("funnel")
class ESCM2(Funnel):
    """R_IPW = mean_D o·δ/ô, R_DR = mean_D [δ̂ + o·(δ − δ̂)/ô], δ = l(convert, p_cvr): clicked rows
    o weighted to stand for all, D.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | ctr | click | rows with a known label | the space | p_ctr |
    | cvr ("ipw") | convert | rows whose click is 1 | D | p_cvr |
    | cvr ("dr") | convert | D | D | p_cvr |
    | imputation ("dr") | δ, constant, by o·(δ − δ̂)²/ô | rows whose click is 1 | D | none |
    | ctcvr = ctr · cvr | click and convert | D | D | p_ctcvr |

    - D are the rows with a known joint label. The denominator "the space" is the number of rows of
      the sample space.
    - ô = max(p_ctr, `propensity_floor`), its gradient stopped. The floor bounds the weight of one
      row, and so the variance, by 1/floor.
    - δ̂ = softplus of the imputation tower.
    - `counterfactual_weight` λ_c weights cvr and imputation, `global_weight` λ_g ctcvr. Each is the
      risk of a head, so a weighting applies to all. R_DR may be negative.

    Wang et al., ESCM²: Entire Space Counterfactual Multi-Task Model, SIGIR 2022.
    """

    Params = ESCM2Params
    params: ESCM2Params

    def _tasks(self) -> tuple[str, str]:
        click, convert = check_chain(self.spec, "escm2")
        return click, convert

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """The imputation starts at the conversion's mean cross-entropy on clicked rows."""
        click, convert = self._tasks()
        tasks = {click: log_odds(rates.joint(click)), convert: rates.logit(convert)}
        return tasks | (
            {IMPUTATION: self._imputed(convert, rates)} if IMPUTATION in self.heads else {}
        )

    def _imputed(self, convert: str, rates: BaseRates) -> float:
        """The z of softplus(z) = δ, the mean cross-entropy of the constant."""
        p, v = rates.own(convert), self.spec.tasks[convert].positive_weight
        rate = p / (p + v * (1 - p))  # undoes the weight of the positives
        return math.log(math.expm1(-v * rate * math.log(p) - (1 - rate) * math.log1p(-p)))

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        tasks = {task: from_logit(self.logit(task, towers, wide)) for task in self.spec.tasks}
        found: dict[str, Prediction] = {**tasks, **self.joints(tasks)}
        if IMPUTATION in self.heads:
            z = self.logit(IMPUTATION, towers, wide)
            found[IMPUTATION] = AuxiliaryOutput(tf.nn.softplus(z))
        return found

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        click, convert = self._tasks()
        objectives: list[Objective] = [
            self.joint_objective(click, predictions, labels),
            *self._counterfactual(click, convert, predictions, labels),
        ]
        whole = self.joint_objective(convert, predictions, labels)
        return [
            *objectives,
            Objective(whole.name, self.params.global_weight * whole.losses, whole.mask),
        ]

    def _counterfactual(
        self,
        click: str,
        convert: str,
        predictions: Mapping[str, Prediction],
        labels: Mapping[str, tf.Tensor],
    ) -> list[Objective]:
        """The conversion's risk and, with the doubly robust estimator, the imputation's."""
        label, clicked = own_space(self.spec, convert, labels)
        _, everyone = entire_space(self.spec, convert, labels)
        error = cross_entropy(
            convert,
            probability(predictions[convert]),
            label,
            clicked,
            self.spec.tasks[convert].positive_weight,
        ).losses
        propensity = tf.stop_gradient(
            tf.maximum(tf.exp(probability(predictions[click]).log_p), self.params.propensity_floor)
        )
        weight = self.params.counterfactual_weight / propensity
        if IMPUTATION not in predictions:
            return [Objective(convert, weight * error, clicked, over=everyone)]
        imputed = _imputation(predictions[IMPUTATION])
        observed = tf.where(clicked, error - imputed, tf.zeros_like(error))
        risk = self.params.counterfactual_weight * imputed + weight * observed
        # δ is held constant: its gradient would draw p_cvr to ½, where δ is the same for either
        # label and so the easiest to impute.
        held = weight * (tf.stop_gradient(error) - imputed) ** 2
        doubly_robust = Objective(convert, risk, everyone, nonnegative_with="estimator = 'ipw'")
        return [doubly_robust, Objective(IMPUTATION, held, clicked, over=everyone)]


def _imputation(prediction: Prediction) -> tf.Tensor:
    if not isinstance(prediction, AuxiliaryOutput):
        raise TypeError(f"the imputation must be an AuxiliaryOutput, not {prediction}")
    return prediction.value

"""Adaptive information transfer along a chain of conversions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from features.spec import Spec
from model.funnels.base import Funnel
from model.layers import MLP, Transfer
from model.objectives.base_rates import BaseRates, log_odds
from model.objectives.objective import Objective
from model.objectives.predictions import Prediction, from_logit, probability, quotient
from model.settings.chain import check_chain
from model.settings.funnels import AITMParams


@keras.saving.register_keras_serializable("funnel")
class AITM(Funnel):
    """z_1 = q_1, z_t = transfer(g_{t−1}(z_{t−1}), q_t), ŷ_t = σ(w_t · z_t): q_t the towers, ŷ_t the
    probability of the chain up to t.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | the first | its label | rows with a known label | the space | p_task |
    | a later one, t | the joint up to t | rows with a known joint | the space | p_joint = ŷ_t |
    | calibrator_t | none | all rows | all rows | α·max(ŷ_t − ŷ_{t−1}, 0) |

    The denominator "the space" is the number of rows of the sample space. p_task = ŷ_t / ŷ_{t−1},
    at most 1, which matters until the calibrator has brought ŷ_t below ŷ_{t−1}. α is
    `calibrator_weight`, .6 in the paper. The calibrator is a penalty, so that only α weights it.
    See the layer Transfer. Xi et al., AITM, KDD 2021.
    """

    Params = AITMParams
    params: AITMParams

    def __init__(
        self, params: AITMParams | Mapping[str, Any], spec: Spec | Mapping[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(params, spec, **kwargs)
        params, self.chain = self.params, check_chain(self.spec, "aitm")
        width, later = params.units_of(self.chain[0])[-1], self.chain[1:]
        self.handed_on = {
            task: MLP([width], **params.network, name=f"handed_to_{task}") for task in later
        }
        self.transfers = {task: Transfer(name=f"transfer_{task}") for task in later}

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """Each head is the probability of the chain up to its task."""
        return {task: log_odds(rates.joint(task)) for task in self.chain}

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        first, z = self.chain[0], {self.chain[0]: towers[self.chain[0]]}
        for before, task in itertools.pairwise(self.chain):
            z[task] = self.transfers[task](self.handed_on[task](z[before]), towers[task])
        chains = {task: from_logit(self.logit(task, z, wide)) for task in self.chain}
        tasks = {
            task: quotient(chains[task], chains[before])
            for before, task in itertools.pairwise(self.chain)
        }
        joints = {self.spec.tasks[task].joint or task: chains[task] for task in tasks}
        return {first: chains[first]} | tasks | joints

    def unweighted(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        return self.unweighted_joints(predictions)

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        steps = [self.joint_objective(task, predictions, labels) for task in self.chain]
        chains = {
            task: tf.exp(probability(predictions[self.spec.tasks[task].joint or task]).log_p)
            for task in self.chain
        }
        excess = {
            task: tf.nn.relu(chains[task] - chains[before])
            for before, task in itertools.pairwise(self.chain)
        }
        return steps + [self._calibrator(task, e) for task, e in excess.items()]

    def _calibrator(self, task: str, excess: tf.Tensor) -> Objective:
        losses, everyone = self.params.calibrator_weight * excess, tf.ones_like(excess, tf.bool)
        return Objective(f"calibrator_{task}", losses, everyone, penalty="calibrator_weight")

"""Entire-space multi-task model."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from model.funnels.base import Funnel
from model.objectives.base_rates import BaseRates, log_odds
from model.objectives.objective import Objective
from model.objectives.predictions import Prediction
from model.settings.chain import check_chain
from model.settings.funnels import ESMMParams


@keras.saving.register_keras_serializable("funnel")
class ESMM(Funnel):
    """p_ctcvr = p_ctr · p_cvr: the conversion tower is trained through the product, over all
    impressions.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | ctr | click | rows with a known label | the space | p_ctr |
    | cvr | click and convert | rows with a known joint label | the space | p_cvr, p_ctcvr |

    The denominator "the space" is the number of rows of the sample space. In a longer chain each
    further task multiplies its probability. Ma et al., Entire Space Multi-Task Model, SIGIR 2018,
    eq. 2–3.
    """

    Params = ESMMParams
    params: ESMMParams

    def starts(self, rates: BaseRates) -> dict[str, float]:
        """p_task = p_joint / p_joint of the task before."""
        chain = check_chain(self.spec, "esmm")
        joints = [rates.joint(task) for task in chain]
        return {
            task: log_odds(p / before)
            for task, p, before in zip(chain, joints, [1.0, *joints], strict=False)
        }

    def unweighted(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        return self.unweighted_joints(predictions)

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        return [self.joint_objective(task, predictions, labels) for task in self.heads]

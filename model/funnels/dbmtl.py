"""Deep Bayesian multi-target learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from features.spec import Spec
from model.funnels.base import Funnel
from model.layers import MLP
from model.objectives.objective import Objective, cross_entropy
from model.objectives.predictions import Prediction, from_logit, probability
from model.objectives.sample_spaces import own_space
from model.settings.chain import check_chain
from model.settings.funnels import DBMTLParams


@keras.saving.register_keras_serializable("funnel")
class DBMTL(Funnel):
    """p(y_1 … y_n | x) = Π_k p(y_k | x, y_1 … y_{k−1}); r_k = f_k([tower_k, r_1 … r_{k−1}]), p_k =
    σ(w_k · r_k).

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | the first | its label | rows with a known label | the space | p_task |
    | a later one | its label | rows whose given label is 1 | the space | p_task, p_joint |

    The denominator "the space" is the number of rows of the sample space; p_joint is the product
    along the chain. A later task is conditioned on the hidden layers r of the tasks before it, so
    that rows with unknown outcomes can be scored. In a funnel a later step is 0 where an earlier
    one is: those factors of the likelihood are known, and what remains is each task's own sample
    space. Wang et al., Deep Bayesian Multi-Target Learning for Recommender Systems, 2019.
    """

    Params = DBMTLParams
    params: DBMTLParams

    def __init__(
        self, params: DBMTLParams | Mapping[str, Any], spec: Spec | Mapping[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(params, spec, **kwargs)
        params, self.chain = self.params, check_chain(self.spec, "dbmtl")
        self.relations = {
            task: MLP(params.relation_units, **params.network, name=f"relation_{task}")
            for task in self.chain
        }

    def predict(
        self, towers: dict[str, tf.Tensor], wide: dict[str, tf.Tensor]
    ) -> Mapping[str, Prediction]:
        relations: dict[str, tf.Tensor] = {}
        for task in self.chain:
            relations[task] = self.relations[task](
                tf.concat([towers[task], *relations.values()], 1)
            )
        tasks = {task: from_logit(self.logit(task, relations, wide)) for task in self.heads}
        return tasks | self.joints(tasks)

    def objectives(
        self, predictions: Mapping[str, Prediction], labels: Mapping[str, tf.Tensor]
    ) -> list[Objective]:
        weights = {task: declared.positive_weight for task, declared in self.spec.tasks.items()}
        return [
            cross_entropy(
                task,
                probability(predictions[task]),
                *own_space(self.spec, task, labels),
                weights[task],
            )
            for task in self.heads
        ]

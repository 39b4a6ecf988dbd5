"""Entire-space multi-task model."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from features.errors import FunnelError
from features.spec import Spec
from model.funnels.base import Funnel, FunnelParams
from model.objectives import Objective, Probability, entire_space


class ESMM(Funnel):
    """p_ctcvr = p_ctr · p_cvr: the conversion tower is trained through the product, over all impressions.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | ctr | click | all rows with a known label | rows of the space | p_ctr |
    | cvr | click and convert | all rows where the joint label is known | rows of the space | p_cvr and p_ctcvr |

    Ma et al., Entire Space Multi-Task Model, SIGIR 2018, eq. 2–3. A longer chain multiplies on.
    """

    class Params(FunnelParams):
        pass

    def __init__(self, params: Params, spec: Spec) -> None:
        if not any(task.given for task in spec.tasks.values()):
            raise FunnelError(
                f"model.funnel = 'esmm' needs a chain of tasks, but none of {', '.join(spec.tasks)} has `given`; "
                "declare one, as in cvr = { label = 'convert', given = 'click' }, or use funnel 'independent'"
            )
        super().__init__(params, spec)

    def objectives(self, probabilities: Mapping[str, Probability], labels: Mapping[str, tf.Tensor]) -> list[Objective]:
        trained = {task: self.spec.tasks[task].joint or task for task in self.heads}
        return [Objective(name, probabilities[name], *entire_space(self.spec, task, labels)) for task, name in trained.items()]

"""Every task on its own sample space."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from model.funnels.base import Funnel, FunnelParams
from model.objectives import Objective, Probability, own_space


class Independent(Funnel):
    """Each task is trained where it is defined; the joints follow as products.

    | head | label | sample space | denominator | output |
    |---|---|---|---|---|
    | a task | its label | all rows with a known label | rows of the space | p_task |
    | a task with `given` | its label | rows whose given label is 1 | rows of the space | p_task and, as a product, p_joint |

    The mean over the sample space is equation 9 of Tang et al., Progressive Layered Extraction, RecSys 2020.
    """

    class Params(FunnelParams):
        pass

    def objectives(self, probabilities: Mapping[str, Probability], labels: Mapping[str, tf.Tensor]) -> list[Objective]:
        return [Objective(task, probabilities[task], *own_space(self.spec, task, labels)) for task in self.heads]

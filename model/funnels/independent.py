"""Every task on its own sample space."""

from __future__ import annotations

from collections.abc import Mapping

from model.funnels.base import Funnel, FunnelParams
from model.objectives import Labels, Objective, Prediction, cross_entropy, own_space


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

    def objectives(self, predictions: Mapping[str, Prediction], labels: Mapping[str, Labels]) -> list[Objective]:
        return [cross_entropy(task, predictions[task], *own_space(self.spec, task, labels)) for task in self.heads]

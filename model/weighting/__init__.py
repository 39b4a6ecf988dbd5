"""Weights of objectives in the loss: one file for each weighting, and the dict of them.

In: losses and gradients of the objectives. Out: their weights. Imports features/ and the settings
only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.registry import Registry
from model.settings.weighting import WEIGHTING_PARAMS

if TYPE_CHECKING:
    from model.weighting.base import Weighting

WEIGHTING: Registry[Weighting] = Registry(
    {
        "fixed": "model.weighting.fixed:Fixed",
        "decay": "model.weighting.decay:Decay",
        "uncertainty": "model.weighting.uncertainty:Uncertainty",
        "dwa": "model.weighting.dwa:DWA",
        "gradnorm": "model.weighting.gradnorm:GradNorm",
        "pareto": "model.weighting.pareto:Pareto",
        "pcgrad": "model.weighting.pcgrad:PCGrad",
    },
    WEIGHTING_PARAMS,
)


def __getattr__(name: str) -> type[Weighting]:
    return WEIGHTING.by_class_name(name)

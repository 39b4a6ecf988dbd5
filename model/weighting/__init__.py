"""Weights of objectives in the loss: one file for each weighting, and the dict of them.

In: losses and gradients of the objectives. Out: their weights. Imports features/ only.
"""

from model.weighting.base import Weighting
from model.weighting.decay import Decay
from model.weighting.dwa import DWA
from model.weighting.fixed import Fixed
from model.weighting.gradnorm import GradNorm
from model.weighting.pareto import Pareto
from model.weighting.pcgrad import PCGrad
from model.weighting.uncertainty import Uncertainty

WEIGHTING: dict[str, type[Weighting]] = {
    "fixed": Fixed,
    "decay": Decay,
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "gradnorm": GradNorm,
    "pareto": Pareto,
    "pcgrad": PCGrad,
}

"""Claims put to the test, the papers' and our own: one file for each experiment, and the dict of
them.
"""

from funnel.experiments.base import Experiment
from funnel.experiments.census import Census
from funnel.experiments.defaults import Defaults
from funnel.experiments.esmm_bias import ESMMBias
from funnel.experiments.mmoe_synthetic import MMoESynthetic

EXPERIMENTS: dict[str, type[Experiment]] = {
    "mmoe-synthetic": MMoESynthetic,
    "esmm-bias": ESMMBias,
    "census": Census,
    "defaults": Defaults,
}

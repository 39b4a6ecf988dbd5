"""Claims put to the test: the papers' and our own, one file for each experiment.

What goes in: a configuration and seeds. What comes out: results.jsonl, summary.json and a plot. It
never imports `funnel.cli`.
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

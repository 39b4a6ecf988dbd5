"""Every pair of a sharing and a funnel, as tiny as it can be, over the same features and labels."""

from __future__ import annotations

import itertools

from model_data import LABELS, SMALL, TASKS, make_spec

from features.spec import Spec
from model.config import ModelConfig
from model.funnels import FUNNELS
from model.sharing import SHARING

Pair = tuple[str, str]

COURSES = [*FUNNELS, "escm2_dr"]  # funnels, and one more estimator of escm2
PAIRS: list[Pair] = list(itertools.product(SHARING, COURSES))
FAST = [pair for pair in PAIRS if pair[0] == "mmoe" or pair[1] == "esmm"]
CART = {"cart": {"event": "carts", "within": "1d", "after": "click"}}
ACTION = {
    "action": {"label": "cart", "given": "click"}
}  # the other way to a purchase, which esm2 alone has
OPTIONS = {  # of funnels
    "dbmtl": {"relation_units": [3]},
    "esm2": {"action": "action"},
    "escm2_dr": {"name": "escm2", "estimator": "dr"},
}


def spec_of(funnel: str) -> Spec:
    return make_spec(labels=LABELS | CART, tasks=TASKS | (ACTION if funnel == "esm2" else {}))


def config_of(sharing: str, funnel: str, **network: object) -> ModelConfig:
    """`network` are options of dense layers, for both."""
    dense = network | (
        {"gate_units": [3]} if network and sharing == "mose" else {}
    )  # it has no dense layers but those of gates
    funnel_table = {"name": funnel, "tower_units": [3]} | OPTIONS.get(funnel, {}) | network
    return ModelConfig.parse(
        {"sharing": {"name": sharing} | SMALL[sharing] | dense, "funnel": funnel_table}
    )

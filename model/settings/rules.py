"""Options of the rules that update tables, and RULE_PARAMS: them all by name."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from model.settings.base import RuleParams


class AdagradParams(RuleParams):
    """Options of model.optimizers.adagrad and rowwise_adagrad."""

    initial_accumulator: float = Field(1.0, ge=0)
    epsilon: float = Field(1e-7, ge=0)


class LazyAdamParams(RuleParams):
    """Options of model.optimizers.adam."""

    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, ge=0)


class FTRLParams(RuleParams):
    """Options of model.optimizers.ftrl."""

    initial_accumulator: float = Field(0.1, gt=0)
    l1: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    beta: float = Field(0.0, ge=0)


RULE_PARAMS: Mapping[str, type[RuleParams]] = {
    "adagrad": AdagradParams,
    "rowwise_adagrad": AdagradParams,
    "lazy_adam": LazyAdamParams,
    "ftrl": FTRLParams,
    "sgd": RuleParams,
}

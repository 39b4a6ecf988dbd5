"""Updates of weights: rules for tables, which touch only a batch's rows, and Keras' optimizers.

In: gradients. Out: assignments of variables. Imports the embeddings' Table, the settings and
features/ only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.registry import Registry
from model.settings.rules import RULE_PARAMS

if TYPE_CHECKING:
    from model.optimizers.base import Rule

RULES: Registry[Rule] = Registry(
    {
        "adagrad": "model.optimizers.adagrad:Adagrad",
        "rowwise_adagrad": "model.optimizers.rowwise_adagrad:RowwiseAdagrad",
        "lazy_adam": "model.optimizers.adam:LazyAdam",
        "ftrl": "model.optimizers.ftrl:FTRL",
        "sgd": "model.optimizers.sgd:SGD",
    },
    RULE_PARAMS,
)


def __getattr__(name: str) -> type[Rule]:
    return RULES.by_class_name(name)

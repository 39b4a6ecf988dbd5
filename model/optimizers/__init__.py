"""Updates of weights: rules for tables, which touch only a batch's rows, and Keras' optimizers.

In: gradients. Out: assignments of variables. Imports the embeddings' Table and features/ only.
"""

from __future__ import annotations

from model.optimizers.adagrad import Adagrad
from model.optimizers.adam import LazyAdam
from model.optimizers.base import Rule
from model.optimizers.ftrl import FTRL
from model.optimizers.rowwise_adagrad import RowwiseAdagrad
from model.optimizers.sgd import SGD

RULES: dict[str, type[Rule]] = {
    "adagrad": Adagrad,
    "rowwise_adagrad": RowwiseAdagrad,
    "lazy_adam": LazyAdam,
    "ftrl": FTRL,
    "sgd": SGD,
}

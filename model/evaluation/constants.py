"""The constant that a model is compared with: the training split's rate, or mean, for every row."""

from __future__ import annotations

import numpy as np

from model.evaluation.conditions import Metrics
from model.metrics import METRICS
from model.metrics.base import Sample

COMPARED = {"logloss": "rate", "mse": "mean"}  # {metric: what its best constant is}


def measure_constant(constant: float, label: np.ndarray, metric: str) -> dict[str, float | None]:
    """The constant, and the metric, one of COMPARED, of predicting it for each of the labels [n].

    Example:
        >>> measure_constant(2.0, np.array([1.0, 5.0]), "mse")
        {'constant': 2.0, 'constant_mse': 5.0}
    """
    sample = Sample(np.full(len(label), constant), label)
    return {"constant": constant, f"constant_{metric}": METRICS[metric].compute(sample)}


def beside(metric: str) -> list[str]:
    """The metric's key in an evaluation, followed by its constant's if it has one."""
    return [metric, f"constant_{metric}"] if metric in COMPARED else [metric]


def no_better(results: Metrics) -> list[str]:
    """A line for each task and joint whose log loss or squared error is not below its constant's.

    Args:
        results: an evaluation; what it lacks or could not measure is not compared.
    """
    found = []
    for name, own in results.items():
        for metric, kind in COMPARED.items():
            value, other = own.get(metric), own.get(f"constant_{metric}")
            if value is None or other is None or value < other:
                continue
            title = METRICS[metric].title
            found.append(
                f"'{name}' is not better than a constant: its {title} over {own['rows']:,} "
                f"evaluation rows is {value:.6g}, that of the training split's {kind} "
                f"{own['constant']:.4g} is {other:.6g}; train on more rows or longer, or lower "
                f"train.learning_rate{_ranks(own.get('auc'))}"
            )
    return found


def _ranks(auc: float | None) -> str:
    """Scores in a good order may be off in their level alone."""
    return "" if auc is None or auc <= 0.5 else f"; its AUC is {auc:.4f}, so calibrate may help"

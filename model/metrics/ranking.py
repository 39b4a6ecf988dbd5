"""Metrics of the order of predictions."""

from __future__ import annotations

from model.metrics.base import Sample


def auc(sample: Sample) -> float | None:
    """Area under the ROC curve; None where the labels are all alike.

    Example:
        >>> import numpy as np
        >>> auc(Sample(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 1, 1])))
        0.75
    """
    from sklearn.metrics import roc_auc_score  # takes a second, which the command line would wait

    positives = int((sample.label == 1).sum())
    if not 0 < positives < len(sample.label):
        return None
    return float(roc_auc_score(sample.label, sample.prediction))

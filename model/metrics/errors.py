"""Mean errors of predictions."""

from __future__ import annotations

import numpy as np

from model.metrics.base import Sample

CLIP = 1e-7  # bounds the log loss of a float32 probability that was rounded to 0 or 1


def logloss(sample: Sample) -> float | None:
    """Mean cross-entropy; None without rows."""
    from sklearn.metrics import log_loss  # takes a second, which the command line would wait

    if not len(sample.label):
        return None
    p = np.clip(sample.prediction.astype(np.float64), CLIP, 1 - CLIP)
    return float(log_loss(sample.label, p, labels=[0, 1]))


def mse(sample: Sample) -> float | None:
    """Mean squared error; None without rows.

    Example:
        >>> mse(Sample(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
        2.0
    """
    error = sample.prediction - sample.label
    return float((error**2).mean()) if len(error) else None


def mae(sample: Sample) -> float | None:
    """Mean absolute error; None without rows."""
    error = sample.prediction - sample.label
    return float(abs(error).mean()) if len(error) else None

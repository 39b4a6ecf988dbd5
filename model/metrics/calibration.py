"""Whether predictions are right on average."""

from __future__ import annotations

import numpy as np

from model.metrics.base import Sample, ratio


def calibration(sample: Sample) -> float | None:
    """Mean prediction / mean label; None where the labels sum to 0.

    Example:
        >>> calibration(Sample(np.array([0.25, 0.75]), np.array([0, 1])))
        1.0
    """
    return ratio(float(sample.prediction.sum(dtype=np.float64)), float(sample.label.sum()))

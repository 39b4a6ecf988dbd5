"""Metrics of the decisions that a threshold makes: positive where the probability reaches it."""

from __future__ import annotations

from model.metrics.base import Sample, ratio


def precision(sample: Sample) -> float | None:
    """Share of the predicted positives that are positive; None where nothing is predicted so."""
    predicted = sample.prediction >= sample.threshold
    return ratio(int((predicted & (sample.label == 1)).sum()), int(predicted.sum()))


def recall(sample: Sample) -> float | None:
    """Share of the positives that are predicted so; None without positives."""
    predicted, actual = sample.prediction >= sample.threshold, sample.label == 1
    return ratio(int((predicted & actual).sum()), int(actual.sum()))


def accuracy(sample: Sample) -> float | None:
    """Share of the rows that are predicted right; None without rows."""
    predicted, actual = sample.prediction >= sample.threshold, sample.label == 1
    return float((predicted == actual).mean()) if len(actual) else None

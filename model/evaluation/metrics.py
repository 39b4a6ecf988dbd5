"""How good predictions are: each task on its own sample space, each joint on all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from sklearn import metrics as sk

from features.errors import FunnelError
from features.spec import Spec
from model.objectives.objective import entire_space, own_space

Tenth = tuple[float, float, int]
CLIP = 1e-7  # logloss of a float32 probability that rounded to 0 or 1


def measure(p: np.ndarray, label: np.ndarray, threshold: float) -> dict[str, float | None]:
    """AUC, logloss, calibration (mean prediction / mean label), and precision, recall and accuracy
    at `threshold`.

    p and label are [n]; what is undefined (one class only, nothing predicted positive) is None.
    Raises FunnelError for NaN.
    """
    _check_finite(p)
    predicted, actual = p >= threshold, label == 1
    hits, positives = int((predicted & actual).sum()), int(actual.sum())
    both_classes = 0 < positives < len(label)
    return {
        "auc": float(sk.roc_auc_score(label, p)) if both_classes else None,
        "logloss": float(
            sk.log_loss(label, np.clip(p.astype(np.float64), CLIP, 1 - CLIP), labels=[0, 1])
        )
        if len(label)
        else None,
        "calibration": _ratio(float(p.sum(dtype=np.float64)), positives),
        "precision": _ratio(hits, int(predicted.sum())),
        "recall": _ratio(hits, positives),
        "accuracy": float((predicted == actual).mean()) if len(label) else None,
        "rows": len(label),
        "threshold": threshold,
    }


def measure_number(y: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Mean squared and mean absolute error, and calibration (mean prediction / mean label), of
    predicted numbers y [n].

    What is undefined (no rows, labels of 0 alone) is None. Raises FunnelError for NaN.
    """
    _check_finite(y)
    y, label = y.astype(np.float64), label.astype(np.float64)
    return {
        "mse": float(((y - label) ** 2).mean()) if len(label) else None,
        "mae": float(abs(y - label).mean()) if len(label) else None,
        "calibration": _ratio(float(y.sum()), float(label.sum())),
        "rows": len(label),
    }


def _check_finite(scores: np.ndarray) -> None:
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise FunnelError(
            f"{wrong} of {len(scores)} scores are not finite: training diverged; lower the learning rates"
        )


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def evaluate(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """Metrics by task and joint, from scores {"p_<name>" or "y_<name>": [n]} and labels {name:
    [n]}.

    A joint's threshold is its chain's product; of one whose label is given outright, its task's.
    """
    thresholds = {task: declared.threshold for task, declared in spec.tasks.items()}
    thresholds |= {
        declared.joint: _chain_threshold(spec, task)
        for task, declared in spec.tasks.items()
        if declared.joint
    }
    return {
        name: measure_number(score, label)
        if predicts_number(spec, name)
        else measure(score, label, thresholds[name])
        for name, score, label in sample_spaces(spec, scores, labels)
    }


def reliability(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, list[Tenth]]:
    """By task and joint (mean prediction, mean label, rows) of each tenth of the rows, by
    prediction.
    """
    tenths = {}
    for name, score, label in sample_spaces(spec, scores, labels):
        parts = np.array_split(np.argsort(score, kind="stable"), 10)
        tenths[name] = [
            (float(score[rows].mean()), float(label[rows].mean()), len(rows))
            for rows in parts
            if len(rows)
        ]
    return tenths


def sample_spaces(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, scores, labels) of each task on its own sample space and each joint on all rows, where
    the label is known.

    Of a task whose label is the joint's some funnels predict the joint alone: then it alone is
    here.
    """
    for task, declared in spec.tasks.items():
        key = f"y_{task}" if predicts_number(spec, task) else f"p_{task}"
        if key in scores or not declared.label_is_joint:
            label, mask = own_space(spec, task, labels)
            yield task, scores[key][mask], label[mask]
        if declared.joint:
            label, mask = entire_space(spec, task, labels)
            yield declared.joint, scores[f"p_{declared.joint}"][mask], label[mask]


def predicts_number(spec: Spec, name: str) -> bool:
    """Whether a task, not a joint, predicts the number that its label is."""
    return name in spec.tasks and spec.labels[spec.tasks[name].label].is_number


def _chain_threshold(spec: Spec, task: str) -> float:
    declared, parent = spec.tasks[task], spec.parent(task)
    return declared.threshold * (
        1.0 if parent is None or declared.label_is_joint else _chain_threshold(spec, parent)
    )


def auc_entire_space(ids: list[bytes], p: np.ndarray, truth: pa.Table) -> float | None:
    """AUC of p [n] against the drawn outcome `converts` of every impression, clicked or not.

    `truth` has impression_id and converts. Raises FunnelError when an id is not in it.
    """
    converts = dict(
        zip(truth["impression_id"].to_pylist(), truth["converts"].to_pylist(), strict=True)
    )
    missing = next((i for i in ids if i.decode() not in converts), None)
    if missing is not None:
        raise FunnelError(
            f"impression {missing.decode()!r} is not in the truth: evaluation.truth belongs to other logs"
        )
    label = np.array([converts[i.decode()] for i in ids])
    return measure(p, label, 0.5)["auc"]

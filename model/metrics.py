"""How good probabilities are: each task on its own sample space, each joint on all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from sklearn import metrics as sk

from features.errors import FunnelError
from features.spec import Spec
from model.objectives import entire_space, own_space

Tenth = tuple[float, float, int]
CLIP = 1e-7  # logloss of a float32 probability that rounded to 0 or 1


def measure(p: np.ndarray, label: np.ndarray, threshold: float) -> dict[str, float | None]:
    """AUC, logloss, calibration (mean prediction / mean label), and precision, recall and accuracy at `threshold`.

    p and label are [n]; what is undefined (one class only, nothing predicted positive) is None. Raises FunnelError for NaN.
    """
    if not np.isfinite(p).all():
        raise FunnelError(f"{int((~np.isfinite(p)).sum())} of {len(p)} scores are not finite: training diverged; lower the learning rates")
    predicted, actual = p >= threshold, label == 1
    hits, positives = int((predicted & actual).sum()), int(actual.sum())
    both_classes = 0 < positives < len(label)
    return {
        "auc": float(sk.roc_auc_score(label, p)) if both_classes else None,
        "logloss": float(sk.log_loss(label, np.clip(p.astype(np.float64), CLIP, 1 - CLIP), labels=[0, 1])) if len(label) else None,
        "calibration": _ratio(float(p.sum(dtype=np.float64)), positives),
        "precision": _ratio(hits, int(predicted.sum())),
        "recall": _ratio(hits, positives),
        "accuracy": float((predicted == actual).mean()) if len(label) else None,
        "rows": len(label),
        "threshold": threshold,
    }


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def evaluate(spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """Metrics by task and joint, from scores {"p_<name>": [n]} and labels {name: [n]}. A joint's threshold is its chain's product."""
    thresholds = {task: declared.threshold for task, declared in spec.tasks.items()}
    thresholds |= {declared.joint: _chain_threshold(spec, task) for task, declared in spec.tasks.items() if declared.joint}
    return {name: measure(p, label, thresholds[name]) for name, p, label in sample_spaces(spec, scores, labels)}


def reliability(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, list[tuple[float, float, int]]]:
    """By task and joint (mean prediction, mean label, rows) of each tenth of the rows, by prediction."""
    tenths = {}
    for name, p, label in sample_spaces(spec, scores, labels):
        parts = np.array_split(np.argsort(p, kind="stable"), 10)
        tenths[name] = [(float(p[rows].mean()), float((label[rows] == 1).mean()), len(rows)) for rows in parts if len(rows)]
    return tenths


def sample_spaces(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, scores, labels) of each task on its own sample space and each joint on all rows, where the label is known."""
    for task, declared in spec.tasks.items():
        label, mask = own_space(spec, task, labels)
        yield task, scores[f"p_{task}"][mask], label[mask]
        if declared.joint:
            label, mask = entire_space(spec, task, labels)
            yield declared.joint, scores[f"p_{declared.joint}"][mask], label[mask]


def _chain_threshold(spec: Spec, task: str) -> float:
    parent = spec.parent(task)
    return spec.tasks[task].threshold * (1.0 if parent is None else _chain_threshold(spec, parent))


def auc_entire_space(ids: list[bytes], p: np.ndarray, truth: pa.Table) -> float | None:
    """AUC of p [n] against the drawn outcome `converts` of every impression, clicked or not.

    `truth` has impression_id and converts. Raises FunnelError when an id is not in it.
    """
    converts = dict(zip(truth["impression_id"].to_pylist(), truth["converts"].to_pylist(), strict=True))
    missing = next((i for i in ids if i.decode() not in converts), None)
    if missing is not None:
        raise FunnelError(f"impression {missing.decode()!r} is not in the truth: evaluation.truth belongs to other logs")
    label = np.array([converts[i.decode()] for i in ids])
    return measure(p, label, 0.5)["auc"]

"""METRICS of each task on its own sample space and of each joint on all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa

from features.errors import FunnelError
from features.spec import Spec
from model.evaluation.conditions import Metrics
from model.evaluation.constants import measure_constant
from model.metrics import METRICS
from model.metrics.base import Sample
from model.metrics.ranking import auc
from model.objectives.sample_spaces import entire_space, own_space

Tenth = tuple[float, float, int]


def measure(p: np.ndarray, label: np.ndarray, threshold: float) -> dict[str, float | None]:
    """Every metric of a binary label, then the number of rows and the threshold.

    Args:
        p: probabilities [n].
        label: 0 and 1 [n].
        threshold: a row is predicted positive where p reaches it.

    Returns:
        {metric: value}; None where it is undefined, as the AUC of labels that are all alike.

    Raises:
        FunnelError: a probability is not finite.
    """
    found = _compute("binary", Sample(p, label, threshold))
    return found | {"rows": len(label), "threshold": threshold}


def measure_number(y: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Every metric of a numeric label, then the number of rows, from predictions y [n].

    Raises:
        FunnelError: a prediction is not finite.
    """
    sample = Sample(y.astype(np.float64), label.astype(np.float64))
    return _compute("number", sample) | {"rows": len(label)}


def _compute(kind: Literal["binary", "number"], sample: Sample) -> dict[str, float | None]:
    check_finite(sample.prediction)
    return {
        name: metric.compute(sample)
        for name, metric in METRICS.items()
        if metric.of in (kind, "both")
    }


def check_finite(scores: np.ndarray) -> None:
    """Raises FunnelError where a score is NaN or infinite."""
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise FunnelError(
            f"{wrong} of {len(scores)} scores are not finite: training diverged; "
            "lower the learning rates"
        )


def evaluate(
    spec: Spec,
    scores: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    constants: Mapping[str, float] | None = None,
) -> Metrics:
    """Metrics by task and joint.

    A joint's threshold is the product of the thresholds along its chain. Where a task's label is
    the joint label already, it is the task's own.

    Args:
        scores: {"p_<name>" of probabilities, "y_<name>" of numbers: [n]}.
        labels: {name: [n]}, -1 where unknown.
        constants: BaseRates.constants, whose log loss or mean squared error on the same rows is
            added: `constant`, `constant_logloss` and `constant_mse`.
    """
    thresholds = {task: declared.threshold for task, declared in spec.tasks.items()}
    thresholds |= {
        declared.joint: _chain_threshold(spec, task)
        for task, declared in spec.tasks.items()
        if declared.joint
    }
    results: Metrics = {}
    for name, score, label in sample_spaces(spec, scores, labels):
        number = predicts_number(spec, name)
        results[name] = (
            measure_number(score, label) if number else measure(score, label, thresholds[name])
        )
        if constants:
            compared = "mse" if number else "logloss"
            results[name] |= measure_constant(constants[name], label, compared)
    return results


def reliability(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, list[Tenth]]:
    """By task and joint: (mean prediction, mean label, rows) of each tenth of the rows, in the
    order of their predictions.
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
    """(name, scores, labels) of each task on its own sample space and of each joint on all rows;
    rows with an unknown label are left out.

    Where a task's label is the joint label, some funnels predict the joint only. The task itself
    is then left out.
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
    """Whether the name is that of a task (not of a joint) with a numeric label."""
    return name in spec.tasks and spec.labels[spec.tasks[name].label].is_number


def _chain_threshold(spec: Spec, task: str) -> float:
    declared, parent = spec.tasks[task], spec.parent(task)
    return declared.threshold * (
        1.0 if parent is None or declared.label_is_joint else _chain_threshold(spec, parent)
    )


def auc_entire_space(ids: list[bytes], p: np.ndarray, truth: pa.Table) -> float | None:
    """AUC of p [n] against the simulated outcome `converts` of every impression, clicked or not.

    Args:
        ids: the impressions' ids [n].
        truth: a simulation's truth.parquet, with the columns impression_id and converts.

    Raises:
        FunnelError: the truth lacks an id, or a score is not finite.
    """
    converts = dict(
        zip(truth["impression_id"].to_pylist(), truth["converts"].to_pylist(), strict=True)
    )
    missing = next((i for i in ids if i.decode() not in converts), None)
    if missing is not None:
        raise FunnelError(
            f"impression {missing.decode()!r} is not in the truth: "
            "evaluation.truth belongs to other logs"
        )
    check_finite(p)
    return auc(Sample(p, np.array([converts[i.decode()] for i in ids])))

"""Labels on the sample space that a task or a joint is defined on. Unknown labels are −1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import tensorflow as tf

from features.spec import Spec

Labels = TypeVar("Labels", tf.Tensor, np.ndarray)


def own_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task on its own sample space: rows with a known label and, where the task
    has `given`, with 1 in that label.
    """
    declared = spec.tasks[task]
    label = labels[declared.label]
    return label, label >= 0 if declared.given is None else (label >= 0) & (
        labels[declared.given] == 1
    )


def entire_space(spec: Spec, task: str, labels: Mapping[str, Labels]) -> tuple[Labels, Labels]:
    """(label, mask) of a task's joint over all rows: 1 if the whole chain happened, 0 if any step
    is known not to have happened.

    The label of a task declared `label_is_joint` is the joint label already.
    """
    label, at = labels[spec.tasks[task].label], task
    while not spec.tasks[at].label_is_joint and (parent := spec.parent(at)) is not None:
        at = parent
        label = both(labels[spec.tasks[at].label], label)
    return label, label >= 0


def both(a: Labels, b: Labels) -> Labels:
    """a and b in {−1 unknown, 0, 1}: 0 if either is 0, else −1 if either is unknown, else 1:
    |a|·|b|·min(a, b).
    """
    return abs(a) * abs(b) * ((a + b - abs(a - b)) // 2)

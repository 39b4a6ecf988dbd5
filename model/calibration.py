"""Calibration: maps a model's probabilities to the rates of rows that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LogisticRegression

from features.files import write_text
from features.settings import Settings
from features.spec import Spec
from model.objectives.predictions import Prediction, Probability, from_logit, probability
from model.objectives.sample_spaces import entire_space, own_space

Kind = Literal["isotonic", "platt"]
POSITIVES, BINS = 20, 50  # the least positives in a bin, and the most bins


class CalibrationMap(Settings):
    """logit p = f(logit p'), f rising.

    "platt": f(z) = a·z + b, of the largest likelihood (Platt, Advances in Large Margin Classifiers,
    1999); x = [a], y = [b]. "isotonic": f runs linearly through the points (x_i, y_i), beyond them
    with slope 1; a point is a block of rows with like predictions, x the logit of their mean and y
    that of their rate, after neighbors whose rates fall were pooled (Zadrozny and Elkan, KDD 2002).
    All y are shifted so that the mean prediction is the rate.
    """

    kind: Kind
    x: list[float] = Field(min_length=1)
    y: list[float] = Field(min_length=1)

    def __call__(self, p: Probability) -> Probability:
        z = p.log_p - p.log_not_p
        if self.kind == "platt":
            return from_logit(self.x[0] * z + self.y[0])
        x, slopes, shifts = (tf.constant(part, tf.float32) for part in self._pieces())
        piece = tf.searchsorted(x, z, side="right")
        return from_logit(tf.gather(slopes, piece) * z + tf.gather(shifts, piece))

    def _pieces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The points' x, and the slope and the value at 0 of each piece between and beyond them."""
        x, y = np.array(self.x), np.array(self.y)
        slopes = np.concatenate([[1.0], np.diff(y) / np.diff(x), [1.0]])
        anchors = np.concatenate([[0], np.arange(len(x))])
        return x, slopes, y[anchors] - slopes * x[anchors]


def fit(kind: Kind, p: np.ndarray, label: np.ndarray, weight: np.ndarray) -> CalibrationMap:
    """The map for probabilities p [n] of rows with labels 0 and 1 and sample weights `weight`."""
    z = logit(np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7))
    if kind == "platt" and len(np.unique(label)) == 2:
        found = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
            z[:, np.newaxis], label, weight
        )
        slope = float(found.coef_[0, 0])
        if slope > 0:
            return CalibrationMap(kind=kind, x=[slope], y=[float(found.intercept_[0])])
    if kind == "platt":  # predictions that rank rows in reverse keep their order
        x, y = np.zeros(1), np.zeros(1)
    else:
        x, y = _blocks(p.astype(np.float64), label, weight)
    pieces = CalibrationMap(kind="isotonic", x=x.tolist(), y=y.tolist())._pieces()
    shift = _shift(_interpolate(pieces, z), label, weight)
    if kind == "platt":
        return CalibrationMap(kind=kind, x=[1.0], y=[shift])
    return CalibrationMap(kind=kind, x=x.tolist(), y=(y + shift).tolist())


def _blocks(p: np.ndarray, label: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (x, y), both rising, of bins of about equally many positives, pooled until their
    rates rise.
    """
    order = np.argsort(p, kind="stable")
    p, label, weight = p[order], label[order], weight[order]
    bins = int(np.clip(label.sum() // POSITIVES, 1, BINS))
    positives = np.cumsum(label) - label  # before the row
    number = np.minimum(positives * bins // max(int(label.sum()), 1), bins - 1)
    number = np.searchsorted(np.unique(p), p) if len(np.unique(p)) < bins else number
    rows, predicted, happened = (
        np.bincount(number, values) for values in (weight, weight * p, weight * label)
    )
    kept = rows > 0
    rows, predicted, happened = rows[kept], predicted[kept], happened[kept]
    rates = isotonic_regression(happened / rows, sample_weight=rows)
    block = np.cumsum(np.concatenate([[0], np.diff(rates) > 0]))
    rows, predicted, happened = (
        np.bincount(block, values) for values in (rows, predicted, happened)
    )
    rates = np.where(
        (happened > 0) & (happened < rows), happened / rows, (happened + 0.5) / (rows + 1)
    )
    x, y = logit(predicted / rows), logit(rates)
    rising = np.concatenate([[True], (np.diff(x) > 0) & (np.diff(y) > 0)])
    return x[rising], y[rising]


def _interpolate(pieces: tuple[np.ndarray, np.ndarray, np.ndarray], z: np.ndarray) -> np.ndarray:
    x, slopes, shifts = pieces
    piece = np.searchsorted(x, z, side="right")
    return slopes[piece] * z + shifts[piece]


def _shift(z: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """The b with Σ w·σ(z + b) = Σ w·label; 0 where the labels are all alike."""
    target = float(weight @ label)
    if not 0 < target < weight.sum():
        return 0.0
    return float(brentq(lambda b: weight @ expit(z + b) - target, -40, 40))


def fit_all(
    spec: Spec, scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, CalibrationMap]:
    """Fits the maps of all tasks with `calibrate` and of their joints.

    Returns:
        {task or joint: its map, fitted on its own sample space}.
    """
    found = {}
    weight = labels.get("weight", np.ones(len(next(iter(labels.values())))))
    for task, declared in spec.tasks.items():
        if declared.calibrate is None:
            continue
        for name, space in ((task, own_space), (declared.joint, entire_space)):
            if name is not None and f"p_{name}" in scores:
                label, mask = space(spec, task, labels)
                found[name] = fit(
                    declared.calibrate, scores[f"p_{name}"][mask], label[mask], weight[mask]
                )
    return found


def apply(
    maps: Mapping[str, CalibrationMap], predictions: Mapping[str, Prediction]
) -> dict[str, Prediction]:
    """The predictions; those that have a map are mapped."""
    return {
        name: maps[name](probability(p)) if name in maps else p for name, p in predictions.items()
    }


def read(path: Path, step: int) -> dict[str, CalibrationMap] | None:
    """The maps that were fitted for the checkpoint of that step; None where there are none."""
    content = json.loads(path.read_text()) if path.exists() else {}
    return (
        {n: CalibrationMap.parse(m) for n, m in content["maps"].items()}
        if content.get("step") == step
        else None
    )


def write(path: Path, step: int, maps: Mapping[str, CalibrationMap]) -> None:
    """Writes calibration.json."""
    content = {"step": step, "maps": {name: m.model_dump() for name, m in maps.items()}}
    write_text(path, json.dumps(content, indent=1) + "\n")

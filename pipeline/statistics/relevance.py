"""Cross-fitted single-feature AUC per label, to detect label leakage.

In-sample means would not do: those of an id that hardly repeats are the labels themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from features import hashing
from features.spec import Spec
from pipeline.statistics.ranks import auc, quantile_cuts
from pipeline.statistics.sample import SAMPLED, SplitRows

FOLDS = 4
SMOOTHING = 10.0  # the weight of the overall mean in each value's mean, in rows
BINS = 20  # quantile bins of a number
TOO_GOOD = 0.95
CHANCE = 0.5  # the AUC of a feature that tells nothing
Z = 1.96  # of a 95 % interval


def relevance(spec: Spec, sample: SplitRows) -> dict[str, dict[str, float | None]]:
    """Computes the cross-fitted AUC by feature and binary label: of numbers the better of quantile
    bins and rank, None where a class is absent.
    """
    folds = (hashing.mix(sample.hashes, hashing.ORDER) % np.uint64(FOLDS)).astype(np.int64)
    labels = {
        name: sample.labels[name] for name, label in spec.labels.items() if not label.is_number
    }
    found: dict[str, dict[str, float | None]] = {}
    for name, slots in spec.id_slots.items():
        values = values_of_ids(sample.ids[:, slots.slice])
        found[name] = {n: by_value(values, label, folds) for n, label in labels.items()}
    for name, slots in spec.dense_slots.items():
        numbers = sample.dense[:, slots.start]
        values = values_of_numbers(numbers)
        both = {
            n: (by_value(values, label, folds), by_rank(numbers, label, folds))
            for n, label in labels.items()
        }
        found[name] = {
            n: max((a for a in aucs if a is not None), default=None) for n, aucs in both.items()
        }
    return found


def suspects(
    relevance: dict[str, dict[str, float | None]], counts: dict[str, dict[str, int]]
) -> list[str]:
    """Warnings about features that predict a label too well, and better than chance: the interval
    of the AUC, not a number of rows, decides whether it means something.

    Args:
        relevance: AUC by feature and label, over the sample of the training rows.
        counts: positive, negative and unknown training rows by label.
    """
    found = []
    for feature, by_label in relevance.items():
        for label, value in by_label.items():
            if value is None or value <= TOO_GOOD:
                continue
            share = min(1.0, SAMPLED / sum(counts[label].values()))
            positive, negative = (
                max(1, round(share * counts[label][side])) for side in ("positive", "negative")
            )
            low, high = auc_interval(value, positive, negative)
            if low > CHANCE:
                found.append(
                    f"features.{feature} alone predicts label '{label}' with an AUC of "
                    f"{value:.3f}: possible label leakage (95 % interval {low:.3f} to {high:.3f}, "
                    f"from {positive:,} positive and {negative:,} negative rows); if the value is "
                    "only known after the label, remove the feature or use its value at "
                    "impression time"
                )
    return found


def auc_interval(value: float, positive: int, negative: int) -> tuple[float, float]:
    """The 95 % interval of an AUC: the values a with |AUC − a| ≤ 1.96·√V(a), where V is Hanley and
    McNeil's variance as Newcombe (Statistics in Medicine 25, 2006, method 5) takes it.

    Example:
        >>> [round(bound, 3) for bound in auc_interval(1.0, 3, 500)]
        [0.707, 1.0]
    """

    def outside(a: float) -> bool:
        pairs, mean = positive * negative, (positive + negative) / 2 - 1
        variance = a * (1 - a) / pairs * (1 + mean * ((1 - a) / (2 - a) + a / (1 + a)))
        return abs(value - a) > Z * math.sqrt(variance)

    bounds = []
    for beyond in (0.0, 1.0):
        within = value
        for _ in range(40):  # bisection, to 2⁻⁴⁰
            middle = (beyond + within) / 2
            beyond, within = (middle, within) if outside(middle) else (beyond, middle)
        bounds.append(within)
    return bounds[0], bounds[1]


@dataclass(frozen=True)
class Values:
    """The values of a feature in n rows, flat: row `rows[i]` has the value `codes[i]`, 0 ≤ code <
    count. Each row has at least one value.
    """

    rows: np.ndarray
    codes: np.ndarray
    count: int


def values_of_ids(ids: np.ndarray) -> Values:
    """The values of ids [n, slots], where 0 is missing; a row without a value has the value 0."""
    present = ids > 0
    present[~present.any(axis=1), 0] = True
    found, codes = np.unique(ids[present], return_inverse=True)
    return Values(np.nonzero(present)[0], codes, len(found))


def values_of_numbers(numbers: np.ndarray) -> Values:
    """The quantile bins of numbers [n]; missing numbers have a bin of their own."""
    missing = np.isnan(numbers)
    cuts = quantile_cuts(numbers[~missing], BINS)
    codes = np.where(missing, len(cuts) + 1, np.searchsorted(cuts, numbers, side="right"))
    return Values(np.arange(len(numbers)), codes, len(cuts) + 2)


def by_value(values: Values, label: np.ndarray, folds: np.ndarray) -> float | None:
    """AUC of the mean label of a row's values.

    The mean of a value is (Σy + m·ȳ) / (n + m) over the rows of the other folds, with m = SMOOTHING
    (Micci-Barreca, SIGKDD Explorations, 2001). A row with several values has the mean of theirs.
    """
    known = label >= 0
    own = known[values.rows]
    rows, codes = values.rows[own], values.codes[own]
    cell = codes * FOLDS + folds[rows]
    seen = np.bincount(cell, minlength=values.count * FOLDS).reshape(-1, FOLDS)
    positive = np.bincount(cell, label[rows] == 1, minlength=values.count * FOLDS).reshape(
        -1, FOLDS
    )
    seen, positive = _others(seen), _others(positive)  # [values, folds]
    prior = _others(np.bincount(folds[known], label[known] == 1, FOLDS)) / np.maximum(
        _others(np.bincount(folds[known], minlength=FOLDS)), 1
    )
    means = (positive + SMOOTHING * prior) / (seen + SMOOTHING)
    totals = np.bincount(rows, means[codes, folds[rows]], len(label))
    scores = totals / np.maximum(np.bincount(rows, minlength=len(label)), 1)
    return _mean(_by_fold(scores, label, folds))


def by_rank(numbers: np.ndarray, label: np.ndarray, folds: np.ndarray) -> float | None:
    """AUC of the number itself, missing lowest. The other folds decide whether more is better."""
    aucs = _by_fold(np.where(np.isnan(numbers), -np.inf, numbers), label, folds)
    turned = []
    for fold, (value, pairs) in enumerate(aucs):
        others = _mean([one for other, one in enumerate(aucs) if other != fold])
        turned.append((1 - value if others is not None and others < 0.5 else value, pairs))
    return _mean(turned)


def _others(by_fold: np.ndarray) -> np.ndarray:
    """[…, folds] → the sum over the other folds."""
    others: np.ndarray = by_fold.sum(axis=-1, keepdims=True) - by_fold
    return others


def _by_fold(scores: np.ndarray, label: np.ndarray, folds: np.ndarray) -> list[tuple[float, int]]:
    """(AUC, pairs) within each fold. Scores of different folds come from different means, so they
    do not compare.
    """
    found = []
    for fold in range(FOLDS):
        rows = np.flatnonzero((folds == fold) & (label >= 0))
        positive = label[rows] == 1
        value, p = auc(scores[rows], positive), int(positive.sum())
        found.append((0.0, 0) if value is None else (value, p * (len(rows) - p)))
    return found


def _mean(aucs: list[tuple[float, int]]) -> float | None:
    """The mean weighted by pairs."""
    pairs = sum(p for _, p in aucs)
    return sum(value * p for value, p in aucs) / pairs if pairs else None

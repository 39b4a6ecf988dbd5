"""Columns that give a label away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features import hashing
from funnel.init.labels import Label
from funnel.init.reading.profile import Profile
from pipeline.statistics.relevance import FOLDS, Values, by_rank, by_value, values_of_numbers

LEAK = 0.98  # AUC of a column alone, from which it is left out
SUSPECT = 0.9  # … from which the file warns
ONLY_WITH = 0.98  # the share of label 1 among the rows that have a value other than 0
RARE = 0.5  # the share of rows without one
ENOUGH = 20  # rows of each class
REPEATS = 0.5  # distinct values for each value, above which single values say nothing
BINNED = 0.05  # AUC that 20 bins may lose to the rank


@dataclass(frozen=True)
class Leak:
    """What a column says about a label; `certain` leaves it out."""

    why: str
    certain: bool


def folds(rows: int) -> np.ndarray:
    """[n] the fold of each row, the same in every run."""
    mixed = hashing.mix(np.arange(rows, dtype=np.uint64), hashing.ORDER)
    return (mixed % np.uint64(FOLDS)).astype(np.int64)


def find_leak(profile: Profile, labels: list[Label], fold: np.ndarray) -> Leak | None:
    """The worst that a column says about any label; None if that is harmless."""
    worst: Leak | None = None
    for label in labels:
        positive = label.values == 1
        if label.is_number or min(positive.sum(), (label.values == 0).sum()) < ENOUGH:
            continue
        if _only_with(profile, label):
            return Leak(f"leak: it is there, or above 0, only where {label.name} is 1", True)
        auc = _auc(profile, label.values, fold)
        if auc >= LEAK:
            return Leak(f"leak: alone it predicts {label.name} with AUC {auc:.3f}", True)
        if auc >= SUSPECT and worst is None:
            worst = Leak(f"CHECK: alone it predicts {label.name} with AUC {auc:.3f}", False)
    return worst


def _auc(profile: Profile, label: np.ndarray, fold: np.ndarray) -> float:
    """The best AUC of the column's values, its bins and its rank, cross-fitted. The AUC in the
    sample itself is at least as high: where it does not reach SUSPECT, it is returned instead.
    """
    found = [_screened(profile.label_values, label, fold)] if profile.unique < REPEATS else []
    if profile.numbers is not None and not profile.is_list:
        found.append(_screened(values_of_numbers(profile.numbers), label, fold))
        if found[-1] > SUSPECT - BINNED:
            found.append(by_rank(profile.numbers, label, fold) or 0.0)
    return max(found, default=0.0)


def _screened(values: Values, label: np.ndarray, fold: np.ndarray) -> float:
    """The cross-fitted AUC of values, or that in the sample where it is below SUSPECT − BINNED."""
    known = label[values.rows]
    ones = np.bincount(values.codes, known == 1, values.count)
    zeros = np.bincount(values.codes, known == 0, values.count)
    order = np.argsort(ones / np.maximum(ones + zeros, 1))
    below = np.cumsum(zeros[order]) - zeros[order] / 2
    own = float((ones[order] @ below) / max(ones.sum() * zeros.sum(), 1))
    return own if own < SUSPECT - BINNED else by_value(values, label, fold) or 0.0


def _only_with(profile: Profile, label: Label) -> bool:
    """Whether it is there, or not 0, only where the label is 1."""
    if profile.is_list or not profile.present or label.rate > RARE:
        return False
    absent = profile.encoded.indices.is_null().to_numpy(zero_copy_only=False)
    if profile.numbers is not None:
        absent = absent | (np.nan_to_num(profile.numbers) == 0)
    present = ~absent & (label.values >= 0)
    return bool(
        absent.mean() >= RARE
        and present.sum() >= ENOUGH
        and (label.values[present] == 1).mean() >= ONLY_WITH
    )

"""Counts, moments and a sample of the rows written, computed by partition.

They are folded in the order of the partitions, so that sums do not vary between runs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from features import arrays
from features.spec import Spec
from pipeline.statistics.moments import Moments
from pipeline.statistics.sample import SplitRows, fold_samples, sample_partition
from pipeline.statistics.sketches import missing
from pipeline.typed_json import Array, from_key

DAY = 86_400_000_000  # µs
POSITIVE, NEGATIVE, UNKNOWN, WEIGHT, WEIGHTED, TOTAL = range(6)  # columns of `label_sums`
States = Annotated[tuple[int, ...], BeforeValidator(from_key)]
# By the states of all labels (−1 unknown, 0, 1): rows, Σ weight, and by label Σ weight·value over
# the rows that know it.
Outcomes = dict[States, Array]


@dataclass(frozen=True)
class PartitionStatistics:
    """Statistics of the rows of one partition, or of all. All but labels and days are of training
    rows.

    Attributes:
        labels: by split, sums [labels, 6] as `label_sums` gives them.
        days: by day since 1970, the same sums.
        missing: rows without a value, by feature with ids.
        raw: moments of numbers as they are in the log.
        transformed: moments of numbers after their transform.
        counts: (ids rising, their counts), by feature whose vocabulary is built from the logs.
        outcomes: sums by what the labels are together.
        sample: a sample of the rows.
    """

    labels: dict[str, Array]
    days: dict[int, Array]
    missing: dict[str, int]
    raw: dict[str, Moments]
    transformed: dict[str, Moments]
    counts: dict[str, tuple[Array, Array]]
    outcomes: Outcomes
    sample: SplitRows


def partition_statistics(
    spec: Spec, splits: Mapping[str, SplitRows], *, partitions: int = 1
) -> PartitionStatistics:
    """Computes the statistics of one partition.

    Args:
        spec: the features and labels.
        splits: the rows by split, `train` and `eval`.
        partitions: number of partitions.
    """
    train = splits["train"]
    numbers = {name: train.dense[:, slots.start] for name, slots in spec.dense_slots.items()}
    return PartitionStatistics(
        labels={
            name: label_sums(spec, rows, np.zeros(len(rows), np.int64), 1)[0]
            for name, rows in splits.items()
        },
        days=day_sums(spec, splits.values()),
        missing={name: missing(train.ids[:, slots.slice]) for name, slots in spec.id_slots.items()},
        raw={name: Moments.of(values) for name, values in numbers.items()},
        transformed={
            name: Moments.of(_transform(spec, name, values)) for name, values in numbers.items()
        },
        counts={
            name: _count(train.ids[:, spec.id_slots[name].slice])
            for name, f in spec.vocabularies.items()
            if f.min_count
        },
        outcomes=outcome_sums(spec, train),
        sample=sample_partition(train, partitions),
    )


def outcome_sums(spec: Spec, rows: SplitRows) -> Outcomes:
    """Sums over rows by what their labels are together."""
    values = [rows.labels[name].astype(np.float64) for name in spec.labels]
    digits = 3 ** np.arange(len(values))
    codes = sum(
        digit * (np.sign(value).astype(np.int64) + 1)
        for digit, value in zip(digits, values, strict=True)
    )
    found, group = np.unique(codes, return_inverse=True)
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
    columns = [np.ones(len(rows)), weights, *(weights * np.maximum(value, 0) for value in values)]
    sums = np.stack([np.bincount(group, column, len(found)) for column in columns], 1)
    states = found[:, np.newaxis] // digits % 3 - 1
    return dict(zip(map(tuple, states.tolist()), sums, strict=True))


def day_sums(spec: Spec, splits: Iterable[SplitRows]) -> dict[int, np.ndarray]:
    """The sums of `label_sums` by day since 1970, in UTC. A log without times has no days."""
    days: dict[int, np.ndarray] = {}
    for rows in splits:
        if rows.times.any():
            found, group = np.unique(rows.times // DAY, return_inverse=True)
            for day, sums in zip(
                found.tolist(), label_sums(spec, rows, group, len(found)), strict=True
            ):
                days[day] = days.get(day, 0) + sums
    return days


def label_sums(spec: Spec, rows: SplitRows, group: np.ndarray, groups: int) -> np.ndarray:
    """[groups, labels, 6]: the numbers of positive, negative (0) and unknown rows; Σ weight over
    known rows and over positive ones; Σ weight·value over known rows.
    """
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
    sums = np.zeros((groups, len(spec.labels), 6))
    for number, name in enumerate(spec.labels):
        value = rows.labels[name].astype(np.float64)
        positive, known = value > 0, value >= 0
        columns = (
            positive,
            value == 0,
            ~known,
            weights * known,
            weights * positive,
            weights * np.where(known, value, 0),
        )
        for i, column in enumerate(columns):
            sums[:, number, i] = np.bincount(group, column, groups)
    return sums


def _transform(spec: Spec, name: str, values: np.ndarray) -> np.ndarray:
    return (
        arrays.transform(spec.numeric[name], values.astype(np.float64))
        if name in spec.numeric
        else values
    )


def _count(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(ids[ids > 0], return_counts=True)


def fold(parts: Sequence[PartitionStatistics]) -> PartitionStatistics:
    """The statistics of all rows, from those of the partitions in order."""
    first = parts[0]
    days = sorted({day for part in parts for day in part.days})
    return PartitionStatistics(
        labels={split: _sum(part.labels[split] for part in parts) for split in first.labels},
        days={day: _sum(part.days[day] for part in parts if day in part.days) for day in days},
        missing={name: sum(part.missing[name] for part in parts) for name in first.missing},
        raw={name: sum((part.raw[name] for part in parts), Moments()) for name in first.raw},
        transformed={
            name: sum((part.transformed[name] for part in parts), Moments())
            for name in first.transformed
        },
        counts={name: _fold_counts([part.counts[name] for part in parts]) for name in first.counts},
        outcomes=_fold_outcomes([part.outcomes for part in parts]),
        sample=fold_samples([part.sample for part in parts]),
    )


def _fold_counts(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    ids, group = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
    counts = np.bincount(group, np.concatenate([counts for _, counts in parts]), len(ids))
    return ids, counts.astype(np.int64)


def _fold_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    whole: Outcomes = {}
    for part in parts:
        for states, sums in part.items():
            whole[states] = whole.get(states, 0) + sums
    return whole


def _sum(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of at least one array, from the first on."""
    return functools.reduce(np.add, arrays)

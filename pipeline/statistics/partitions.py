"""Counts, moments and a sample of what was written: a part by partition, folded in partition order
so that sums never vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from features import arrays
from features.spec import Spec
from pipeline.statistics.collisions import FREQUENT
from pipeline.statistics.moments import Moments
from pipeline.statistics.ranks import correlations
from pipeline.statistics.relevance import relevance
from pipeline.statistics.sample import SAMPLED, SplitRows, fold_samples, sample_partition
from pipeline.statistics.sketches import missing

DAY = 86_400_000_000  # µs
POSITIVE, NEGATIVE, UNKNOWN, WEIGHT, WEIGHTED, TOTAL = range(6)
QUANTILES = (1, 5, 25, 50, 75, 95, 99)  # per cent
ABOUT = {
    "rows, labels, rates, means, days": "the rows written, by split or by UTC day; a number label is positive above 0; rates and means "
    "count each row with its weight, so that they are those of the logs",
    "features": "the training rows written; mean, std, transformed_min and transformed_max are of the transformed values",
    "features.*.valid": "all valid rows, before duplicates, split and sampling; distinct within 2.2 % unless exact; a top value's count "
    "is a lower bound, exact where the value is among the most frequent of every batch",
    "features.*.valid.collisions": "of all features that use the table; frequent: groups of values, each at least "
    f"{FREQUENT:g} times a row, that share a bucket, with occurrences for each valid row",
    "features.*.quantiles, relevance, correlations": f"a sample of the training rows: the {SAMPLED:,} of smallest hash",
}


# By the states of all labels (−1 unknown, 0, 1): rows, Σ weight, and by label Σ weight·value over
# the rows that know it.
Outcomes = dict[tuple[int, ...], np.ndarray]


@dataclass(frozen=True)
class Part:
    """A partition's part, or the whole.

    `labels` by split and `days` by number since 1970: sums [labels, 6] in the order above. Of the
    training rows: `missing` of coded features, `raw` and `transformed` moments of numbers, `counts`
    of the ids of vocabularies to be made (ids rising, counts), `outcomes`, and `sample`.
    """

    labels: dict[str, np.ndarray]
    days: dict[int, np.ndarray]
    missing: dict[str, int]
    raw: dict[str, Moments]
    transformed: dict[str, Moments]
    counts: dict[str, tuple[np.ndarray, np.ndarray]]
    outcomes: Outcomes
    sample: SplitRows


def partial(spec: Spec, splits: Mapping[str, SplitRows], *, partitions: int = 1) -> Part:
    """Of the `train` and `eval` rows of one of `partitions`."""
    train = splits["train"]
    numbers = {name: train.dense[:, slots.start] for name, slots in spec.dense_slots.items()}
    return Part(
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
    """Of rows, by what their labels are together."""
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
    """By day since 1970, in UTC: the sums of its rows. A log without times has no days."""
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
    """By group of rows and label: rows positive, negative (0) and unknown; Σ weight over known
    rows, over positive ones, and Σ weight·value over known ones: [groups, labels, 6].
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
        for place, column in enumerate(columns):
            sums[:, number, place] = np.bincount(group, column, groups)
    return sums


def _transform(spec: Spec, name: str, values: np.ndarray) -> np.ndarray:
    return (
        arrays.transform(spec.numeric[name], values.astype(np.float64))
        if name in spec.numeric
        else values
    )


def _count(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(ids[ids > 0], return_counts=True)


def fold(spec: Spec, parts: Sequence[Part]) -> Part:
    """The whole of parts in the order of their partitions."""
    first = parts[0]
    days = sorted({day for part in parts for day in part.days})
    return Part(
        labels={split: sum(part.labels[split] for part in parts) for split in first.labels},
        days={day: sum(part.days[day] for part in parts if day in part.days) for day in days},
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
    ids, place = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
    return ids, np.bincount(
        place, np.concatenate([counts for _, counts in parts]), len(ids)
    ).astype(np.int64)


def _fold_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    whole: Outcomes = {}
    for part in parts:
        for states, sums in part.items():
            whole[states] = whole.get(states, 0) + sums
    return whole


def statistics_json(spec: Spec, whole: Part, profiles: Mapping[str, dict]) -> dict:
    """statistics.json; `profiles` are of all valid rows, from pipeline.statistics.streams. ABOUT says
    which rows each part is of.
    """
    return {
        "about": ABOUT,
        "rows": {split: rows_of(sums) for split, sums in whole.labels.items()},
        "labels": {split: counts_of(spec, sums) for split, sums in whole.labels.items()},
        "rates": {split: rates_of(spec, sums) for split, sums in whole.labels.items()},
        "means": {split: means_of(spec, sums) for split, sums in whole.labels.items()},
        "days": {
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat(): {
                "rows": rows_of(sums),
                "labels": counts_of(spec, sums),
                "rates": rates_of(spec, sums),
            }
            for day, sums in whole.days.items()
        },
        "sample_rows": len(whole.sample),
        "correlations": correlations(whole.sample.labels),
        "relevance": relevance(spec, whole.sample),
        "features": {
            **{
                n: {"missing": count} | ({"valid": profiles[n]} if n in profiles else {})
                for n, count in whole.missing.items()
            },
            **{n: _number_json(spec, n, whole) for n in spec.dense_slots},
        },
    }


def rows_of(sums: np.ndarray) -> int:
    """Of [labels, 6]: every label counts every row once."""
    return int(sums[0, : UNKNOWN + 1].sum())


def counts_of(spec: Spec, sums: np.ndarray) -> dict[str, dict[str, int]]:
    """Of each label: how many rows are positive, negative and unknown."""
    keys = ("positive", "negative", "unknown")
    return {
        name: dict(zip(keys, map(int, own[: UNKNOWN + 1]), strict=True))
        for name, own in zip(spec.labels, sums, strict=True)
    }


def rates_of(spec: Spec, sums: np.ndarray) -> dict[str, float | None]:
    """Of each label: positives / known rows; of a label `after` another: positives / positives of
    that one.
    """
    by_name, rates = dict(zip(spec.labels, sums, strict=True)), {}
    for name, label in spec.labels.items():
        after = getattr(label, "after", None)
        below = by_name[after][WEIGHTED] if after else by_name[name][WEIGHT]
        rates[name] = float(by_name[name][WEIGHTED] / below) if below else None
    return rates


def means_of(spec: Spec, sums: np.ndarray) -> dict[str, float | None]:
    """Of each label that is a number: its mean over known rows."""
    numbers = {
        name: own
        for (name, label), own in zip(spec.labels.items(), sums, strict=True)
        if label.is_number
    }
    return {
        name: float(own[TOTAL] / own[WEIGHT]) if own[WEIGHT] else None
        for name, own in numbers.items()
    }


def _number_json(spec: Spec, name: str, whole: Part) -> dict:
    raw, transformed = whole.raw[name], whole.transformed[name]
    values = whole.sample.dense[:, spec.dense_slots[name].start]
    values = values[~np.isnan(values)]
    cuts = (
        np.quantile(values, np.array(QUANTILES) / 100, method="inverted_cdf").tolist()
        if len(values)
        else []
    )
    return {
        "missing": rows_of(whole.labels["train"]) - raw.count,
        "count": raw.count,
        "mean": transformed.mean,
        "std": transformed.std,
        "min": raw.low,
        "max": raw.high,
        "transformed_min": transformed.low,
        "transformed_max": transformed.high,
        "quantiles": dict(zip((f"p{q}" for q in QUANTILES), cuts, strict=False)),
    }

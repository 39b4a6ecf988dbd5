"""Folded statistics → statistics.json."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from features.spec import Spec
from pipeline.statistics.collisions import FREQUENT
from pipeline.statistics.partitions import (
    TOTAL,
    UNKNOWN,
    WEIGHT,
    WEIGHTED,
    PartitionStatistics,
)
from pipeline.statistics.ranks import correlations
from pipeline.statistics.relevance import relevance
from pipeline.statistics.sample import SAMPLED

QUANTILES = (1, 5, 25, 50, 75, 95, 99)  # per cent
# Which rows each part of the file is of; a part of the file itself.
ABOUT = {
    "rows, labels, rates, means, days": (
        "the rows written, by split or by UTC day; a number label is positive above 0; rates and "
        "means count each row with its weight, so that they are those of the logs"
    ),
    "features": (
        "the training rows written; mean, std, transformed_min and transformed_max are of the "
        "transformed values"
    ),
    "features.*.valid": (
        "all valid rows, before duplicates, split and sampling; distinct within 2.2 % unless "
        "exact; a top value's count is a lower bound, exact where the value is among the most "
        "frequent of every batch"
    ),
    "features.*.valid.collisions": (
        "of all features that use the table; frequent: groups of values, each at least "
        f"{FREQUENT:g} times a row, that share a bucket, with occurrences for each valid row"
    ),
    "features.*.quantiles, relevance, correlations": (
        f"a sample of the training rows: the {SAMPLED:,} of smallest hash"
    ),
}


def statistics_json(
    spec: Spec, whole: PartitionStatistics, profiles: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The content of statistics.json.

    Args:
        spec: the features and labels.
        whole: the statistics of all rows written.
        profiles: of all valid rows, as `profiles_json` gives them.
    """
    return {
        "about": ABOUT,
        "rows": {split: rows_of(sums) for split, sums in whole.labels.items()},
        "labels": {split: counts_of(spec, sums) for split, sums in whole.labels.items()},
        "rates": {split: rates_of(spec, sums) for split, sums in whole.labels.items()},
        "means": {split: means_of(spec, sums) for split, sums in whole.labels.items()},
        "days": {
            _iso_day(day): {
                "rows": rows_of(sums),
                "labels": counts_of(spec, sums),
                "rates": rates_of(spec, sums),
            }
            for day, sums in whole.days.items()
        },
        "sample_rows": len(whole.sample),
        "correlations": correlations(whole.sample.labels),
        "relevance": relevance(spec, whole.sample),
        "features": _id_features_json(whole, profiles)
        | {name: _number_json(spec, name, whole) for name in spec.dense_slots},
    }


def _iso_day(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def _id_features_json(
    whole: PartitionStatistics, profiles: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = {}
    for name, count in whole.missing.items():
        described[name] = {"missing": count}
        if name in profiles:
            described[name]["valid"] = profiles[name]
    return described


def rows_of(sums: np.ndarray) -> int:
    """The number of rows of sums [labels, 6]: every label counts every row once."""
    return int(sums[0, : UNKNOWN + 1].sum())


def counts_of(spec: Spec, sums: np.ndarray) -> dict[str, dict[str, int]]:
    """The numbers of positive, negative and unknown rows of each label."""
    keys = ("positive", "negative", "unknown")
    return {
        name: dict(zip(keys, map(int, own[: UNKNOWN + 1]), strict=True))
        for name, own in zip(spec.labels, sums, strict=True)
    }


def rates_of(spec: Spec, sums: np.ndarray) -> dict[str, float | None]:
    """The rate of each label: positives / known rows; of a label `after` another one: positives /
    positives of that one.
    """
    by_name = dict(zip(spec.labels, sums, strict=True))
    rates: dict[str, float | None] = {}
    for name, label in spec.labels.items():
        after = getattr(label, "after", None)
        below = by_name[after][WEIGHTED] if after else by_name[name][WEIGHT]
        rates[name] = float(by_name[name][WEIGHTED] / below) if below else None
    return rates


def means_of(spec: Spec, sums: np.ndarray) -> dict[str, float | None]:
    """The mean over known rows of each label that is a number."""
    numbers = {
        name: own
        for (name, label), own in zip(spec.labels.items(), sums, strict=True)
        if label.is_number
    }
    return {
        name: float(own[TOTAL] / own[WEIGHT]) if own[WEIGHT] else None
        for name, own in numbers.items()
    }


def _number_json(spec: Spec, name: str, whole: PartitionStatistics) -> dict[str, Any]:
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

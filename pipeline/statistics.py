"""Counts and moments of what was written: partials by partition, folded in partition order so that sums never vary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features import arrays
from features.spec import Spec
from pipeline.labels import Outcome


def label_counts(spec: Spec, labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Of each label: how many rows are positive, negative and unknown."""
    return {
        name: {
            "positive": int((labels[name] == 1).sum()),
            "negative": int((labels[name] == 0).sum()),
            "unknown": int((labels[name] == -1).sum()),
        }
        for name in spec.labels
    }


def feature_partials(spec: Spec, ids: np.ndarray, dense: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each feature of the training rows: missing; of numbers also count, sum of the transformed values' moments, range."""
    partials: dict[str, dict[str, float]] = {}
    for name, slots in spec.id_slots.items():
        partials[name] = {"missing": int((ids[:, slots.slice] == 0).all(axis=1).sum())}
    for name, feature in spec.numeric.items():
        raw = dense[:, spec.dense_slots[name].start]
        raw = raw[~np.isnan(raw)].astype(np.float64)
        partials[name] = {"missing": len(dense) - len(raw), "count": len(raw)}
        if len(raw):
            values = arrays.transform(feature, raw)
            mean = values.mean()
            partials[name] |= {"mean": mean, "m2": ((values - mean) ** 2).sum(), "min": raw.min(), "max": raw.max()}
    return partials


def fold_features(partials: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The whole training split's statistics by feature; of numbers the mean and deviation of the transformed values."""
    folded = {name: _fold([p[name] for p in partials]) for name in partials[0]}
    for one in folded.values():
        if "count" in one:
            one["deviation"] = float(np.sqrt(one.pop("m2", 0.0) / one["count"])) if one["count"] else 0.0
            one.setdefault("mean", 0.0)
    return folded


def _fold(parts: list[dict[str, float]]) -> dict[str, float]:
    """Chan, Golub and LeVeque (1979): m2 = m2_a + m2_b + δ²·n_a·n_b / (n_a + n_b)."""
    total = dict(parts[0])
    for part in parts[1:]:
        a, b = total.get("count", 0), part.get("count", 0)
        if not b:
            total["missing"] += part["missing"]
            continue
        if not a:
            total = part | {"missing": total["missing"] + part["missing"]}
            continue
        delta = part["mean"] - total["mean"]
        total = {
            "missing": total["missing"] + part["missing"],
            "count": a + b,
            "mean": total["mean"] + delta * b / (a + b),
            "m2": total["m2"] + part["m2"] + delta**2 * a * b / (a + b),
            "min": min(total["min"], part["min"]),
            "max": max(total["max"], part["max"]),
        }
    return {k: v if k in ("missing", "count") else float(v) for k, v in total.items()}


def funnel_rates(spec: Spec, counts: Mapping[str, Mapping[str, int]]) -> dict[str, float | None]:
    """Of each label: positives / known rows; of a label `after` another: positives / positives of that one."""
    rates: dict[str, float | None] = {}
    for name, label in spec.labels.items():
        after = getattr(label, "after", None)
        below = counts[after]["positive"] if after else counts[name]["positive"] + counts[name]["negative"]
        rates[name] = counts[name]["positive"] / below if below else None
    return rates


def add_counts(counts: list[dict]) -> dict:
    """Adds dictionaries of counts, nested alike."""
    total: dict = {}
    for one in counts:
        for key, value in one.items():
            total[key] = (
                add_counts([total[key], value] if key in total else [value]) if isinstance(value, dict) else total.get(key, 0) + value
            )
    return total


def outcome_counts(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, int]]:
    """What became of the events of each event label."""
    return {name: outcome.counts for name, outcome in outcomes.items()}


def slots_matrix(table: pa.Table, column: str, width: int, dtype: type) -> np.ndarray:
    """A fixed-size list column as [n, width]."""
    if not width:
        return np.zeros((len(table), 0), dtype)
    return table[column].combine_chunks().flatten().to_numpy().reshape(-1, width)

"""Pairs of columns that predict a label better together than apart → crosses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from funnel.init.labels import Label
from funnel.init.leaks import folds
from funnel.init.reading.profile import Profile
from funnel.init.toml import Line
from pipeline.statistics.collisions import expected
from pipeline.statistics.relevance import Values, by_value

ROWS = 20_000  # of the sample, at random
COLUMNS = 16  # those that predict best alone
CELLS = 2000  # most pairs of values of two columns
POSITIVES = 200  # rows of label 1, fewest, and of label 0
GAIN = 0.05  # AUC of the pairs of values over that of the two columns apart: a network finds less
MOST = 3
BUCKETS = 50  # for each pair of values


@dataclass(frozen=True)
class _Pair:
    gain: float
    columns: tuple[str, str]
    cells: int
    why: str


def propose_crosses(features: dict[str, Profile], labels: list[Label]) -> list[Line]:
    """Crosses of vocabularies, the best first; a column is in one of them at most.

    Args:
        features: the columns by the name of the feature: single values, few of them.
        labels: the labels to predict.
    """
    found = [pair for label in labels for pair in _pairs(features, label)]
    lines: list[Line] = []
    taken: set[str] = set()
    for pair in sorted(found, key=lambda p: -p.gain):
        if taken & set(pair.columns) or len(lines) == MOST:
            continue
        taken |= set(pair.columns)
        buckets = BUCKETS * pair.cells
        declared = {"kind": "cross", "of": list(pair.columns), "buckets": buckets, "dim": 8}
        share = 100 * expected(pair.cells, buckets)["expected_share"]
        lines.append(Line("_x_".join(pair.columns), declared, f"{pair.why}; {share:.0f} % collide"))
    return lines


def _pairs(features: dict[str, Profile], label: Label) -> list[_Pair]:
    """The pairs that gain on a label."""
    chosen = _rows(label)
    if chosen is None:
        return []
    known, fold = label.values[chosen], folds(len(chosen))
    rows = np.arange(len(chosen))
    codes = {name: p.label_values.codes[chosen].astype(np.int64) for name, p in features.items()}
    sizes = {name: profile.distinct + 1 for name, profile in features.items()}

    def auc(of_rows: np.ndarray, of_codes: np.ndarray, count: int) -> float:
        return by_value(Values(of_rows, of_codes, count), known, fold) or 0.0

    alone = {name: auc(rows, codes[name], sizes[name]) for name in features}
    best = sorted(features, key=lambda name: -alone[name])[:COLUMNS]
    found = []
    for a, b in itertools.combinations((name for name in features if name in best), 2):
        cells = sizes[a] * sizes[b]
        if cells > CELLS:
            continue
        both = np.concatenate([codes[a], sizes[a] + codes[b]])
        apart = max(
            auc(np.concatenate([rows, rows]), both, sizes[a] + sizes[b]), alone[a], alone[b]
        )
        together = auc(rows, codes[a] * sizes[b] + codes[b], cells)
        if together - apart >= GAIN:
            why = f"AUC on {label.name} together {together:.3f}, apart {apart:.3f}"
            found.append(_Pair(together - apart, (a, b), cells, why))
    return found


def _rows(label: Label) -> np.ndarray | None:
    """Rows whose label is known; None where they are too few to judge pairs by."""
    if label.is_number:
        return None
    known = np.flatnonzero(label.values >= 0)
    chosen = np.random.default_rng(1).permutation(known)[:ROWS]
    ones = int((label.values[chosen] == 1).sum())
    return chosen if min(ones, len(chosen) - ones) >= POSITIVES else None

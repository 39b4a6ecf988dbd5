"""A sample of the training rows, for what needs all rows at once: quantiles, correlations,
relevance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features import hashing
from pipeline.statistics.smallest import smallest
from pipeline.typed_json import Array

SAMPLED = 50_000  # training rows


@dataclass(frozen=True)
class SplitRows:
    """The written rows of a split, in their order.

    Attributes:
        ids: [n, S] int32.
        dense: [n, D] float32, NaN where missing.
        labels: [n] by name, int8 for binary labels, float32 for numbers, −1 where unknown.
        times: [n] int64 µs, 0 where the log has none.
        hashes: [n] uint64, fingerprints of the row ids.
        weights: [n] example weights, or None.
    """

    ids: Array
    dense: Array
    labels: Mapping[str, Array]
    times: Array
    hashes: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: np.ndarray) -> SplitRows:
        labels = {name: label[rows] for name, label in self.labels.items()}
        weights = None if self.weights is None else self.weights[rows]
        return SplitRows(
            self.ids[rows], self.dense[rows], labels, self.times[rows], self.hashes[rows], weights
        )


def sample_partition(rows: SplitRows, partitions: int) -> SplitRows:
    """The rows of a partition that may be among the SAMPLED training rows of smallest mixed hash.

    Partitions are cut by a hash, so each holds SAMPLED / partitions of those rows on average. We
    carry the expected share plus eight standard deviations and 64, so that losing a row is
    negligible and partitions stay small.
    """
    share = -(-SAMPLED // partitions)
    return _smallest(rows, min(SAMPLED, share + 8 * int(np.sqrt(share)) + 64))


def fold_samples(samples: Sequence[SplitRows]) -> SplitRows:
    """The sample of all partitions, in the order of the mixed hashes."""
    first = samples[0]
    whole = SplitRows(
        np.concatenate([s.ids for s in samples]),
        np.concatenate([s.dense for s in samples]),
        {name: np.concatenate([s.labels[name] for s in samples]) for name in first.labels},
        np.concatenate([s.times for s in samples]),
        np.concatenate([s.hashes for s in samples]),
    )
    return _smallest(whole, SAMPLED)


def _smallest(rows: SplitRows, count: int) -> SplitRows:
    mixed = hashing.mix(rows.hashes, hashing.SAMPLE)
    chosen = smallest(mixed, count)
    return rows.take(chosen[np.argsort(mixed[chosen], kind="stable")][:count])

"""Statistics of the training split, and vocabulary files → fitted.json."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features import hashing
from features.fitted import Fitted, Outcome
from features.kinds.base import HASH_SPACE, Vocabulary
from features.spec import Spec
from pipeline.statistics.partitions import Outcomes, PartitionStatistics
from pipeline.statistics.ranks import quantile_cuts
from pipeline.statistics.sample import SplitRows


def fit(spec: Spec, whole: PartitionStatistics, vocabularies: Mapping[str, list[str]]) -> Fitted:
    """Computes moments and ranges of transformed numbers, boundaries of quantile bins, and
    vocabularies.

    Args:
        spec: the features and labels.
        whole: the statistics of all rows written.
        vocabularies: the values of vocabulary files, by feature.
    """
    moments = {name: whole.transformed[name] for name in spec.numeric}
    return Fitted(
        moments={name: (m.mean, m.std) for name, m in moments.items()},
        ranges={name: (m.low, m.high) for name, m in moments.items()},
        boundaries={
            name: boundaries(whole.sample.dense[:, spec.dense_slots[name].start], feature.quantiles)
            for name, feature in spec.bucketized.items()
            if feature.quantiles
        },
        vocabularies={
            name: _vocabulary(name, vocabulary, whole, vocabularies)
            for name, vocabulary in spec.vocabularies.items()
        },
        outcomes=outcomes(spec, whole.outcomes),
    )


def outcomes(spec: Spec, found: Outcomes) -> list[Outcome]:
    """The sums of each combination of labels, in the order of the combinations."""
    numbers = {name: i for i, (name, label) in enumerate(spec.labels.items()) if label.is_number}
    return [
        Outcome(
            states=dict(zip(spec.labels, states, strict=True)),
            rows=int(rows),
            weight=weight,
            totals={name: totals[i] for name, i in numbers.items()},
        )
        for states, (rows, weight, *totals) in sorted(
            (key, sums.tolist()) for key, sums in found.items()
        )
    ]


def boundaries(numbers: np.ndarray, bins: int) -> list[float]:
    """The boundaries, rising, of equal-frequency bins of the numbers that are not NaN; fewer where
    numbers repeat.

    Example:
        >>> boundaries(np.array([4.0, 1.0, 3.0, 2.0, np.nan]), 4)
        [1.0, 2.0, 3.0]
    """
    known = numbers[~np.isnan(numbers)]
    cuts: list[float] = quantile_cuts(known, bins).tolist()
    return cuts


def _vocabulary(
    name: str,
    vocabulary: Vocabulary,
    whole: PartitionStatistics,
    vocabularies: Mapping[str, list[str]],
) -> list[int]:
    """Ids as they are written, rising. Values that share an id, one pair in 2³¹, share a row."""
    if vocabulary.file:
        found = np.unique(hashing.bucket_ids(pa.array(vocabularies[name]), HASH_SPACE))
    else:
        ids, counts = whole.counts[name]
        found = ids[counts >= vocabulary.min_count]
    rising: list[int] = found.tolist()
    return rising


def unmatched(spec: Spec, sample: SplitRows, fitted: Fitted) -> list[str]:
    """Warnings about vocabulary files that hold no value of the sampled training rows."""
    found = []
    for name, vocabulary in spec.vocabularies.items():
        ids = sample.ids[:, spec.id_slots[name].slice]
        ids = ids[ids > 0]
        if vocabulary.file and len(ids) and not np.isin(ids, fitted.vocabularies[name]).any():
            found.append(
                f"features.{name}.vocabulary = '{vocabulary.file}': holds no value of "
                f"{len(sample):,} training rows, so all values share one row; compare how the file "
                "and the log spell them"
            )
    return found

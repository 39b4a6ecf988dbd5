"""What the model takes from the training split, and from vocabulary files: statistics →
fitted.json.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features import hashing
from features.declarations import HASH_SPACE, Coded
from features.fitted import Fitted, Outcome
from features.spec import Spec
from pipeline.sources.vocabularies import read_vocabulary
from pipeline.statistics.partitions import Outcomes, Part


def fit(spec: Spec, folded: Part) -> Fitted:
    """Moments and ranges of transformed numbers, boundaries of quantiles, vocabularies."""
    moments = {name: folded.transformed[name] for name in spec.numeric}
    return Fitted(
        moments={name: (m.mean, m.std) for name, m in moments.items()},
        ranges={name: (m.low, m.high) for name, m in moments.items()},
        boundaries={
            name: boundaries(
                folded.sample.dense[:, spec.dense_slots[name].start], feature.quantiles
            )
            for name, feature in spec.bucketized.items()
            if feature.quantiles
        },
        vocabularies={
            name: _vocabulary(name, feature, folded) for name, feature in spec.vocabularies.items()
        },
        outcomes=outcomes(spec, folded.outcomes),
    )


def outcomes(spec: Spec, found: Outcomes) -> list[Outcome]:
    """By their labels' states, rising."""
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


def boundaries(numbers: np.ndarray, stretches: int) -> list[float]:
    """The numbers that cut those that are there into stretches of equal share, rising; fewer where
    values repeat.
    """
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return []
    return np.unique(
        np.quantile(known, np.arange(1, stretches) / stretches, method="inverted_cdf")
    ).tolist()


def _vocabulary(name: str, feature: Coded, folded: Part) -> list[int]:
    """Ids as they are written, rising. Two values that share an id, one pair in 2³¹, share a row."""
    if feature.vocabulary:
        return np.unique(
            hashing.bucket_ids(pa.array(read_vocabulary(name, feature.vocabulary)), HASH_SPACE)
        ).tolist()
    ids, counts = folded.counts[name]
    return ids[counts >= feature.min_count].tolist()

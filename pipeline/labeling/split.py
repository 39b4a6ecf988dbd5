"""Which impressions train, evaluate or are left out: by maturity, by time or by a hash, and by
sampling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from features import hashing
from features.settings import microseconds
from pipeline.config import PreprocessConfig

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRAIN, EVAL, DROPPED, SAMPLED_OUT = 0, 1, 2, 3


@dataclass(frozen=True)
class Calendar:
    """When the logs end, the last time at which an impression's every window has closed, and where
    evaluation begins.

    `eval_from` is exclusive and None unless the split is by time.
    """

    logs_end: int
    mature_until: int
    eval_from: int | None


def make_calendar(config: PreprocessConfig, last_times: dict[str, int | None]) -> Calendar:
    """From the latest time of each stream. Without times everything is mature."""
    known = [t for t in last_times.values() if t is not None]
    end = max(known, default=0)
    if config.split.logs_end is not None:
        end = microseconds(config.split.logs_end - EPOCH)
    mature_until = end - config.longest_window
    last = config.split.eval.last
    if last is None:
        return Calendar(end, mature_until, None)
    latest_impression = last_times.get(config.rows) or 0
    return Calendar(end, mature_until, min(mature_until, latest_impression) - microseconds(last))


def assign_split(
    config: PreprocessConfig,
    times: np.ndarray,
    by_file: np.ndarray,
    hashes: np.ndarray,
    labels: Iterable[np.ndarray],
    calendar: Calendar,
) -> np.ndarray:
    """TRAIN, EVAL or DROPPED (immature) for [n] impressions.

    `by_file` marks rows of split.eval.files, `hashes` are the fingerprints of the id or of the
    column that the fraction is `by`.
    """
    evaluation = config.split.eval
    if evaluation.files is not None:
        chosen = by_file == 1
    elif evaluation.fraction is not None:
        chosen = hashing.fractions(hashes, hashing.SPLIT) < evaluation.fraction
    else:
        chosen = (times > calendar.eval_from) & (times <= calendar.mature_until)
    mature = times <= calendar.mature_until if config.event_labels else np.ones(len(times), bool)
    known = np.any([label >= 0 for label in labels], axis=0)
    usable = known & (mature | (config.split.immature == "keep"))
    split = np.where(chosen & mature, EVAL, np.where(chosen, DROPPED, TRAIN))
    return np.where(usable, split, DROPPED).astype(np.int8)


def sample(
    config: PreprocessConfig, hashes: np.ndarray, labels: Iterable[np.ndarray], split: np.ndarray
) -> np.ndarray | None:
    """Turns training rows whose every label is 0 to SAMPLED_OUT in `split` but for the share to
    keep; returns the weights [n] float32.

    `hashes` are the ids' fingerprints. None when all are kept.
    """
    share = config.sampling.negatives
    if share == 1:
        return None
    negative = (split == TRAIN) & np.all([label == 0 for label in labels], axis=0)
    split[negative & (hashing.fractions(hashes, hashing.NEGATIVES) >= share)] = SAMPLED_OUT
    return np.where(negative, 1 / share, 1).astype(np.float32)


def check_apart(split: np.ndarray, hashes: np.ndarray, ids: pa.Array, rows: np.ndarray) -> None:
    """Raises RuntimeError if an id is in both splits: its rows should have met as duplicates, so it
    is a fault of this program.

    `hashes` [n] are fingerprints of the ids at `rows` [n] of `ids`.
    """
    sides = [np.flatnonzero(split == code) for code in (TRAIN, EVAL)]
    shared = np.intersect1d(*(hashes[side] for side in sides))
    if not len(shared):
        return
    texts = [
        set(ids.take(pa.array(rows[side[np.isin(hashes[side], shared)]])).to_pylist())
        for side in sides
    ]
    for id_ in sorted(set.intersection(*texts)):
        raise RuntimeError(f"the id {id_!r} is both in the training and in the eval split")

"""Which impressions train, evaluate or are left out: by maturity, time or hash, and by sampling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from features import hashing
from features.settings import microseconds
from pipeline.config import PreprocessConfig
from pipeline.labeling.clocks import judge_clocks
from pipeline.spans import Spans

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRAIN, EVAL, DROPPED, SAMPLED_OUT = 0, 1, 2, 3


@dataclass(frozen=True)
class Calendar:
    """The times that decide the split, in µs.

    Attributes:
        logs_end: when the logs end.
        mature_until: the last time of an impression whose every window has closed.
        eval_from: where evaluation begins, exclusive; None unless the split is by time.
    """

    logs_end: int
    mature_until: int
    eval_from: int | None


def calendar_of(config: PreprocessConfig, spans: Mapping[str, Spans | None]) -> Calendar:
    """The calendar of logs with these times by stream. Those of wrong clocks do not count."""
    return make_calendar(config, judge_clocks(config, spans)[0])


def make_calendar(config: PreprocessConfig, last_times: dict[str, int | None]) -> Calendar:
    """The calendar of logs with these latest times by stream. Without times every row is mature."""
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
    """Assigns TRAIN, EVAL or DROPPED (immature).

    Args:
        config: the configuration.
        times: [n] times of the impressions.
        by_file: [n] 1 for rows of split.eval.files.
        hashes: [n] fingerprints of the id, or of the column that the split is `by`.
        labels: [n] values of each label.
        calendar: the times that decide.

    Returns:
        [n] int8 codes.
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


def downsample(
    config: PreprocessConfig, hashes: np.ndarray, labels: Iterable[np.ndarray], split: np.ndarray
) -> np.ndarray | None:
    """Downsamples negatives in place: all-zero training rows beyond the share to keep become
    SAMPLED_OUT.

    Args:
        config: the configuration.
        hashes: [n] fingerprints of the ids.
        labels: [n] values of each label.
        split: [n] codes, changed in place.

    Returns:
        [n] float32 example weights, None where all rows are kept.
    """
    share = config.sampling.negatives
    if share == 1:
        return None
    negative = (split == TRAIN) & np.all([label == 0 for label in labels], axis=0)
    split[negative & (hashing.fractions(hashes, hashing.NEGATIVES) >= share)] = SAMPLED_OUT
    return np.where(negative, 1 / share, 1).astype(np.float32)


def check_apart(split: np.ndarray, hashes: np.ndarray, ids: pa.Array, rows: np.ndarray) -> None:
    """Raises RuntimeError if an id is in both splits. Its rows should have met as duplicates, so it
    is a bug, not a mistake of the user.

    Args:
        split: [n] codes.
        hashes: [n] fingerprints.
        ids: all ids.
        rows: [n] the ids' indices in `ids`.
    """
    sides = [np.flatnonzero(split == code) for code in (TRAIN, EVAL)]
    shared = np.intersect1d(hashes[sides[0]], hashes[sides[1]])
    if not len(shared):
        return
    train, evaluated = (
        set(ids.take(pa.array(rows[side[np.isin(hashes[side], shared)]])).to_pylist())
        for side in sides
    )
    for id_ in sorted(train & evaluated):
        raise RuntimeError(f"the id {id_!r} is both in the training and in the eval split")

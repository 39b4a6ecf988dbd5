"""Per-batch counts and profiles of a stream, before deduplication and splitting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from features import hashing
from features.arrays import Encoded
from pipeline.config import PreprocessConfig
from pipeline.rows.batch import Batch
from pipeline.shuffle import from_ipc, to_ipc
from pipeline.spans import Spans, fold_spans, longest_gap, spans_of
from pipeline.statistics.label_texts import LabelTexts, fold_texts, label_texts
from pipeline.statistics.profiles import profile_features
from pipeline.statistics.sketches import Profile, fold_profiles
from pipeline.statistics.smallest import smallest

SAMPLE_ROWS = 512  # raw rows kept for checking an export against the checkpoint


@dataclass
class StreamCounts:
    """Counts of valid and rejected rows of a stream.

    Attributes:
        stream: the stream.
        rows_read: the number of rows, the rejected ones included.
        rejected: the number of rejected rows by reason.
        last_time: the latest time in µs, None where no row has a time.
        spans: the times, None where no row has one.
        lookup_misses: by look-up table, the number of rows whose key it lacks.
        profiles: of impressions, the profile of each feature with ids.
        sample: of impressions, a sample of the raw rows as an Arrow IPC stream.
        texts: of impressions, the texts that each label from a text column is read from.
    """

    stream: str
    rows_read: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    last_time: int | None = None
    spans: Spans | None = None
    lookup_misses: dict[str, int] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    sample: bytes | None = None
    texts: dict[str, LabelTexts] = field(default_factory=dict)


def count_batch(
    config: PreprocessConfig,
    stream: str,
    batch: Batch,
    encoded: Encoded | None = None,
    hashes: np.ndarray | None = None,
) -> StreamCounts:
    """Counts one batch.

    Args:
        config: the configuration.
        stream: the stream of the batch.
        batch: the rows.
        encoded: of impressions, the encoded features.
        hashes: of impressions, the fingerprints of their ids.
    """
    counts = StreamCounts(stream, batch.rows_read)
    counts.rejected = dict(batch.rejected)
    counts.lookup_misses = dict(batch.lookup_misses)
    if len(batch.positions) and "time" in batch.columns:
        counts.spans = spans_of(np.asarray(batch.columns["time"]), longest_gap(config))
        counts.last_time = int(counts.spans.table[-1, 1])
    if encoded is not None and len(batch.positions):
        counts.texts = label_texts(config.spec, batch)
        counts.profiles = profile_features(config.spec, encoded.hashed, encoded.ids)
        raw = pa.table({"id": batch.columns["id"], **batch.raw(config.spec.columns)})
        counts.sample = to_ipc(sample_raw(raw, hashes))
    return counts


def sample_raw(raw: pa.Table, hashes: np.ndarray | None = None) -> pa.Table:
    """The SAMPLE_ROWS rows of smallest mixed hash of their ids, duplicates ordered by their values:
    the same in every order of the input.

    Args:
        raw: rows with a column `id`.
        hashes: the fingerprints of the ids, computed unless given.
    """
    if hashes is None:
        hashes = hashing.fingerprint64(raw["id"].combine_chunks())
    mixed = hashing.mix(hashes, hashing.SAMPLE)
    rows = smallest(mixed, SAMPLE_ROWS)
    rows = rows[np.argsort(mixed[rows], kind="stable")]
    if (np.diff(mixed[rows]) == 0).any():
        held = [str(list(row.values())) for row in raw.take(pa.array(rows)).to_pylist()]
        rows = rows[sorted(range(len(rows)), key=lambda r: (mixed[rows[r]], held[r]))]
    return raw.take(pa.array(rows[:SAMPLE_ROWS]))


def fold_streams(counts: Iterable[StreamCounts]) -> tuple[dict[str, StreamCounts], pa.Table | None]:
    """The totals by stream, and the sample of the impressions."""
    by_stream: dict[str, list[StreamCounts]] = {}
    for one in counts:
        by_stream.setdefault(one.stream, []).append(one)
    totals = {stream: fold_stream(some) for stream, some in by_stream.items()}
    samples = [from_ipc(total.sample) for total in totals.values() if total.sample]
    return totals, samples[0] if samples else None


def fold_stream(counts: list[StreamCounts]) -> StreamCounts:
    """The total of counts of one stream, in any order. The batches of a file are folded first, so
    that little crosses the shuffle.
    """
    times = [one.last_time for one in counts if one.last_time is not None]
    profiled = [one.profiles for one in counts if one.profiles]
    samples = [from_ipc(one.sample) for one in counts if one.sample]
    texts = [one.texts for one in counts if one.texts]
    return StreamCounts(
        counts[0].stream,
        rows_read=sum(one.rows_read for one in counts),
        rejected=_sum(one.rejected for one in counts),
        last_time=max(times, default=None),
        spans=fold_spans(one.spans for one in counts),
        lookup_misses=_sum(one.lookup_misses for one in counts),
        profiles={
            name: fold_profiles(profiles[name] for profiles in profiled)
            for name in (profiled[0] if profiled else ())
        },
        sample=to_ipc(sample_raw(pa.concat_tables(samples))) if samples else None,
        texts={
            name: fold_texts(own[name] for own in texts) for name in (texts[0] if texts else ())
        },
    )


def stream_json(total: StreamCounts) -> dict[str, Any]:
    """A total as the manifest has it: without profiles and sample, reasons in order."""
    return {
        "rows_read": total.rows_read,
        "rejected": dict(sorted(total.rejected.items())),
        "last_time": total.last_time,
        "lookup_misses": dict(sorted(total.lookup_misses.items())),
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)

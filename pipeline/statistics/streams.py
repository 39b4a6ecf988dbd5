"""What a batch of valid rows adds to the totals of its stream, before duplicates go and rows are
split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import hashing
from features.declarations import Cross
from features.hashing import Hashed
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.rows.encode import from_ipc, to_ipc
from pipeline.rows.read import Batch
from pipeline.sources.files import Source
from pipeline.statistics import sketches
from pipeline.statistics.collisions import collisions
from pipeline.statistics.sketches import Profile

SAMPLE_ROWS = 512  # raw rows kept for checking an export against the checkpoint


@dataclass
class Tally:
    """Counts of a stream, its latest time, what the keys of its lookups did not find; of
    impressions each coded feature's profile and a sample of the raw rows, as an Arrow IPC stream.
    """

    stream: str
    rows_read: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    last_time: int | None = None
    lookup_misses: dict[str, int] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    sample: bytes | None = None


def tally(
    config: PreprocessConfig,
    source: Source,
    batch: Batch,
    hashed: Mapping[str, Hashed] | None = None,
    ids: np.ndarray | None = None,
    hashes: np.ndarray | None = None,
) -> Tally:
    """Of one batch. For impressions `hashed` and `ids` are what encoding it gave, `hashes` the
    fingerprints of the rows' ids.
    """
    result = Tally(
        source.stream, batch.rows_read, dict(Counter(reject.reason for reject in batch.rejects))
    )
    result.lookup_misses = dict(batch.lookup_misses)
    if len(batch.places) and "time" in batch.columns:
        result.last_time = pc.max(batch.columns["time"]).as_py()
    if source.stream == config.rows and len(batch.places):
        result.profiles = _profiles(config.spec, hashed, ids)
        raw = pa.table({"id": batch.columns["id"], **batch.raw(config.spec.columns)})
        result.sample = to_ipc(smallest(raw, hashes))
    return result


def _profiles(spec: Spec, hashed: Mapping[str, Hashed], ids: np.ndarray) -> dict[str, Profile]:
    own = {name: ids[:, slots.slice] for name, slots in spec.id_slots.items()}
    return {
        n: sketches.profile_texts(hashed[n], i) if n in hashed else sketches.profile_integers(i)
        for n, i in own.items()
    }


def smallest(raw: pa.Table, hashes: np.ndarray | None = None) -> pa.Table:
    """The rows with the smallest mixed hashes of their ids, duplicates by what they hold: the same
    in every order of the input.
    """
    if hashes is None:
        hashes = hashing.fingerprint64(raw["id"].combine_chunks())
    mixed = hashing.mix(hashes, hashing.SAMPLE)
    rows = np.arange(len(mixed))
    if len(mixed) > SAMPLE_ROWS:
        rows = np.flatnonzero(mixed <= np.partition(mixed, SAMPLE_ROWS - 1)[SAMPLE_ROWS - 1])
    rows = rows[np.argsort(mixed[rows], kind="stable")]
    if (np.diff(mixed[rows]) == 0).any():
        held = [str(list(row.values())) for row in raw.take(pa.array(rows)).to_pylist()]
        rows = rows[sorted(range(len(rows)), key=lambda r: (mixed[rows[r]], held[r]))]
    return raw.take(pa.array(rows[:SAMPLE_ROWS]))


def fold_tallies(tallies: Iterable[Tally]) -> tuple[dict[str, Tally], pa.Table | None]:
    """The totals by stream, and the sample of all."""
    by_stream: dict[str, list[Tally]] = {}
    for one in tallies:
        by_stream.setdefault(one.stream, []).append(one)
    totals = {stream: fold_stream(some) for stream, some in by_stream.items()}
    samples = [from_ipc(total.sample) for total in totals.values() if total.sample]
    return totals, samples[0] if samples else None


def fold_stream(tallies: list[Tally]) -> Tally:
    """The total of tallies of one stream, in any order. Batches of a file fold first, so that few
    tallies travel.
    """
    total = Tally(tallies[0].stream)
    total.rows_read = sum(t.rows_read for t in tallies)
    total.rejected = _sum(t.rejected for t in tallies)
    total.lookup_misses = _sum(t.lookup_misses for t in tallies)
    total.last_time = max((t.last_time for t in tallies if t.last_time is not None), default=None)
    profiled = [t.profiles for t in tallies if t.profiles]
    total.profiles = {
        name: sketches.fold_profiles(p[name] for p in profiled)
        for name in (profiled[0] if profiled else ())
    }
    samples = [from_ipc(t.sample) for t in tallies if t.sample]
    total.sample = to_ipc(smallest(pa.concat_tables(samples))) if samples else None
    return total


def tally_json(total: Tally) -> dict:
    """A total as the manifest has it: without profiles and sample, reasons in order."""
    return {
        "rows_read": total.rows_read,
        "rejected": dict(sorted(total.rejected.items())),
        "last_time": total.last_time,
        "lookup_misses": dict(sorted(total.lookup_misses.items())),
    }


def profiles_json(spec: Spec, total: Tally) -> dict[str, dict]:
    """Of each coded feature over all valid rows: missing, distinct, top values, and the collisions
    of hashed ones.

    Features that share a table share its buckets: their values are counted together, and shown with
    the table's owner.
    """
    return {
        name: _profile_json(spec, name, total.profiles)
        for name in spec.coded
        if name in total.profiles
    }


def _profile_json(spec: Spec, name: str, profiles: dict[str, Profile]) -> dict:
    own, feature = profiles[name], spec.features[name]
    top = [
        [_readable(text) if isinstance(feature, Cross) else text, count]
        for text, count in sketches.top_json(own)
    ]
    content = {
        "rows": own.rows,
        "missing": own.missing,
        "distinct": own.distinct,
        "distinct_is_exact": len(own.smallest) < sketches.KEPT,
        "top": top,
    }
    if (
        feature.buckets
        and feature.kind != "time"
        and not getattr(feature, "identity", False)
        and spec.owner(name) == name
    ):
        together = sketches.fold_profiles(p for n, p in profiles.items() if spec.owner(n) == name)
        content["collisions"] = collisions(together, own.rows, feature.buckets)
        if isinstance(feature, Cross):
            for group in content["collisions"]["frequent"]:
                group["values"] = [[_readable(text), share] for text, share in group["values"]]
    return content


def _readable(cross: str) -> str:
    """The text that a cross hashes, "2:ab1:c" → "ab × c"; lengths are in bytes."""
    rest, parts = cross.encode(), []
    while rest:
        length, _, rest = rest.partition(b":")
        parts.append(rest[: int(length)].decode())
        rest = rest[int(length) :]
    return " × ".join(parts)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)

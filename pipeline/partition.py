"""One partition: joined, labelled, split and written, as a pure function of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features import hashing
from pipeline import join, labels, statistics, write
from pipeline.config import PreprocessConfig
from pipeline.labels import Calendar

SPLITS = {"train": labels.TRAIN, "eval": labels.EVAL}


@dataclass
class Partial:
    """What a partition adds to the manifest and the statistics; `duplicates` are (file number, line, id)."""

    number: int
    counts: dict
    shards: dict[str, dict]
    features: dict
    duplicates: list[tuple[int, int, str]]


def write_partition(
    config: PreprocessConfig, number: int, of: int, impressions: pa.Table, events: dict[str, pa.Table], calendar: Calendar, out: Path
) -> Partial:
    """Writes the partition's shard of each split below `out`. `events` holds the partition's events by stream."""
    spec = config.spec
    rows, duplicates = join.deduplicate(impressions)
    times = rows["time"].to_numpy()
    matched = {name: join.match(rows, table) for name, table in events.items()}
    outcomes = labels.label_events(config, times, matched, calendar.logs_end)
    values = {name: outcomes[name].value if name in outcomes else rows[f"label:{name}"].to_numpy() for name in spec.labels}
    by_hash = hashing.fractions(rows["hash"].to_numpy(), hashing.SPLIT)
    split = labels.assign_split(config, times, rows["evaluate"].to_numpy(), by_hash, list(values.values()), calendar)
    ids = statistics.slots_matrix(rows, "ids", spec.ids_width, np.int32)
    dense = statistics.slots_matrix(rows, "dense", spec.dense_width, np.float32)
    row_ids = rows["id"].combine_chunks()
    shards, label_counts = {}, {}
    for name, code in SPLITS.items():
        chosen = np.flatnonzero(split == code)
        own = {label: value[chosen] for label, value in values.items()}
        path = write.shard_name(name, number, of)
        shard = write.write_shard(out / path, spec, ids[chosen], dense[chosen], own, row_ids.take(pa.array(chosen)))
        shards[name] = {"file": path, **shard}
        label_counts[name] = statistics.label_counts(spec, own)
    train = split == labels.TRAIN
    return Partial(
        number=number,
        counts={
            "duplicates": len(duplicates),
            "dropped_immature": int((split == labels.DROPPED).sum()),
            "labels": label_counts,
            "events": statistics.outcome_counts(outcomes),
        },
        shards=shards,
        features=statistics.feature_partials(spec, ids[train], dense[train]),
        duplicates=join.duplicates_by_file(duplicates),
    )

"""One partition: joined, labeled, split, sampled and written, as a pure function of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrow import flat
from pipeline.config import PreprocessConfig
from pipeline.labeling import join, labels
from pipeline.labeling.labels import Early
from pipeline.labeling.split import (
    DROPPED,
    EVAL,
    SAMPLED_OUT,
    TRAIN,
    Calendar,
    assign_split,
    check_apart,
    downsample,
)
from pipeline.output import shards
from pipeline.output.examples import Rows
from pipeline.output.results import PartitionResult
from pipeline.statistics.partitions import partition_statistics
from pipeline.statistics.sample import SplitRows

SPLITS = {"train": TRAIN, "eval": EVAL}


@dataclass(frozen=True)
class Impressions:
    """The impressions of a partition without duplicates, in the order in which they are written.

    Attributes:
        rows: [n] their rows in the table.
        hashes: [n] fingerprints of their ids.
        times: [n] in µs.
        labels: [n] by name.
        events: the events of each event label by disposition.
        early: how early its events are that are too early.
    """

    rows: np.ndarray
    hashes: np.ndarray
    times: np.ndarray
    labels: dict[str, np.ndarray]
    events: dict[str, dict[str, int]]
    early: dict[str, Early]


def write_partition(
    config: PreprocessConfig,
    number: int,
    partitions: int,
    table: pa.Table,
    events: dict[str, pa.Table],
    calendar: Calendar,
    out: Path,
) -> tuple[PartitionResult, pa.Table]:
    """Writes the partition's shard of each split. Returns its result, and where its duplicates are.

    Args:
        config: the configuration.
        number: the partition.
        partitions: their number.
        table: its impressions, as `pipeline.encode` encodes them.
        events: its events by stream.
        calendar: the times that decide the split.
        out: the directory.
    """
    kept, repeated = join.deduplicate(table)
    impressions = _label(config, table, kept, events, calendar)
    split, weights = _split(config, table, impressions, calendar)
    row_ids = flat(table["id"])
    ids = _matrix(table["ids"], config.spec.ids_width)
    dense = _matrix(table["dense"], config.spec.dense_width)
    written, described = {}, {}
    for name, code in SPLITS.items():
        chosen = np.flatnonzero(split == code)
        at = kept[chosen]
        own = {label: value[chosen] for label, value in impressions.labels.items()}
        weight = None if weights is None else weights[chosen]
        rows = Rows(ids[at], dense[at], own, weight, row_ids.take(pa.array(at)))
        written[name] = _write(config, name, number, partitions, rows, out)
        described[name] = SplitRows(
            rows.ids,
            rows.dense,
            own,
            impressions.times[chosen],
            impressions.hashes[chosen],
            weight,
        )
    result = PartitionResult(
        number=number,
        counts={
            "duplicates": len(repeated),
            "dropped_immature": int((split == DROPPED).sum()),
            "sampled_out": int((split == SAMPLED_OUT).sum()),
            "events": impressions.events,
        },
        early=impressions.early,
        shards=written,
        statistics=partition_statistics(config.spec, described, partitions=partitions),
    )
    return result, table.select([*join.ORIGIN, "id"]).take(pa.array(repeated))


def _write(
    config: PreprocessConfig, split: str, number: int, partitions: int, rows: Rows, out: Path
) -> dict[str, Any]:
    output = config.output
    path = shards.shard_name(split, number, partitions, output.compression)
    shard = shards.write_shard(
        out / path, config.spec, rows, layout=output.layout, compression=output.compression
    )
    return {"file": path, **shard}


def _label(
    config: PreprocessConfig,
    table: pa.Table,
    kept: np.ndarray,
    events: dict[str, pa.Table],
    calendar: Calendar,
) -> Impressions:
    """The kept impressions with every label."""
    hashes, times = table["hash"].to_numpy(), table["time"].to_numpy()
    index = join.Index(hashes, flat(table["id"]), kept)
    hashes, times = hashes[kept], times[kept]
    matched = {name: join.match(index, stream) for name, stream in events.items()}
    outcomes = labels.label_events(config, times, matched, calendar.logs_end)
    values = {
        name: outcomes[name].value if name in outcomes else table[f"label:{name}"].to_numpy()[kept]
        for name in config.spec.labels
    }
    counts = {name: outcome.counts for name, outcome in outcomes.items()}
    early = {name: outcome.early for name, outcome in outcomes.items()}
    return Impressions(kept, hashes, times, values, counts, early)


def _split(
    config: PreprocessConfig, table: pa.Table, impressions: Impressions, calendar: Calendar
) -> tuple[np.ndarray, np.ndarray | None]:
    """The split of each impression, and the example weights."""
    rows, hashes = impressions.rows, impressions.hashes
    by = table["split"].to_numpy()[rows] if "split" in table.column_names else hashes
    by_file, values = table["evaluate"].to_numpy()[rows], list(impressions.labels.values())
    split = assign_split(config, impressions.times, by_file, by, values, calendar)
    weights = downsample(config, hashes, values, split)
    check_apart(split, hashes, flat(table["id"]), rows)
    return split, weights


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of lists of equal length as [n, width]."""
    if not width:
        return np.zeros((len(column), 0), np.float32)
    matrix: np.ndarray = flat(column).flatten().to_numpy().reshape(-1, width)
    return matrix

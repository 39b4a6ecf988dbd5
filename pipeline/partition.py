"""One partition: joined, labelled, split, sampled and written, as a pure function of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.config import PreprocessConfig
from pipeline.labeling import join, labels
from pipeline.labeling.split import (
    DROPPED,
    EVAL,
    SAMPLED_OUT,
    TRAIN,
    Calendar,
    assign_split,
    check_apart,
    sample,
)
from pipeline.output import examples as write
from pipeline.statistics import partitions as statistics
from pipeline.statistics.partitions import Part
from pipeline.statistics.sample import SplitRows

SPLITS = {"train": TRAIN, "eval": EVAL}


@dataclass
class Partial:
    """What a partition adds to the manifest and the statistics; `duplicates` are (number of the
    file, line, byte, id).
    """

    number: int
    counts: dict
    shards: dict[str, dict]
    statistics: Part
    duplicates: list[tuple[int, int | None, int | None, str]]


@dataclass(frozen=True)
class Joined:
    """The impressions without duplicates, in the order in which they are written: their rows in the
    table, and columns [n].
    """

    rows: np.ndarray
    hashes: np.ndarray
    times: np.ndarray
    labels: dict[str, np.ndarray]


def write_partition(
    config: PreprocessConfig,
    number: int,
    of: int,
    impressions: pa.Table,
    events: dict[str, pa.Table],
    calendar: Calendar,
    out: Path,
) -> Partial:
    """Writes the partition's shard of each split below `out`. `events` holds the partition's events
    by stream.
    """
    kept, repeated = join.deduplicate(impressions)
    joined, fates = _label(config, impressions, kept, events, calendar)
    split, weights = _split(config, impressions, joined, calendar)
    row_ids = join.flat(impressions["id"])
    ids, dense = (_matrix(impressions[name], width) for name, width in _widths(config))
    shards, described = {}, {}
    for name, code in SPLITS.items():
        chosen = np.flatnonzero(split == code)
        place, own = kept[chosen], {label: value[chosen] for label, value in joined.labels.items()}
        weight = None if weights is None else weights[chosen]
        rows = write.Rows(ids[place], dense[place], own, weight, row_ids.take(pa.array(place)))
        path = write.shard_name(name, number, of, config.output.compression)
        shard = write.write_shard(
            out / path,
            config.spec,
            rows,
            layout=config.output.layout,
            compression=config.output.compression,
        )
        shards[name] = {"file": path, **shard}
        described[name] = SplitRows(
            rows.ids, rows.dense, own, joined.times[chosen], joined.hashes[chosen], weight
        )
    return Partial(
        number=number,
        counts={
            "duplicates": len(repeated),
            "dropped_immature": int((split == DROPPED).sum()),
            "sampled_out": int((split == SAMPLED_OUT).sum()),
            "events": fates,
        },
        shards=shards,
        statistics=statistics.partial(config.spec, described, partitions=of),
        duplicates=join.origins(impressions.select([*join.ORIGIN, "id"]).take(pa.array(repeated))),
    )


def _label(
    config: PreprocessConfig,
    impressions: pa.Table,
    kept: np.ndarray,
    events: dict[str, pa.Table],
    calendar: Calendar,
) -> tuple[Joined, dict[str, dict[str, int]]]:
    """The kept impressions with every label, and what became of the events of each event label."""
    hashes, times = (impressions[c].to_numpy() for c in ("hash", "time"))
    index = join.Index(hashes, join.flat(impressions["id"]), kept)
    hashes, times = hashes[kept], times[kept]
    matched = {name: join.match(index, table) for name, table in events.items()}
    outcomes = labels.label_events(config, times, matched, calendar.logs_end)
    values = {
        name: outcomes[name].value
        if name in outcomes
        else impressions[f"label:{name}"].to_numpy()[kept]
        for name in config.spec.labels
    }
    return Joined(kept, hashes, times, values), {
        name: outcome.counts for name, outcome in outcomes.items()
    }


def _split(
    config: PreprocessConfig, impressions: pa.Table, joined: Joined, calendar: Calendar
) -> tuple[np.ndarray, np.ndarray | None]:
    """The split of each row, and the weights of those that stand for others."""
    by = (
        impressions["split"].to_numpy()[joined.rows]
        if "split" in impressions.column_names
        else joined.hashes
    )
    by_file, values = impressions["evaluate"].to_numpy()[joined.rows], list(joined.labels.values())
    split = assign_split(config, joined.times, by_file, by, values, calendar)
    weights = sample(config, joined.hashes, values, split)
    check_apart(split, joined.hashes, join.flat(impressions["id"]), joined.rows)
    return split, weights


def _widths(config: PreprocessConfig) -> list[tuple[str, int]]:
    return [("ids", config.spec.ids_width), ("dense", config.spec.dense_width)]


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of lists of equal length as [n, width]."""
    if not width:
        return np.zeros((len(column), 0), np.float32)
    return join.flat(column).flatten().to_numpy().reshape(-1, width)

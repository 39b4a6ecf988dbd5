"""The logs of the preprocessing benchmarks: impressions with 20 categorical and 5 numeric columns,
clicks and conversions, in Parquet.

NumPy and Arrow only: the peers' environments and the script without our library import it too. Made
file by file, so that any number of impressions fits in memory.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

CARDINALITIES = [
    2,
    3,
    5,
    7,
    10,
    24,
    50,
    100,
    200,
    500,
    1000,
    1000,
    2000,
    5000,
    10_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
]
CATEGORICAL = {
    f"c{i}": 2 * values + 2 for i, values in enumerate(CARDINALITIES)
}  # column → buckets
NUMERIC = [f"n{i}" for i in range(5)]
FILES, ROWS_PER_FILE, ROWS_PER_SHARD = 8, 250_000, 125_000
CLICKED, CONVERTED = 0.05, 0.1  # of impressions, of clicks
T0, DAY, MINUTE = 1_790_000_000_000_000, 86_400_000_000, 60_000_000  # µs
CLICK_WITHIN, CONVERT_WITHIN = 30 * MINUTE, DAY  # of the impression, of the click


def make_logs(folder: Path, impressions: int) -> None:
    """Writes the three logs below `folder`."""
    random = np.random.default_rng(1)
    texts = [_texts(f"value-{i}-", np.arange(values)) for i, values in enumerate(CARDINALITIES)]
    bounds = np.linspace(0, impressions, max(FILES, impressions // ROWS_PER_FILE) + 1).astype(
        np.int64
    )
    for number, (start, end) in enumerate(pairwise(bounds)):
        _make_file(folder, number, np.arange(start, end), texts, random)


def make_settings(folder: Path, impressions: int) -> dict:
    """The configuration of the logs, as a dictionary. Even few rows have several shards, so that
    they are shuffled.
    """
    return {
        "logs": {
            name: {"files": f"{folder}/{name}/*.parquet", "id": "id", "time": "ts"}
            for name in ("impressions", "clicks", "conversions")
        },
        "spec": {
            "features": {
                name: {"kind": "categorical", "buckets": buckets}
                for name, buckets in CATEGORICAL.items()
            }
            | {name: {"kind": "numeric", "transform": "log1p"} for name in NUMERIC},
            "labels": {
                "click": {"event": "clicks", "within": f"{CLICK_WITHIN // MINUTE}m"},
                "convert": {
                    "event": "conversions",
                    "within": f"{CONVERT_WITHIN // DAY}d",
                    "after": "click",
                },
            },
            "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}},
        },
        "output": {"shards": shards(impressions)},
    }


def shards(impressions: int) -> int:
    return max(2, impressions // ROWS_PER_SHARD)


def _make_file(
    folder: Path, number: int, rows: np.ndarray, texts: list[pa.Array], random: np.random.Generator
) -> None:
    """One file of each log."""
    ids, times = _texts("impression-", rows, 9), T0 + random.integers(0, 7 * DAY, len(rows))
    columns = {"id": ids, "ts": times}
    for name, values in zip(CATEGORICAL, texts, strict=True):
        drawn = (len(values) * random.random(len(rows)) ** 2).astype(
            np.int64
        )  # the first values are the frequent ones
        columns[name] = values.take(pa.array(drawn))
    columns |= {name: random.lognormal(size=len(rows)) for name in NUMERIC}
    clicked = np.flatnonzero(random.random(len(rows)) < CLICKED)
    click_times = times[clicked] + random.integers(0, 20 * MINUTE, len(clicked))
    converted = np.flatnonzero(random.random(len(clicked)) < CONVERTED)
    conversion_times = click_times[converted] + random.integers(0, DAY, len(converted))
    _write(folder / "impressions", number, columns)
    _write(folder / "clicks", number, {"id": ids.take(pa.array(clicked)), "ts": click_times})
    _write(
        folder / "conversions",
        number,
        {"id": ids.take(pa.array(clicked[converted])), "ts": conversion_times},
    )


def _texts(prefix: str, numbers: np.ndarray, width: int = 0) -> pa.Array:
    """[7, 8] → ["impression-007", "impression-008"] at width 3."""
    return pc.binary_join_element_wise(
        prefix, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0"), ""
    )


def _write(folder: Path, number: int, columns: dict[str, np.ndarray | pa.Array]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"part-{number:03d}.parquet")

"""Simulates three event logs whose truth is known: p(click), p(convert | click) and an outcome for
every impression.

`pipeline.simulation.world` gives the probabilities. A conversion's time counts from its click.
Events after the end of the logs (start + days + trailing) are not logged, as in production: of the
late events only those inside the logs appear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.files import staging
from features.settings import microseconds
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.files import DAY, PART_ROWS, TIME, LogFiles, check_out, impression_ids
from pipeline.simulation.world import World, sigmoid, times_of_day

TRUTH = {
    "impression_id": pa.string(),
    "p_click": pa.float64(),
    "p_convert_given_click": pa.float64(),
    "clicked": pa.int8(),
    "converts": pa.int8(),  # drawn for every impression, clicked or not
}
Progress = Callable[[int, int], None]


def simulate(
    config: SimulateConfig,
    out: Path,
    *,
    on_progress: Progress | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes impressions/, clicks/, conversions/ (by day), truth.parquet and simulation.json.

    Args:
        config: what to simulate.
        out: the directory.
        on_progress: called with (done, total), in impressions.
        overwrite: whether to replace `out`, if it is a simulation.

    Returns:
        The content of simulation.json: the exact counts of each stream, and the configuration.

    Raises:
        FunnelError: `out` exists and is not to be replaced.
    """
    check_out(out, overwrite=overwrite)
    with staging(out) as folder:
        files, world = LogFiles(folder, config), World(config)
        with pq.ParquetWriter(folder / "truth.parquet", pa.schema(TRUTH)) as truth:
            for day in range(files.days):
                for part, first, ts in _parts(config, day):
                    rows = _write_part(
                        world, files, day=day, part=part, first=first, ts=files.start + ts
                    )
                    truth.write_table(rows)
                    if on_progress:
                        on_progress(first + len(ts), config.impressions)
                files.write_events(day)
        result = files.counts | {"config": config.model_dump(mode="json", exclude={"out"})}
        (folder / "simulation.json").write_text(
            json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        )
    return result


def _parts(config: SimulateConfig, day: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (part, its first row number, its times since `start`, ordered) of one day; nothing of
    the trailing days.
    """
    first, last = (config.impressions * min(d, config.days) // config.days for d in (day, day + 1))
    ts = day * DAY + times_of_day(np.random.default_rng([config.seed, 3, day]), last - first)
    for part, i in enumerate(range(0, len(ts), PART_ROWS)):
        yield part, first + i, ts[i : i + PART_ROWS]


def _write_part(
    world: World, files: LogFiles, *, day: int, part: int, first: int, ts: np.ndarray
) -> pa.Table:
    """Draws consecutive impressions and their events, hands them to `files`, and returns the rows
    of truth.parquet.
    """
    config, rng = world.config, np.random.default_rng([world.config.seed, 1, day, part])
    shown = world.show(rng, ts)
    p = sigmoid(world.intercepts + world.logits(shown))  # [n, 2]
    clicked, converts = (rng.random(p.shape) < p).T
    ids = impression_ids(first + np.arange(len(ts)), config.seed)
    files.write(
        "impressions",
        day,
        part,
        pa.table({"impression_id": ids, "ts": pa.array(ts, TIME), **world.columns(shown)}),
    )
    click = np.flatnonzero(clicked)
    click_ts, late = _delayed(rng, config, ts[click], config.click_delay)
    files.add_events("clicks", late, impression_id=ids.take(pa.array(click)), ts=click_ts)
    bought = converts[click]
    convert = click[bought]
    convert_ts, late = _delayed(rng, config, click_ts[bought], config.conversion_delay)
    value = np.exp(
        world.log_price[shown["item"][convert]] + rng.normal(0, 0.2, len(convert))
    ).round(2)
    files.add_events(
        "conversions", late, impression_id=ids.take(pa.array(convert)), ts=convert_ts, value=value
    )
    return pa.table(
        [ids, p[:, 0], p[:, 1], clicked.astype(np.int8), converts.astype(np.int8)],
        schema=pa.schema(TRUTH),
    )


def _delayed(
    rng: np.random.Generator, config: SimulateConfig, ts: np.ndarray, mean: timedelta
) -> tuple[np.ndarray, np.ndarray]:
    """(ts + 1 µs + an exponential delay, plus `late_by` at the rate `late`; which are late)."""
    late = rng.random(len(ts)) < config.late
    delay = rng.exponential(microseconds(mean), len(ts)).astype(np.int64)
    return ts + 1 + delay + late * microseconds(config.late_by), late

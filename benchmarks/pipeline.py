"""Preprocessing speed against its limit: the job on Beam's default runner, and the same functions straight-line without Beam.

Made once: impressions with 20 categorical and 5 numeric columns, clicks and conversions, in Parquet. Both ways read them,
encode, join, label and write TFRecords, interleaved in one process after a small job that pays for the start-up; both must
write the same bytes. The straight-line way is timed by stage. `wall_over_limit` is of the whole job; the table also shows it
without what a job of 2,000 impressions takes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose pipeline.py would hide the package

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from features.spec import Spec
from pipeline import encode, join, publish, read
from pipeline.config import PreprocessConfig
from pipeline.job import preprocess
from pipeline.labels import make_calendar
from pipeline.partition import write_partition
from pipeline.sources import find_sources
from pipeline.staging import staging
from pipeline.write import write_shard

CARDINALITIES = [2, 3, 5, 7, 10, 24, 50, 100, 200, 500, 1000, 1000, 2000, 5000, 10_000, 10_000, 20_000, 50_000, 100_000, 200_000]
NUMERIC = 5
FILES, ROWS_PER_SHARD = 8, 125_000
SMALL = 2000  # impressions of a job that takes next to nothing but its start-up
CLICKED, CONVERTED = 0.05, 0.1  # of impressions, of clicks
T0, DAY, MINUTE = 1_790_000_000_000_000, 86_400_000_000, 60_000_000  # µs
JOB, LIMIT, START = "job", "straight-line", "start-up"


def make_logs(folder: Path, impressions: int) -> PreprocessConfig:
    """Writes the three logs and returns the configuration that reads them."""
    random = np.random.default_rng(1)
    for number, rows in enumerate(np.array_split(np.arange(impressions), FILES)):
        ids, times = pa.array([f"impression-{row:09d}" for row in rows]), T0 + random.integers(0, 7 * DAY, len(rows))
        columns = {"id": ids, "ts": times}
        for i, values in enumerate(CARDINALITIES):
            drawn = (values * random.random(len(rows)) ** 2).astype(np.int64)  # the first values are the frequent ones
            columns[f"c{i}"] = pa.array(np.char.add(f"value-{i}-", drawn.astype(str)))
        columns |= {f"n{i}": random.lognormal(size=len(rows)) for i in range(NUMERIC)}
        clicked = np.flatnonzero(random.random(len(rows)) < CLICKED)
        click_times = times[clicked] + random.integers(0, 20 * MINUTE, len(clicked))
        converted = np.flatnonzero(random.random(len(clicked)) < CONVERTED)
        conversion_times = click_times[converted] + random.integers(0, DAY, len(converted))
        _write(folder / "impressions", number, columns)
        _write(folder / "clicks", number, {"id": ids.take(pa.array(clicked)), "ts": click_times})
        _write(folder / "conversions", number, {"id": ids.take(pa.array(clicked[converted])), "ts": conversion_times})
    return make_config(folder, impressions)


def _write(folder: Path, number: int, columns: dict[str, np.ndarray | pa.Array]) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"part-{number:03d}.parquet")


def make_config(folder: Path, impressions: int) -> PreprocessConfig:
    """The logs below `folder`; several shards even of a small input, so that rows are shuffled."""
    spec = {
        "features": {f"c{i}": {"kind": "categorical", "buckets": 2 * n + 2} for i, n in enumerate(CARDINALITIES)}
        | {f"n{i}": {"kind": "numeric", "transform": "log1p"} for i in range(NUMERIC)},
        "labels": {
            "click": {"event": "clicks", "within": "30m"},
            "convert": {"event": "conversions", "within": "1d", "after": "click"},
        },
        "tasks": {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}},
    }
    streams = ("impressions", "clicks", "conversions")
    return PreprocessConfig.parse(
        {
            "logs": {name: {"files": f"{folder}/{name}/*.parquet", "id": "id", "time": "ts"} for name in streams},
            "spec": Spec.parse(spec),
            "output": {"shards": max(2, impressions // ROWS_PER_SHARD)},
        }
    )


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's time to the stage's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def each(self, name: str, items: Iterable) -> Iterator:
        """The items; what it takes to get them is the stage's."""
        iterator, end = iter(items), object()
        while True:
            with self.stage(name):
                item = next(iterator, end)
            if item is end:
                return
            yield item

    def timed(self, name: str, function: Callable) -> Callable:
        """The function, its calls in the stage."""

        def call(*args: object, **kwargs: object) -> object:
            with self.stage(name):
                return function(*args, **kwargs)

        return call


def straight_line(config: PreprocessConfig, out: Path, clock: Clock) -> dict:
    """What the job does, in one loop without Beam: publishes `out` and returns its manifest."""
    shards = config.output.shards
    tables: list[dict[str, list[pa.Table]]] = [defaultdict(list) for _ in range(shards)]
    tallies, partials = [], []
    sources = find_sources(config)
    with staging(out) as beside:
        for number, source in enumerate(sources):
            batches = read.read(source, config.logs[source.stream], read.raw_columns(config, source.stream))
            for batch in clock.each("read", batches):
                with clock.stage("tally"):
                    tallies.append(encode.tally(config, source, batch))
                with clock.stage("encode"):
                    impressions = source.stream == config.rows
                    table = encode.encode_impressions(config, source, number, batch) if impressions else encode.encode_events(batch)
                with clock.stage("cut"):
                    for partition, rows in encode.cut(table, shards):
                        tables[partition][source.stream].append(rows)
        totals, sample = encode.fold_tallies(tallies)
        calendar = make_calendar(config, {name: total.last_time for name, total in totals.items()})
        with patch("pipeline.write.write_shard", clock.timed("write", write_shard)):
            for number, streams in enumerate(tables):
                with clock.stage("partition"):
                    joined = {name: pa.concat_tables(streams[name]) if streams[name] else join.empty_events() for name in config.logs}
                    rows = joined.pop(config.rows)
                    partials.append(write_partition(config, number, shards, rows, joined, calendar, beside))
                streams.clear()
        clock.seconds["join + label"] = clock.seconds.pop("partition") - clock.seconds["write"]
        with clock.stage("describe"):
            return publish.describe(config, sources, totals, sample, calendar, partials, beside)


def through_ipc(config: PreprocessConfig) -> float:
    """Seconds that the shuffle's own format takes: the impressions' batches to Arrow IPC bytes and back. Not in the limit."""
    clock = Clock()
    for number, source in enumerate(s for s in find_sources(config) if s.stream == config.rows):
        for batch in read.read(source, config.logs[source.stream], read.raw_columns(config, source.stream)):
            for _, rows in encode.cut(encode.encode_impressions(config, source, number, batch), config.output.shards):
                with clock.stage("ipc"):
                    encode.from_ipc(encode.to_ipc(rows))
    return clock.seconds["ipc"]


def compare(impressions: int, rounds: int) -> tuple[list[list[str]], dict[str, float]]:
    """(table, result) of both ways, with the stages of the straight-line one."""

    def row(name: str, seconds: float, of_limit: float) -> list[str]:
        return [name, f"{seconds:.2f}", f"{impressions / seconds:,.0f}", f"{of_limit:.2f}"]

    clocks: list[Clock] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small").mkdir()
        small = make_logs(folder / "small", SMALL)
        preprocess(small, folder / "started")
        print(f"· writing {impressions:,} impressions", flush=True)
        config = make_logs(folder, impressions)
        shards: dict[str, dict] = {}

        def job() -> None:
            shards[JOB] = preprocess(config, folder / "job")["shards"]

        def limit() -> None:
            clocks.append(Clock())
            shards[LIMIT] = straight_line(config, folder / "limit", clocks[-1])["shards"]

        def start() -> None:
            preprocess(small, folder / "started")

        times = machine.interleave(
            {name: partial(machine.seconds, way) for name, way in ((JOB, job), (LIMIT, limit), (START, start))}, rounds
        )
        if shards[JOB] != shards[LIMIT]:
            raise RuntimeError("the job and the straight-line way wrote different shards: they do not do the same work")
        ipc = through_ipc(config)
    base = median(times[LIMIT])
    apart = [whole - start for whole, start in zip(times[JOB], times[START], strict=True)]
    ways = {JOB: times[JOB], f"{JOB}, start-up apart": apart, LIMIT: times[LIMIT]}
    table = [["", "seconds", "rows/s", "of the limit"]]
    table += [row(way, median(t), machine.ratio(t, times[LIMIT])) for way, t in ways.items()]
    stages = {stage: median(clock.seconds[stage] for clock in clocks) for stage in clocks[0].seconds}
    stages |= {"other": base - sum(stages.values()), "(Arrow IPC, in the job only)": ipc}
    table += [row(f"  {stage}", seconds, seconds / base) for stage, seconds in stages.items()]
    result = {
        "wall_over_limit": machine.ratio(times[JOB], times[LIMIT]),
        "rows_per_second": impressions / median(times[JOB]),
        "limit_rows_per_second": impressions / base,
    }
    return table, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog="example: python benchmarks/pipeline.py --quick"
    )
    parser.add_argument("--impressions", type=int, default=1_000_000, help="rows of the main log (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of 50,000 impressions: shows that it runs")
    arguments = parser.parse_args()
    machine.finish(*(compare(50_000, 1) if arguments.quick else compare(arguments.impressions, arguments.rounds)))


if __name__ == "__main__":
    main()

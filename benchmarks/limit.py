"""The limit of preprocessing: the job's own functions in one loop, without Beam, timed by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from features.files import staging
from pipeline import encode
from pipeline.config import PreprocessConfig
from pipeline.job import finish
from pipeline.labeling.split import calendar_of
from pipeline.output.shards import write_shard
from pipeline.partition import write_partition
from pipeline.plan import Plan, make_plan
from pipeline.rows.columns import columns_needed
from pipeline.rows.read import read
from pipeline.shuffle import cut
from pipeline.sources.pieces import pieces
from pipeline.statistics.streams import StreamCounts, count_batch, fold_stream, fold_streams
from pipeline.steps import encode_batch


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
    """What the job does, in one loop: publishes `out` and returns its manifest."""
    with staging(out) as beside:
        with clock.stage("plan"):
            plan = make_plan(config)
        tables, counts = _read_all(plan, clock)
        totals, _ = fold_streams(counts)
        calendar = calendar_of(config, {name: total.spans for name, total in totals.items()})
        results = []
        with patch("pipeline.output.shards.write_shard", clock.timed("write", write_shard)):
            for number, streams in enumerate(tables):
                with clock.stage("join, label, count"):
                    impressions, events = encode.gather(config, streams)
                    result, _ = write_partition(
                        config, number, plan.shards, impressions, events, calendar, beside
                    )
                    results.append(result)
                streams.clear()
        clock.seconds["join, label, count"] -= clock.seconds["write"]
        with clock.stage("describe"):
            return finish(plan, counts, results, beside)


def _read_all(
    plan: Plan, clock: Clock
) -> tuple[list[dict[str, list[pa.Table]]], list[StreamCounts]]:
    """(the encoded batches of each partition by stream, the counts of all pieces)."""
    config = plan.config
    tables: list[dict[str, list[pa.Table]]] = [defaultdict(list) for _ in range(plan.shards)]
    counts = []
    timed = clock.timed("tally", count_batch)
    with patch("pipeline.steps.count_batch", timed):
        for number, source in enumerate(plan.sources):
            stream = source.stream
            request = columns_needed(config, stream)
            for piece in pieces(source, config.logs[stream]):
                counted = []
                batches = read(piece, config.logs[stream], request, plan.lookups[stream])
                for batch in clock.each("read", batches):
                    with clock.stage("encode"):
                        table, one = encode_batch(config, piece, number, batch)
                    counted.append(one)
                    with clock.stage("cut"):
                        for partition, rows in cut(table, plan.shards):
                            tables[partition][stream].append(rows)
                with clock.stage("tally"):
                    counts.append(fold_stream(counted))
    clock.seconds["encode"] -= clock.seconds["tally"]
    return tables, counts

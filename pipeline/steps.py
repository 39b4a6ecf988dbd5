"""The steps that run in Beam's workers, around pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline import encode
from pipeline.config import PreprocessConfig
from pipeline.labeling.split import Calendar, calendar_of
from pipeline.output.progress import mark_done
from pipeline.output.reject_limit import PieceLimit, most_rows
from pipeline.output.rejects import RejectWriter, duplicate_rejects
from pipeline.output.results import PartitionResult
from pipeline.output.worker_errors import CUT, READ, WRITE, raise_first, recorded, stopped
from pipeline.partition import write_partition
from pipeline.plan import Plan
from pipeline.rows.batch import Batch
from pipeline.rows.columns import columns_needed
from pipeline.rows.read import read
from pipeline.shuffle import cut, from_ipc, to_ipc
from pipeline.sources.formats import FORMATS
from pipeline.sources.pieces import Piece, pieces
from pipeline.sources.storage import Source
from pipeline.spans import Spans
from pipeline.statistics.streams import StreamCounts, count_batch, fold_stream

COUNTS, RESULTS = "counts", "results"

Numbered = tuple[int, int, Piece]  # number of the file, number of the piece in it, piece


def cut_source(
    numbered: tuple[int, Source], config: PreprocessConfig, out: Path
) -> Iterator[Numbered]:
    """(number, source) → its pieces."""
    number, source = numbered
    stream = config.logs[source.stream]
    with recorded(out, (CUT, number, 0)):
        found = list(pieces(source, stream))
        format_ = FORMATS[source.format]
        most = [format_.most_rows(source, stream, piece.start, piece.end) for piece in found]
        mark_done(out, f"cut-{number}-{len(found)}", json.dumps(most))
        for at, piece in enumerate(found):
            yield number, at, piece


class Encode(beam.DoFn):
    """Piece → (partition, (stream, Arrow IPC bytes)); counts are tagged. Rejects go to the disk.

    Args:
        plan: the job.
        out: the directory that it writes.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self.config, self.lookups = plan.config, plan.lookups
        self.partitions, self.out = plan.shards, out
        self.most = {name: most_rows(plan.config, plan.sources, name) for name in plan.config.logs}

    def process(self, numbered: Numbered) -> Iterator[Any]:
        number, at, piece = numbered
        with recorded(self.out, (READ, number, at)):
            yield from self.encode(number, at, piece)

    def encode(self, number: int, at: int, piece: Piece) -> Iterator[Any]:
        """Encodes the batches of one piece."""
        config, stream = self.config, piece.source.stream
        # Every partition gets an element, so that its shard is written even where it has no row.
        if number == at == 0:
            yield from ((partition, None) for partition in range(self.partitions))
        counts = [StreamCounts(stream)]  # an empty file still counts for its stream
        request = columns_needed(config, stream)
        limit = PieceLimit(config, piece.source, self.most[stream])
        with RejectWriter(self.out, f"{number}-{at}") as rejects:
            for batch in read(piece, config.logs[stream], request, self.lookups[stream]):
                if stopped(self.out, (READ, number, at)):
                    return
                rejects.write(number, batch.rejects)
                limit.add(batch.rows_read, batch.rejected)
                table, counted = encode_batch(config, piece, number, batch)
                counts.append(counted)
                for partition, rows in cut(table, self.partitions):
                    yield partition, (stream, to_ipc(rows))
        yield beam.pvalue.TaggedOutput(COUNTS, fold_stream(counts))
        mark_done(self.out, f"read-{number}-{at}", limit.as_json())


def encode_batch(
    config: PreprocessConfig, piece: Piece, number: int, batch: Batch
) -> tuple[pa.Table, StreamCounts]:
    """The table of a batch that crosses the shuffle, and its counts."""
    stream = piece.source.stream
    if stream != config.rows:
        table = encode.encode_events(config, stream, batch)
        return table, count_batch(config, stream, batch)
    table, encoded = encode.encode_impressions(config, piece, number, batch)
    return table, count_batch(config, stream, batch, encoded, table["hash"].to_numpy())


class WritePartition(beam.DoFn):
    """(partition, its batches) → its shards on disk and a PartitionResult. Duplicates go to the
    disk as rejects.
    """

    def __init__(self, config: PreprocessConfig, partitions: int, out: Path) -> None:
        self.config, self.partitions, self.out = config, partitions, out

    def process(
        self, grouped: tuple[int, Iterable[tuple[str, bytes] | None]], calendar: Calendar
    ) -> Iterator[Any]:
        place = (WRITE, grouped[0], 0)
        with recorded(self.out, place):
            if not stopped(self.out, place):
                yield self.write(*grouped, calendar)

    def write(
        self, number: int, batches: Iterable[tuple[str, bytes] | None], calendar: Calendar
    ) -> PartitionResult:
        """Writes one partition. The element that every partition gets has no batch."""
        config = self.config
        tables: dict[str, list[pa.Table]] = {}
        for stream, data in filter(None, batches):
            tables.setdefault(stream, []).append(from_ipc(data))
        impressions, events = encode.gather(config, tables)
        result, duplicates = write_partition(
            config, number, self.partitions, impressions, events, calendar, self.out
        )
        with RejectWriter(self.out, f"duplicates-{number}") as rejects:
            for file, reject in duplicate_rejects(duplicates):
                rejects.write(file, [reject])
        mark_done(self.out, f"write-{number}")
        return result


def calendar_of_spans(
    config: PreprocessConfig, spans: dict[str, Spans | None], out: Path
) -> Calendar:
    """The calendar, once everything is read. Raises FunnelError where a worker has failed."""
    raise_first(out)
    return calendar_of(config, spans)

"""The steps that run in Beam's workers, around pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from features.errors import FunnelError
from pipeline import encode
from pipeline.config import PreprocessConfig
from pipeline.labeling.split import Calendar
from pipeline.output.progress import mark_done
from pipeline.partition import write_partition
from pipeline.rows.batch import Batch, Reject
from pipeline.rows.columns import columns_needed
from pipeline.rows.lookups import Lookups
from pipeline.rows.read import read
from pipeline.shuffle import cut, from_ipc, to_ipc
from pipeline.sources.pieces import Piece, pieces
from pipeline.sources.storage import Source
from pipeline.statistics.streams import StreamCounts, count_batch, fold_stream

COUNTS, REJECTS, RESULTS = "counts", "rejects", "results"
ERROR = "error.json"

Numbered = tuple[int, int, Piece]  # number of the file, number of the piece in it, piece


@contextmanager
def reporting_errors(out: Path) -> Iterator[None]:
    """Writes the text of a FunnelError to a file, since Beam wraps what a worker raises in a
    traceback of its own.
    """
    try:
        yield
    except FunnelError as error:
        (out / ERROR).write_text(json.dumps(str(error)))
        raise


def cut_source(
    numbered: tuple[int, Source], config: PreprocessConfig, out: Path
) -> Iterator[Numbered]:
    """(number, source) → its pieces."""
    number, source = numbered
    with reporting_errors(out):
        found = list(pieces(source, config.logs[source.stream]))
    mark_done(out, f"cut-{number}-{len(found)}")
    for at, piece in enumerate(found):
        yield number, at, piece


class Encode(beam.DoFn):
    """Piece → (partition, (stream, Arrow IPC bytes)); counts and rejects are tagged."""

    def __init__(
        self, config: PreprocessConfig, lookups: Mapping[str, Lookups], partitions: int, out: Path
    ) -> None:
        self.config, self.lookups = config, lookups
        self.partitions, self.out = partitions, out

    def process(self, numbered: Numbered) -> Iterator[Any]:
        with reporting_errors(self.out):
            yield from self.encode(*numbered)

    def encode(self, number: int, at: int, piece: Piece) -> Iterator[Any]:
        """Encodes the batches of one piece."""
        config, stream = self.config, piece.source.stream
        # Every partition gets an element, so that its shard is written even where it has no row.
        if number == at == 0:
            yield from ((partition, None) for partition in range(self.partitions))
        counts = [StreamCounts(stream)]  # an empty file still counts for its stream
        request = columns_needed(config, stream)
        for batch in read(piece, config.logs[stream], request, self.lookups[stream]):
            table, counted = encode_batch(config, piece, number, batch)
            counts.append(counted)
            if batch.rejects:
                yield beam.pvalue.TaggedOutput(REJECTS, (stream, batch.rejects))
            for partition, rows in cut(table, self.partitions):
                yield partition, (stream, to_ipc(rows))
        yield beam.pvalue.TaggedOutput(COUNTS, fold_stream(counts))
        mark_done(self.out, f"read-{number}-{at}")


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
    """(partition, its batches) → its shards on disk and a PartitionResult; duplicates are tagged as
    rejects.
    """

    def __init__(
        self, config: PreprocessConfig, files: list[str], partitions: int, out: Path
    ) -> None:
        self.config, self.files = config, files
        self.partitions, self.out = partitions, out

    def process(
        self, grouped: tuple[int, Iterable[tuple[str, bytes] | None]], calendar: Calendar
    ) -> Iterator[Any]:
        with reporting_errors(self.out):
            yield from self.write(*grouped, calendar)

    def write(
        self, number: int, batches: Iterable[tuple[str, bytes] | None], calendar: Calendar
    ) -> Iterator[Any]:
        """Writes one partition. The element that every partition gets has no batch."""
        config = self.config
        tables: dict[str, list[pa.Table]] = {}
        for stream, data in filter(None, batches):
            tables.setdefault(stream, []).append(from_ipc(data))
        impressions, events = encode.gather(config, tables)
        result = write_partition(
            config, number, self.partitions, impressions, events, calendar, self.out
        )
        if result.duplicates:
            rejects = [
                Reject(self.files[file], line, byte, "duplicate", id_)
                for file, line, byte, id_ in result.duplicates
            ]
            yield beam.pvalue.TaggedOutput(REJECTS, (config.rows, rejects))
        mark_done(self.out, f"write-{number}")
        yield result


def write_rejects(out: Path, stream: str, rejects: Iterable[list[Reject]]) -> None:
    """Writes rejects/<stream>.jsonl: one object a row, by file and position."""
    flat = sorted(
        (reject for some in rejects for reject in some),
        key=lambda r: (r.file, r.line or r.byte, r.reason),
    )
    (out / "rejects").mkdir(exist_ok=True)
    with (out / "rejects" / f"{stream}.jsonl").open("w") as file:
        file.writelines(json.dumps(vars(r), ensure_ascii=False) + "\n" for r in flat)

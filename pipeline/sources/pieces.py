"""The formats of logs by name, and the pieces in which large files are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Stream
from pipeline.sources.files import Source, open_source
from pipeline.sources.formats.aliccp import AliccpFile
from pipeline.sources.formats.csv import CsvFile
from pipeline.sources.formats.jsonl import JsonFile
from pipeline.sources.formats.lines import Raw

BATCH_ROWS = 65_536
PIECE_BYTES = 64 << 20
PIECE_ROWS = 1_000_000


class LogFile(Protocol):
    """An open file: its columns (None where an empty file tells none), and its rows of the wanted
    columns, column → raw type.
    """

    names: list[str] | None

    def read(
        self, wanted: dict[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[Raw]: ...


class ParquetFile:
    """Row groups in turn; a row's place is its number in the file, from 1."""

    def __init__(self, file: pa.NativeFile, _: Stream) -> None:
        self._parquet = pq.ParquetFile(file)
        self.names = self._parquet.schema_arrow.names

    def read(
        self, wanted: dict[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[Raw]:
        """Batches of the row groups [start, end)."""
        metadata = self._parquet.metadata
        groups = range(metadata.num_row_groups)[start:end]
        place = 1 + sum(metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in self._parquet.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=list(wanted)
        ):
            yield Raw(pa.Table.from_batches([batch]), np.arange(place, place + batch.num_rows))
            place += batch.num_rows

    def pieces(self) -> list[tuple[int, int]]:
        """Stretches of row groups, of about PIECE_BYTES or PIECE_ROWS each."""
        metadata, ends, held, rows = self._parquet.metadata, [], 0, 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            held += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            rows += group.num_rows
            if held >= PIECE_BYTES or rows >= PIECE_ROWS or number == metadata.num_row_groups - 1:
                ends.append(number + 1)
                held = rows = 0
        return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


FORMATS: dict[str, type[LogFile]] = {
    "parquet": ParquetFile,
    "csv": CsvFile,
    "jsonl": JsonFile,
    "aliccp": AliccpFile,
}


@dataclass(frozen=True)
class Piece:
    """Part of a file: row groups [start, end) of Parquet, else the lines that begin in the bytes
    [start, end); None: all of it.
    """

    source: Source
    start: int | None = None
    end: int | None = None

    @property
    def by_bytes(self) -> bool:
        """Whether its rows' places are byte offsets."""
        return self.start is not None and self.source.format != "parquet"


def pieces(source: Source, stream: Stream) -> Iterator[Piece]:
    """The pieces of a file: of the same file always the same ones. A packed file, or one whose
    values may hold newlines, is one.
    """
    if source.format == "parquet":
        with open_log(source, stream) as log:
            stretches = log.pieces()
    else:
        splittable = source.compression == "none" and not (
            source.format == "csv" and stream.multiline
        )
        starts = range(0, source.size, PIECE_BYTES) if splittable else []
        stretches = [(start, min(start + PIECE_BYTES, source.size)) for start in starts]
    if len(stretches) < 2:
        yield Piece(source)
    else:
        yield from (Piece(source, start, end) for start, end in stretches)


@contextmanager
def open_log(source: Source, stream: Stream) -> Iterator[LogFile]:
    with open_source(source) as file:
        yield FORMATS[source.format](file, stream)

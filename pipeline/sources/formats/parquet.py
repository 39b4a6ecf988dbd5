"""Parquet: row groups in turn. A row's position is its number in the file, from 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Stream
from pipeline.sources.formats.base import LogFile, ParsedRows
from pipeline.sources.storage import Source, open_source

BATCH_ROWS = 65_536
PIECE_ROWS = 1_000_000


class ParquetFile(LogFile):
    """A Parquet file, read in ranges of row groups."""

    endings = (".parquet", ".pq")

    def __init__(self, file: pa.NativeFile, stream: Stream) -> None:
        self._parquet = pq.ParquetFile(file)

    @cached_property
    def names(self) -> list[str] | None:
        return list(self._parquet.schema_arrow.names)

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields batches of the row groups [start, end)."""
        metadata = self._parquet.metadata
        groups = range(metadata.num_row_groups)[start:end]
        first = 1 + sum(metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in self._parquet.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=list(columns)
        ):
            positions = np.arange(first, first + batch.num_rows)
            yield ParsedRows(pa.Table.from_batches([batch]), positions)
            first += batch.num_rows

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """Ranges of row groups, of about `piece_bytes` or PIECE_ROWS each."""
        with open_source(source) as file:
            metadata = pq.ParquetFile(file).metadata
        ends, size, rows = [0], 0, 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            size += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            rows += group.num_rows
            if size >= piece_bytes or rows >= PIECE_ROWS or number == metadata.num_row_groups - 1:
                ends.append(number + 1)
                size = rows = 0
        return list(pairwise(ends))

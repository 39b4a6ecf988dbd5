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
        self._parquet = _open(file)

    @cached_property
    def names(self) -> list[str] | None:
        return list(self._parquet.schema_arrow.names)

    def read(
        self, columns: Mapping[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[ParsedRows]:
        """Yields batches of the row groups [start, end)."""
        metadata = self._parquet.metadata
        groups = range(metadata.num_row_groups)[start:end]
        _check_chunks(metadata, groups)
        first = 1 + sum(metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in self._parquet.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=list(columns)
        ):
            positions = np.arange(first, first + batch.num_rows)
            yield ParsedRows(pa.Table.from_batches([batch]), positions)
            first += batch.num_rows
        _check_read(metadata, groups, first - 1)

    @classmethod
    def most_rows(
        cls, source: Source, stream: Stream, start: int | None = None, end: int | None = None
    ) -> float:
        """The number of rows."""
        with open_source(source) as file:
            metadata = pq.ParquetFile(file).metadata
        groups = range(metadata.num_row_groups)[start:end]
        return float(sum(metadata.row_group(number).num_rows for number in groups))

    @classmethod
    def ranges(cls, source: Source, stream: Stream, piece_bytes: int) -> list[tuple[int, int]]:
        """Ranges of row groups, of about `piece_bytes` or PIECE_ROWS each."""
        with open_source(source) as file:
            metadata = _open(file).metadata
        ends, size, rows = [0], 0, 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            size += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            rows += group.num_rows
            if size >= piece_bytes or rows >= PIECE_ROWS or number == metadata.num_row_groups - 1:
                ends.append(number + 1)
                size = rows = 0
        return list(pairwise(ends))


def _open(file: pa.NativeFile) -> pq.ParquetFile:
    """Raises ArrowInvalid where the footer counts other rows than its row groups."""
    parquet = pq.ParquetFile(file)
    metadata = parquet.metadata
    rows = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    if rows != metadata.num_rows:
        raise _disagreement(f"its footer says {metadata.num_rows:,} rows, its row groups {rows:,}")
    return parquet


def _check_chunks(metadata: pq.FileMetaData, groups: range) -> None:
    """Raises ArrowInvalid where a column of a row group has another number of values than rows, or
    lies where another one does.
    """
    places = []
    for number in groups:
        group = metadata.row_group(number)
        for at in range(group.num_columns):
            chunk = group.column(at)
            where = f"column '{chunk.path_in_schema}' of row group {number + 1}"
            is_list = metadata.schema.column(at).max_repetition_level > 0
            if not is_list and chunk.num_values != group.num_rows:
                raise _disagreement(
                    f"{where} says {chunk.num_values:,} values, the row group "
                    f"{group.num_rows:,} rows"
                )
            begin = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                begin = min(begin, chunk.dictionary_page_offset)
            if chunk.num_values:  # else its offset may be anything
                places.append((begin, begin + chunk.total_compressed_size, where))
    places.sort()
    for (_, end, where), (begin, _, other) in pairwise(places):
        if begin < end:
            raise _disagreement(
                f"{where} ends at byte {end:,}, {other} begins before that, at {begin:,}"
            )


def _check_read(metadata: pq.FileMetaData, groups: range, last: int) -> None:
    """Raises ArrowInvalid where the row groups held fewer rows than they say."""
    expected = sum(metadata.row_group(group).num_rows for group in range(groups.stop))
    if last != expected:
        raise _disagreement(f"its row groups say {expected:,} rows, {last:,} could be read")


def _disagreement(numbers: str) -> pa.ArrowInvalid:
    return pa.ArrowInvalid(f"{numbers}: write the file again, or copy it again from its source")

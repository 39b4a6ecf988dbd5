"""Files → batches of valid rows; what cannot be used is listed beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from pipeline.arrow import first_repeated
from pipeline.config import Stream
from pipeline.rows.batch import Batch, ColumnRequest, column_key
from pipeline.rows.lookups import Join, Lookups, Table, resolve_names
from pipeline.rows.presence import may_lack_columns, names_held, require
from pipeline.rows.validate import validate
from pipeline.sources.formats import FORMATS
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.pieces import Piece, open_log, pieces
from pipeline.sources.storage import Source


def read(
    piece: Piece, stream: Stream, request: ColumnRequest, lookups: Lookups | None = None
) -> Iterator[Batch]:
    """Yields the batches of one piece.

    Args:
        piece: the piece of a file.
        stream: how the file is declared.
        request: the columns to read.
        lookups: the look-up tables that give columns.

    Raises:
        FunnelError: the file cannot be read, or it lacks a column that each of its rows must have.
    """
    needed = _own_columns(stream, request, lookups)
    with open_log(piece.source, stream) as log:
        if log.names is not None and not may_lack_columns(piece.source):
            require([piece.source], log.names, needed)
        for parsed in log.read(needed, piece.start, piece.end):
            tables = {join: load(join) for join in lookups.joins} if lookups else {}
            yield validate(piece, stream, request, parsed, tables)


def read_source(
    source: Source, stream: Stream, request: ColumnRequest, lookups: Lookups | None = None
) -> Iterator[Batch]:
    """Yields the batches of a whole file; see `read`."""
    for piece in pieces(source, stream):
        yield from read(piece, stream, request, lookups)


def read_table(table: pa.Table, stream: Stream, request: ColumnRequest) -> Batch:
    """The batch of the rows of a table in memory, numbered from 1.

    Raises:
        FunnelError: the table lacks a column.
    """
    source = Source("rows", "rows", "rows", table.nbytes, "parquet")
    names = table.column_names
    lookups = resolve_names("rows", stream, source.path, names, request.columns)
    require([source], names, _own_columns(stream, request, lookups))
    parsed = ParsedRows(table, np.arange(1, len(table) + 1))
    tables = {join: load(join) for join in lookups.joins}
    return validate(Piece(source), stream, request, parsed, tables)


def check_columns(
    sources: Sequence[Source],
    stream: Stream,
    request: ColumnRequest,
    lookups: Lookups | None = None,
) -> None:
    """Reads the first rows of a stream, so that a job does not start on columns that are absent or
    of a wrong type.

    Args:
        sources: the files of the stream.
        stream: how they are declared.
        request: the columns to read.
        lookups: the look-up tables that give columns.

    Raises:
        FunnelError: the first file lacks a column, or where rows may lack columns all files do; or
            a column's type cannot be read as its raw type.
    """
    first, needed = sources[0], _own_columns(stream, request, lookups)
    names = names_held(sources, stream, needed)
    if names is not None:
        require(sources if may_lack_columns(first) else [first], names, needed)
    head = FORMATS[first.format].head
    if head is not None:
        next(read(Piece(first, *head), stream, request, lookups), None)


@cache
def load(join: Join) -> Table:
    """Reads a look-up table, once in a process.

    Raises:
        FunnelError: a row cannot be used, or a key is repeated.
    """
    keys: list[pa.Array] = [pa.array([], pa.string())]
    columns = {column: [pa.array([], ARROW_TYPES[column[1]])] for column in join.columns}
    for source in join.sources:
        for batch in read_source(source, join.stream, ColumnRequest(join.columns)):
            if batch.rejects:
                first = min(batch.rejects, key=lambda r: (r.line or r.byte, r.reason))
                raise FunnelError(
                    f"{source.path}, {first.position}: {first.reason} ({first.value[:80]}); "
                    "look-up tables must have no unusable row: fix it"
                )
            keys.append(batch.columns["id"])
            for column, chunks in columns.items():
                chunks.append(batch.columns[column_key(*column)])
    all_keys = pa.concat_arrays(keys)
    repeated = first_repeated(all_keys)
    if repeated is not None:
        raise FunnelError(
            f"{join.sources[0].path}: {join.key} '{repeated}' occurs more than once: "
            "a look-up table has one row for each key"
        )
    return Table(all_keys, {column: pa.concat_arrays(c) for column, c in columns.items()})


def _own_columns(stream: Stream, request: ColumnRequest, lookups: Lookups | None) -> dict[str, str]:
    """Column → raw type of what the file itself must hold."""
    needed: dict[str, str] = {}
    for name, raw_type in request.columns:
        if lookups is None or (name, raw_type) not in lookups.taken:
            needed.setdefault(name, raw_type)
    for join in lookups.joins if lookups else ():
        needed.setdefault(join.on, "text")
    if stream.id is not None:
        needed.setdefault(stream.id, "text")
    if stream.time is not None:
        needed.setdefault(stream.time, "time")
    return needed

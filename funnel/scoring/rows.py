"""Raw rows in memory or in files → batches of valid rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from features.errors import FunnelError
from features.spec import Spec
from pipeline.config import Stream
from pipeline.rows.batch import Batch
from pipeline.rows.columns import feature_columns
from pipeline.rows.lookups import resolve
from pipeline.rows.read import check_columns, read, read_table
from pipeline.sources.files import find
from pipeline.sources.pieces import pieces
from pipeline.sources.storage import Source, connect


def of_files(
    key: str, files: str | list[str], stream: Stream, spec: Spec
) -> Iterator[tuple[Batch, float]]:
    """The files are found at once. Yields their batches, with the columns that a request sends, and
    the share of all pieces that were read before the batch.

    Args:
        key: what errors call `files`.
        files: files or globs.
        stream: how the rows are declared.
        spec: the features that read them.

    Raises:
        FunnelError: a glob without files, or a file that cannot be read or lacks a column.
    """
    connect()
    return _batches(key, find(key, key, stream, files), stream, spec)


def _batches(
    key: str, sources: list[Source], stream: Stream, spec: Spec
) -> Iterator[tuple[Batch, float]]:
    request = feature_columns(spec, spec.request_columns)
    lookups = resolve(key, stream, sources, request.columns)
    check_columns(sources, stream, request, lookups)
    todo = [piece for source in sources for piece in pieces(source, stream)]
    for number, piece in enumerate(todo):
        for batch in read(piece, stream, request, lookups):
            yield batch, number / len(todo)


def of_memory(rows: Any, stream: Stream, spec: Spec) -> Batch:
    """The rows of a table, all of them.

    Args:
        rows: a pyarrow Table or RecordBatch, a dict of columns, or a pandas DataFrame.
        stream: how the rows are declared.
        spec: the features that read them.

    Raises:
        FunnelError: `rows` is none of these, lacks a column, or has a row that cannot be used.
    """
    stream = stream.model_copy(update={"id": None})  # the order identifies a row
    if stream.lookups:
        connect()
    batch = read_table(as_table(rows), stream, feature_columns(spec, spec.request_columns))
    if batch.rejects:
        first, count = batch.rejects[0], batch.rejected.total()
        raise FunnelError(
            f"rows: {count:,} of {batch.rows_read:,} cannot be scored; the first is "
            f"row {first.line}: {first.reason} ({first.value[:80]}); fix or remove them"
        )
    if not batch.rows_read:
        raise FunnelError("rows: there are none to score")
    return batch


def as_table(rows: Any) -> pa.Table:
    """Rows in memory as an Arrow table. Raises FunnelError where they are not one.

    Example:
        >>> as_table({"price": [1.5, None]}).column_names
        ['price']
    """
    if isinstance(rows, pa.Table):
        return rows
    try:
        if isinstance(rows, pa.RecordBatch):
            return pa.Table.from_batches([rows])
        if isinstance(rows, Mapping):
            return pa.table({str(name): _array(column) for name, column in rows.items()})
        if type(rows).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FunnelError(
            f"rows: cannot be read as a table ({error}); give columns of one length, each of one "
            "type"
        ) from None
    raise FunnelError(
        f"rows is a {type(rows).__name__}: give a pyarrow Table, a dict of columns, a pandas "
        "DataFrame, or paths of files"
    )


def _array(column: Any) -> pa.Array:
    """A column as Arrow; NaN is a missing number, as in pandas."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    if isinstance(column, str | bytes):
        raise TypeError(f"{column!r} is one value, not a column")
    return pa.array(column, from_pandas=True)

"""Parsed rows → a batch of valid rows in the spec's raw types, and rejects with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow import NOUNS, flat
from pipeline.config import Stream
from pipeline.rows import cast
from pipeline.rows.batch import KEPT, Batch, ColumnRequest, Reject, column_key
from pipeline.rows.lookups import Join, Table, look_up
from pipeline.sources.formats import FORMATS
from pipeline.sources.formats.base import ParsedRows
from pipeline.sources.formats.lines import SHOWN
from pipeline.sources.pieces import Piece


def validate(
    piece: Piece,
    stream: Stream,
    request: ColumnRequest,
    parsed: ParsedRows,
    tables: Mapping[Join, Table],
) -> Batch:
    """Casts every column. A row with a value that does not fit is rejected for its first such
    column.

    Args:
        piece: the piece of a file that the rows are from.
        stream: how the file is declared.
        request: the columns to read.
        parsed: the rows.
        tables: the look-up tables to join.

    Raises:
        FunnelError: the type of a column cannot hold values of the raw type.
    """
    rows = _RowChecker(piece, stream, parsed)
    rows.read_id()
    rows.read_time()
    taken = {column for join in tables for column in join.columns}
    for column in request.columns:
        if column not in taken:
            rows.kept[column_key(*column)] = rows.cast(*column)
    misses = dict(parsed.lookup_misses)
    if tables:
        columns, missed = look_up(tables, {join.on: rows.cast(join.on, "text") for join in tables})
        rows.kept |= {column_key(*column): values for column, values in columns.items()}
        misses |= missed
    _check(rows, request)
    return rows.batch(misses)


class _RowChecker:
    """The rows of a batch while they are checked. `kept` holds their columns, rejected rows
    included.
    """

    def __init__(self, piece: Piece, stream: Stream, parsed: ParsedRows) -> None:
        self.piece, self.stream, self.parsed = piece, stream, parsed
        self.kept: dict[str, pa.Array] = {}
        self._reasons: list[tuple[str, pa.Array]] = []  # with the values to show
        self._why = np.full(len(parsed.positions), -1)  # row → reason, −1 for a valid row

    def read_id(self) -> None:
        column = self.stream.id
        if column is None:
            self.kept["id"] = pa.array(
                [f"{self.piece.source.name}:{at}" for at in self.parsed.positions.tolist()],
                pa.string(),
            )
            return
        self.kept["id"] = self.cast(column, "text")
        self.reject(self.kept["id"].is_null(), f"{column} is missing", self._values(column))

    def read_time(self) -> None:
        column, stream = self.stream.time, self.stream
        if column is None:
            return
        values = self._values(column)
        self.kept["time"], bad = cast.to_microseconds(
            column, values, stream.time_unit, stream.missing
        )
        self.reject(bad, f"{column} is not a time", values)
        self.reject(self.kept["time"].is_null(), f"{column} is missing", values)

    def cast(self, column: str, raw_type: str) -> pa.Array:
        """A column of the file in a raw type. A value that does not fit rejects its row."""
        stream, values = self.stream, self._values(column)
        strip = stream.strip and FORMATS[self.piece.source.format].strips
        result, bad = cast.to_raw_type(
            column,
            values,
            raw_type,
            missing=stream.missing,
            strip=strip,
            time_unit=stream.time_unit,
        )
        self.reject(bad, f"{column} is not {NOUNS[raw_type]}", values)
        return result

    def reject(self, mask: np.ndarray | pa.Array, reason: str, values: pa.Array) -> None:
        """Rejects the rows of the mask that are not rejected yet."""
        rows = np.flatnonzero(np.asarray(mask))
        rows = rows[self._why[rows] < 0]
        if len(rows):
            self._why[rows] = len(self._reasons)
            self._reasons.append((reason, values))

    def batch(self, misses: dict[str, np.ndarray]) -> Batch:
        """The rows without the rejected ones."""
        positions, malformed, good = self.parsed.positions, self.parsed.malformed, self._why < 0
        rejected = Counter(reason for _, reason, _ in malformed)
        for (reason, _), count in zip(
            self._reasons, np.bincount(self._why[~good]).tolist(), strict=True
        ):
            rejected[reason] += count
        if not good.all():
            self.kept = {name: values.filter(pa.array(good)) for name, values in self.kept.items()}
        return Batch(
            self.kept,
            positions[good],
            len(good) + len(malformed),
            self._rejects(),
            rejected,
            {name: int((missed & good).sum()) for name, missed in misses.items()},
        )

    def _rejects(self) -> list[Reject]:
        """The first KEPT rejects of each reason."""
        positions, found = self.parsed.positions, list(self.parsed.malformed)
        for number, (reason, values) in enumerate(self._reasons):
            rows = np.flatnonzero(self._why == number)[:KEPT].tolist()
            found += [(int(positions[row]), reason, _shown(values[row])) for row in rows]
        seen: Counter[str] = Counter()
        kept = []
        for position, reason, value in sorted(found):
            seen[reason] += 1
            if seen[reason] <= KEPT:
                kept.append(self._rejected(position, reason, value[:SHOWN]))
        return kept

    def _rejected(self, position: int, reason: str, value: str) -> Reject:
        line, byte = (None, position) if self.piece.by_bytes else (position, None)
        return Reject(self.piece.source.name, line, byte, reason, value)

    def _values(self, column: str) -> pa.Array:
        return flat(self.parsed.table[column])


def _check(rows: _RowChecker, request: ColumnRequest) -> None:
    """Rejects rows whose values are outside their bounds or do not fit together."""
    for column, (low, high) in request.bounds.items():
        values = rows.kept[column_key(column, "integer")]
        outside = pc.fill_null(pc.or_(pc.less(values, low), pc.greater(values, high)), False)
        rows.reject(outside, f"{column} is not within {low}..{high}", values)
    for column in request.nonnegative:
        values = rows.kept[column_key(column, "number")]
        rows.reject(pc.fill_null(pc.less(values, 0), False), f"{column} is below 0", values)
    for weights, column in request.paired.items():
        _check_pair(rows, weights, column, request.separators.get(column))


def _check_pair(rows: _RowChecker, weights: str, column: str, separator: str | None) -> None:
    """Rejects rows with weights that are not numbers, or not as many as the values."""
    if separator is None:
        values, numbers = (
            rows.kept[column_key(column, "texts")],
            rows.kept[column_key(weights, "numbers")],
        )
    else:
        values, numbers = (
            pc.split_pattern(rows.kept[column_key(c, "text")], separator) for c in (column, weights)
        )
        rows.reject(
            _not_numbers(numbers),
            f"{weights} is not {NOUNS['numbers']}",
            rows.kept[column_key(weights, "text")],
        )
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    unequal = pc.fill_null(pc.not_equal(pc.list_value_length(numbers), lengths), False)
    rows.reject(unequal, f"{weights} has not as many values as {column}", numbers)


def _not_numbers(lists: pa.Array) -> np.ndarray:
    """[n] bool mask: some text of the list is neither empty nor a number."""
    _, bad = cast.to_raw_type("", lists.flatten(), "number", missing=[], strip=False)
    return cast.any_in_list(lists, bad)


def _shown(value: pa.Scalar) -> str:
    """A value as a reject shows it: text that is not UTF-8 as bytes, a time that Python cannot hold
    as a number.
    """
    try:
        return repr(value.as_py())
    except UnicodeDecodeError:
        return (
            "a list of bytes that are not UTF-8"
            if pa.types.is_nested(value.type)
            else repr(value.cast(pa.binary()).as_py())
        )
    except (ValueError, OverflowError):
        return str(value.cast(pa.int64()))

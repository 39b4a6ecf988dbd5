"""Parsed rows → a batch of valid ones in the spec's raw types, with the rejected ones and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Stream
from pipeline.rows import cast
from pipeline.sources.formats.lines import Raw
from pipeline.sources.pieces import Piece

if TYPE_CHECKING:
    from pipeline.rows.lookups import Lookups

Column = tuple[str, str]  # name, raw type
NOUNS = {
    "text": "a text",
    "integer": "an integer",
    "number": "a number",
    "time": "a time",
    "texts": "a list of texts",
    "numbers": "a list of numbers",
}


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: its file and its line there (in Parquet the row's number), from 1,
    why, and what it held.

    Of a text file that is read in pieces nobody counts the lines: `byte` is where the line begins,
    and `line` is None.
    """

    file: str
    line: int | None
    byte: int | None
    reason: str
    value: str

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.byte is None else f"byte {self.byte}"


@dataclass(frozen=True)
class Wanted:
    """What is read of a stream besides id and time: columns, each in one or several raw types, and
    what their values must be.

    `bounds`: the smallest and largest integer of a column. `paired`: list column → the one with as
    many values; `separators` of those that are texts. `nonnegative` columns of numbers.
    """

    columns: tuple[Column, ...] = ()
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    paired: Mapping[str, str] = field(default_factory=dict)
    separators: Mapping[str, str] = field(default_factory=dict)
    nonnegative: Collection[str] = ()


@dataclass
class Batch:
    """Valid rows of one piece: columns by `key`, besides `id` as text and `time` in µs, and their
    places.

    `rows_read` counts the rejected ones too; `lookup_misses` those, of the valid ones, whose key a
    look-up table lacks.
    """

    columns: dict[str, pa.Array]
    places: np.ndarray
    rows_read: int
    rejects: list[Reject] = field(default_factory=list)
    lookup_misses: dict[str, int] = field(default_factory=dict)

    def raw(self, columns: Mapping[str, str]) -> dict[str, pa.Array]:
        """Columns by their own names, of raw types by name."""
        return {column: self.columns[key(column, raw_type)] for column, raw_type in columns.items()}


def key(column: str, raw_type: str) -> str:
    """What a batch calls a column: two uses of one column may want it in two raw types."""
    return f"{raw_type}:{column}"


def validate(
    piece: Piece, stream: Stream, wanted: Wanted, raw: Raw, lookups: Lookups | None = None
) -> Batch:
    """Casts every column; a row with a value that does not fit is rejected for the first such
    column.
    """
    rows = _Rows(piece, stream, raw)
    rows.read_id()
    rows.read_time()
    taken = lookups.taken if lookups else set()
    for column in wanted.columns:
        if column not in taken:
            rows.kept[key(*column)] = rows.cast(*column)
    misses = dict(raw.misses)
    if lookups and lookups.joins:
        columns, missed = lookups.join(
            {join.on: rows.cast(join.on, "text") for join in lookups.joins}
        )
        rows.kept |= {key(*column): values for column, values in columns.items()}
        misses |= missed
    _check(rows, wanted)
    return rows.batch(misses)


class _Rows:
    """The rows of a batch while they are checked: `kept` are their columns, rejected rows still in
    them.
    """

    def __init__(self, piece: Piece, stream: Stream, raw: Raw) -> None:
        self.piece, self.stream, self.raw = piece, stream, raw
        self.kept: dict[str, pa.Array] = {}
        self._reasons: dict[int, tuple[str, str]] = {}  # row → (reason, value)

    def read_id(self) -> None:
        column = self.stream.id
        if column is None:
            self.kept["id"] = pa.array(
                [f"{self.piece.source.name}:{place}" for place in self.raw.places.tolist()],
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
        """A column of the file in a raw type; values that do not fit reject their rows."""
        stream, values = self.stream, self._values(column)
        strip = stream.strip and self.piece.source.format == "csv"
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
        for row in np.flatnonzero(np.asarray(mask)):
            self._reasons.setdefault(int(row), (reason, _shown(values[int(row)])))

    def batch(self, misses: dict[str, np.ndarray]) -> Batch:
        """The rows without the rejected ones."""
        places, malformed = self.raw.places, self.raw.malformed
        good = np.ones(len(places), bool)
        good[list(self._reasons)] = False
        rejects = [self._rejected(place, reason, value) for place, reason, value in malformed]
        rejects += [
            self._rejected(int(places[row]), *why) for row, why in sorted(self._reasons.items())
        ]
        if not good.all():
            self.kept = {name: values.filter(pa.array(good)) for name, values in self.kept.items()}
        return Batch(
            self.kept,
            places[good],
            len(good) + len(malformed),
            rejects,
            {n: int((m & good).sum()) for n, m in misses.items()},
        )

    def _rejected(self, place: int, reason: str, value: str) -> Reject:
        line, byte = (None, place) if self.piece.by_bytes else (place, None)
        return Reject(self.piece.source.name, line, byte, reason, value)

    def _values(self, column: str) -> pa.Array:
        return self.raw.table[column].combine_chunks()


def _check(rows: _Rows, wanted: Wanted) -> None:
    """Rejects rows whose values, each of its type, are outside their bounds or do not fit together."""
    for column, (low, high) in wanted.bounds.items():
        values = rows.kept[key(column, "integer")]
        outside = pc.fill_null(pc.or_(pc.less(values, low), pc.greater(values, high)), False)
        rows.reject(outside, f"{column} is not within {low}..{high}", values)
    for column in wanted.nonnegative:
        values = rows.kept[key(column, "number")]
        rows.reject(pc.fill_null(pc.less(values, 0), False), f"{column} is below 0", values)
    for weights, column in wanted.paired.items():
        _check_pair(rows, weights, column, wanted.separators.get(column))


def _check_pair(rows: _Rows, weights: str, column: str, separator: str | None) -> None:
    """Rejects rows whose weights are there but are not as many as the values, or are no numbers."""
    if separator is None:
        values, numbers = rows.kept[key(column, "texts")], rows.kept[key(weights, "numbers")]
    else:
        values, numbers = (
            pc.split_pattern(rows.kept[key(c, "text")], separator) for c in (column, weights)
        )
        rows.reject(
            _not_numbers(numbers),
            f"{weights} is not {NOUNS['numbers']}",
            rows.kept[key(weights, "text")],
        )
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    unequal = pc.fill_null(pc.not_equal(pc.list_value_length(numbers), lengths), False)
    rows.reject(unequal, f"{weights} has not as many values as {column}", numbers)


def _not_numbers(lists: pa.Array) -> np.ndarray:
    """[n] bool mask: some text of the list is neither empty nor a number."""
    _, bad = cast.to_raw_type("", lists.flatten(), "number", missing=[], strip=False)
    return cast.any_in_list(lists, bad)


def _shown(value: pa.Scalar) -> str:
    """A value as a reject shows it: bytes that are not UTF-8 as bytes, a time that Python cannot
    hold as a number.
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

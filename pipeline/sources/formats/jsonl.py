"""JSON lines: one object a line; what is no object, or holds values of another type than its
column, is malformed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.json as pc_json

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.sources.formats.lines import Raw, Text, not_blank, parse_lines

PEEK_LINES = 1000  # of a file, to learn its columns' types
BLANK = b" \t\r"
NOUNS = {
    pa.int64(): "an integer",
    pa.float64(): "a number",
    pa.string(): "a text",
    pa.bool_(): "true or false",
}
TYPES = ARROW_TYPES | {"time": pa.float64()}  # a time may be any number, whole or not


class JsonFile:
    """A file of JSON lines. The types of its columns are those of its first lines."""

    def __init__(self, file: pa.NativeFile, _: Stream) -> None:
        self._text = Text(file)

    @cached_property
    def names(self) -> list[str] | None:
        """Every key of the first lines; None where they hold no object."""
        return sorted({name for row in self._first_rows for name in row}) or None

    def read(
        self, wanted: dict[str, str], start: int | None = None, end: int | None = None
    ) -> Iterator[Raw]:
        """Blocks of rows that begin in [start, end)."""
        schema = pa.schema(
            [(column, self._kind(column, raw_type)) for column, raw_type in wanted.items()]
        )
        for places, lines in not_blank(self._text.blocks(start, end), BLANK):
            yield parse_lines(places, lines, partial(_rows, schema=schema))

    @cached_property
    def _first_rows(self) -> list[dict]:
        rows = []
        for _, lines in not_blank([self._text.head()], BLANK):
            for line in lines[:PEEK_LINES]:
                try:
                    rows.append(json.loads(line))
                except (ValueError, RecursionError):
                    continue
        return [row for row in rows if isinstance(row, dict)]

    def _kind(self, column: str, raw_type: str) -> pa.DataType:
        """The Arrow type of a column: its raw type's if some value is of that, else the first
        value's.

        Arrow's own inference is not used: it turns texts that look like dates into times, which
        would change their hash.
        """
        own = TYPES[raw_type]
        kinds = [
            _arrow_type(row[column], raw_type)
            for row in self._first_rows
            if row.get(column) not in (None, [])
        ]
        kind = own if own in kinds or not kinds else kinds[0]
        if pa.types.is_struct(kind):
            raise FunnelError(
                f"column '{column}' holds JSON objects: name a column of texts, numbers or lists"
            )
        return kind


def _arrow_type(value: object, raw_type: str) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(
            _arrow_type(
                next((v for v in value if v is not None), ""),
                "number" if raw_type == "numbers" else "text",
            )
        )
    if isinstance(value, dict):
        return pa.struct([])
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float):
        return (
            pa.float64()
            if raw_type in ("number", "time") or isinstance(value, float)
            else pa.int64()
        )
    return pa.string()


def _rows(lines: list[bytes], *, schema: pa.Schema) -> pa.Table:
    """Raises ValueError unless each line is one object of the columns' types."""
    try:
        return _objects(lines, schema) if lines else schema.empty_table()
    except (ValueError, pa.ArrowException):
        if len(lines) > 1:
            raise
        return _row(lines[0], schema)


def _objects(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    # So no object spans two lines, and as many rows as lines means one in each.
    if not all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        raise ValueError("a line that is not an object")
    text = b"\n".join(lines)
    table = pc_json.read_json(
        pa.BufferReader(text),
        read_options=pc_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pc_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    )
    if len(table) != len(lines):
        raise ValueError("two objects in one line")
    return table


def _row(line: bytes, schema: pa.Schema) -> pa.Table:
    """One line by itself, whose types may differ from the first lines': whole numbers serve as
    text, texts as numbers.
    """
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    arrays = []
    for column in schema:
        try:
            arrays.append(pa.array([_fit(row.get(column.name), column.type)], column.type))
        except (ValueError, OverflowError, pa.ArrowException):
            raise ValueError(
                f"{column.name} is not {NOUNS.get(column.type, 'a list of one type')}"
            ) from None
    return pa.table(arrays, schema)


def _fit(value: object, kind: pa.DataType) -> object:
    """A JSON value as one of a column's type. Raises ValueError if it is of another."""
    if value is None or type(value) is {pa.int64(): int, pa.bool_(): bool, pa.string(): str}.get(
        kind
    ):
        return value
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_fit(one, kind.value_type) for one in value]
    if pa.types.is_string(kind) and type(value) is int:
        return str(value)
    if kind in (pa.int64(), pa.float64()) and isinstance(value, str):
        return pa.scalar(value or None, pa.string()).cast(kind).as_py()
    if pa.types.is_float64(kind) and isinstance(value, int | float):
        return float(value)
    raise ValueError

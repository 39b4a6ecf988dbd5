"""Lines of JSON → columns of known types. Arrow parses them all at once; where that fails, Python
reads the lines around the bad ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pc_json

from features.arrays import ARROW_TYPES
from pipeline.arrow import NOUNS
from pipeline.sources.formats.base import Malformed, ParsedRows
from pipeline.sources.formats.json_types import AS_TEXTS, UNSIGNED, replaced
from pipeline.sources.formats.lines import BYTE_ORDER_MARK, parse_chunks, shown

AT_ONCE = 128  # lines, of which Python reads each where one cannot be parsed
# Of columns of texts, by the type that their first lines have.
TYPE_NOUNS = {ARROW_TYPES[raw_type]: NOUNS[raw_type] for raw_type in ("text", "integer", "number")}
TYPE_NOUNS |= {pa.bool_(): "true or false", pa.uint64(): NOUNS["integer"]}
LONG = re.compile(rb"\d{19}")  # perhaps beyond int64
INT64 = range(-(2**63), 2**63)
RANGES = {pa.int64(): INT64, pa.uint64(): range(2**64)}
NUMBERS = re.compile(r"[-+.\d]|nan|inf", re.ASCII | re.IGNORECASE)  # the first characters of one
BINARIES = pa.list_(pa.binary())
HELD = {pa.int64(): int, pa.float64(): float, pa.string(): str}
EXACT = HELD | {pa.uint64(): int, pa.bool_(): bool}
# Name, type, whether a text may hold a number, and the Python type of most values.
_Column = tuple[str, pa.DataType, bool, type | None]


def parse_json(
    positions: np.ndarray, lines: list[bytes], schema: pa.Schema, columns: Mapping[str, str]
) -> ParsedRows:
    """Parses lines of one object each.

    Args:
        positions: [n] where the lines are.
        lines: n lines.
        schema: the types of the columns.
        columns: their raw types. Where whole numbers and texts are mixed in a column of texts, all
            become texts.
    """
    try:
        return ParsedRows(_objects(lines, schema), positions)
    except (ValueError, pa.ArrowException):
        if any(map(LONG.search, lines)):
            schema = replaced(schema, _texts(columns), UNSIGNED)
        return _parse_some(positions, lines, schema, columns)


def _texts(columns: Mapping[str, str]) -> set[str]:
    return {column for column, raw_type in columns.items() if raw_type in ("text", "texts")}


def _parse_some(
    positions: np.ndarray, lines: list[bytes], schema: pa.Schema, columns: Mapping[str, str]
) -> ParsedRows:
    """The rows of lines of which some cannot be parsed."""
    single = _Singles(schema, columns)
    tables, rows = [schema.empty_table()], [np.arange(0)]
    for start, end, table in parse_chunks(lines, partial(_objects, schema=schema), AT_ONCE):
        if table is None:
            for row in range(start, end):
                single.read(row, lines[row])
        else:
            tables.append(table)
            rows.append(np.arange(start, end))
    last = single.table()
    tables = [*(table.cast(last.schema) for table in tables), last]
    found = np.concatenate([*rows, np.array(single.rows, int)])
    order = np.argsort(found)
    malformed: list[Malformed] = [
        (int(positions[row]), reason, shown(lines[row])) for row, reason in single.malformed
    ]
    return ParsedRows(
        pa.concat_tables(tables).take(pa.array(order)), positions[found[order]], malformed
    )


def _objects(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    """Raises ValueError or ArrowException unless each line is one object of the columns' types."""
    if not lines:
        return schema.empty_table()
    # Then no object spans two lines, and as many rows as lines means one row in each.
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


class _Singles:
    """Lines read one by one. Their types may differ from those of the first lines: whole numbers
    are read as text, and texts as numbers, but not in the columns of texts.

    Args:
        schema: the types of the columns.
        columns: their raw types.

    Attributes:
        rows: the lines that are rows.
        malformed: (line, reason) of the others.
    """

    def __init__(self, schema: pa.Schema, columns: Mapping[str, str]) -> None:
        texts = _texts(columns)
        self._raw_types = columns
        self.rows: list[int] = []
        self.malformed: list[tuple[int, str]] = []
        self._values: list[list[object]] = []  # of the rows, as the lines hold them
        self._fitted: list[list[object]] = []
        self._mixed = False  # whether a row fits only where the values of texts become texts
        self._schema, self._as_texts = schema, replaced(schema, texts, AS_TEXTS)
        self._own, self._other = (
            [(f.name, f.type, f.name not in texts, HELD.get(f.type)) for f in schema]
            for schema in (self._schema, self._as_texts)
        )

    def read(self, row: int, line: bytes) -> None:
        """Reads one line."""
        line, utf8 = line.removeprefix(BYTE_ORDER_MARK), True
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text, utf8 = line.decode("utf-8", "surrogateescape"), False
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.malformed.append((row, "not a JSON object"))
            return
        values = [found.get(name) for name, *_ in self._own]
        fitted = _fit_all(values, self._own, utf8=utf8)
        if len(fitted) < len(values):
            name, kind, numbers, _ = self._own[len(fitted)]
            if numbers or len(_fit_all(values, self._other, utf8=utf8)) < len(values):
                held = TYPE_NOUNS.get(kind, "a list of one type")
                noun = NOUNS[self._raw_types[name]] if numbers else held
                self.malformed.append((row, f"{name} is not {noun}"))
                return
            self._mixed = True
        self.rows.append(row)
        self._values.append(values)
        self._fitted.append(fitted)

    def table(self) -> pa.Table:
        """The rows."""
        schema, fitted = self._schema, self._fitted
        if self._mixed:
            schema = self._as_texts
            fitted = [_fit_all(values, self._other, utf8=False) for values in self._values]
        columns = [_array([row[at] for row in fitted], f.type) for at, f in enumerate(schema)]
        return pa.table(columns, schema)


def _fit_all(values: list[object], columns: list[_Column], *, utf8: bool) -> list[object]:
    """The values that fit, up to the first one that does not."""
    fitted: list[object] = []
    try:
        for value, (_, kind, numbers, held) in zip(values, columns, strict=True):
            own = type(value)
            if own is int and held is float:
                fitted.append(float(value))  # type: ignore[arg-type]
            elif value is None or (
                own is held  # most values, for which a call would take most of the time
                and (
                    own is float
                    or (own is str and value.isascii())  # type: ignore[attr-defined]
                    or (own is int and value in INT64)
                )
            ):
                fitted.append(value)
            else:
                fitted.append(fit(value, kind, numbers=numbers, utf8=utf8))
    except (ValueError, OverflowError, pa.ArrowException):
        pass
    return fitted


def fit(value: object, kind: pa.DataType, *, numbers: bool, utf8: bool = True) -> object:
    """A JSON value in a column's type, so that Arrow takes it.

    Args:
        value: the value.
        kind: the type.
        numbers: whether a text may hold a number.
        utf8: whether the line is UTF-8. Bytes that are not are let pass, as Arrow does.

    Raises:
        ValueError: it does not fit; also OverflowError, or an exception of Arrow's.
    """
    if value is None:
        return None
    if type(value) is EXACT.get(kind):
        if isinstance(value, str):
            if not value.isascii():  # half a surrogate pair is no text
                value.encode("utf-8", "strict" if utf8 else "surrogateescape")
        elif kind in RANGES and value not in RANGES[kind]:
            raise ValueError
        return value
    if pa.types.is_list(kind) and isinstance(value, list):
        return [fit(one, kind.value_type, numbers=numbers, utf8=utf8) for one in value]
    if pa.types.is_string(kind) and isinstance(value, int):
        return json.dumps(value)  # true and false, as Arrow casts them
    if numbers and kind in (pa.int64(), pa.float64()) and isinstance(value, str):
        if value and not NUMBERS.match(value):  # cheaper than an exception of Arrow's
            raise ValueError
        return pa.scalar(value or None, pa.string()).cast(kind).as_py()
    if pa.types.is_float64(kind) and isinstance(value, int | float):
        return float(value)
    raise ValueError


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The values, of which texts may hold bytes that are not UTF-8."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        if pa.types.is_list(kind):
            lists = pa.array([v and [_bytes(one) for one in v] for v in values], BINARIES)
            texts = lists.values.view(pa.string())
            return pa.ListArray.from_arrays(lists.offsets, texts, mask=lists.is_null())
        return pa.array(map(_bytes, values), pa.binary()).view(pa.string())


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")

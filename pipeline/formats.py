"""Parquet, CSV and JSON lines → Arrow tables of the wanted columns, with line numbers and the lines that do not parse."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.json as pc_json
import pyarrow.parquet as pq

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from pipeline.config import Stream

BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
PEEK_LINES = 1000  # of a JSON file, to learn its columns' types
NOUNS = {pa.int64(): "an integer", pa.float64(): "a number", pa.string(): "a text", pa.bool_(): "true or false"}


@dataclass
class Raw:
    """Parsed rows and their lines; `malformed` lists (line, reason, text) of the lines that did not parse."""

    table: pa.Table
    lines: np.ndarray
    malformed: list[tuple[int, str, str]] = field(default_factory=list)


Reader = Callable[[pa.NativeFile, Stream, dict[str, str]], Iterator[Raw]]


def read_parquet(file: pa.NativeFile, stream: Stream, wanted: dict[str, str]) -> Iterator[Raw]:
    """Row groups in turn. A column that is absent is left out: the caller names it."""
    parquet = pq.ParquetFile(file)
    present = [c for c in wanted if c in parquet.schema_arrow.names]
    if len(present) < len(wanted):
        yield _no_rows(parquet.schema_arrow.names)
    start = 1
    for batch in parquet.iter_batches(BATCH_ROWS, columns=present):
        yield Raw(pa.Table.from_batches([batch]), np.arange(start, start + batch.num_rows))
        start += batch.num_rows


def read_csv(file: pa.NativeFile, stream: Stream, wanted: dict[str, str]) -> Iterator[Raw]:
    """Blocks of lines, every column as bytes. Lines with too few or too many values are malformed; a row is one line."""
    names = stream.columns
    for numbers, lines in _blocks_of_lines(file, b"\r"):
        if names is None:
            names, numbers, lines = _header(lines[0], stream), numbers[1:], lines[1:]
        if any(names.count(column) != 1 for column in wanted):
            yield _no_rows(names)
        wrong = _wrong_counts(lines, len(names), stream.separator)
        kept = [line for row, line in enumerate(lines) if row not in wrong] if wrong else lines
        raw = _parse(np.delete(numbers, list(wrong)), kept, partial(_csv_rows, names=names, wanted=wanted, separator=stream.separator))
        raw.malformed += [(int(numbers[row]), why, lines[row].decode("utf-8", "replace")) for row, why in wrong.items()]
        yield raw


def _no_rows(names: list[str]) -> Raw:
    """Of a file that lacks a column, which the caller names."""
    return Raw(pa.table([pa.nulls(0)] * len(names), names), np.arange(0))


def _header(line: bytes, stream: Stream) -> list[str]:
    names = next(csv.reader([line.decode("utf-8-sig", "replace")], delimiter=stream.separator))
    return [name.strip() for name in names] if stream.strip else names


def _wrong_counts(lines: list[bytes], values: int, separator: str) -> dict[int, str]:
    """Row → why, of the lines with too few or too many values. Those with quotes are left to Arrow."""
    mark = separator.encode()
    counts = np.fromiter((line.count(mark) for line in lines), int, len(lines)) + 1
    wrong = [int(row) for row in np.flatnonzero(counts != values) if b'"' not in lines[row]]
    return {row: f"{counts[row]} values, expected {values}" for row in wrong}


def _csv_rows(lines: list[bytes], *, names: list[str], wanted: dict[str, str], separator: str) -> pa.Table:
    """Raises ValueError unless each line is one row."""
    if not lines:
        return pa.table({column: pa.array([], pa.binary()) for column in wanted})
    text = b"\n".join(lines)
    if b"\r" in text and len(lines) > 1:  # Arrow ends a row there too: two rows in one line could make up for one in two
        raise ValueError
    try:
        table = pc_csv.read_csv(
            pa.BufferReader(text),
            read_options=pc_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            parse_options=pc_csv.ParseOptions(delimiter=separator, ignore_empty_lines=False),
            convert_options=pc_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), include_columns=list(wanted), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        table = None
    if table is None or len(table) != len(lines):
        raise ValueError(f"not {len(names)} values, or a quote that does not end")
    return table


def read_jsonl(file: pa.NativeFile, stream: Stream, wanted: dict[str, str]) -> Iterator[Raw]:
    """Blocks of lines. A line that is no JSON object, or whose values are not of the column's type, is malformed."""
    schema = None
    for numbers, lines in _blocks_of_lines(file, b" \t\r"):
        if schema is None:
            schema, names = _peek(lines, wanted)
            if len(schema) < len(wanted):
                yield _no_rows(names)
        yield _parse(numbers, lines, partial(_json_rows, schema=schema))


def _blocks_of_lines(file: pa.NativeFile, blank: bytes) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """([n] line numbers, n lines stripped of `blank`), the lines that hold nothing else left out."""
    rest, first = b"", 1
    while True:
        block = file.read(BLOCK_BYTES)
        lines = (rest + block).split(b"\n")
        rest = lines.pop() if block else b""
        lines = [line.strip(blank) for line in lines]
        there = np.flatnonzero(np.array(list(map(len, lines)), int))
        if len(there):
            yield first + there, [line for line in lines if line]
        first += len(lines)
        if not block:
            return


def _parse(numbers: np.ndarray, lines: list[bytes], parse: Callable[[list[bytes]], pa.Table]) -> Raw:
    """Parses all lines at once; where that fails, each half, down to the single bad line."""
    pieces, rows, malformed = [parse([])], [np.arange(0)], []
    todo = [(0, len(lines))] if lines else []
    while todo:
        start, end = todo.pop()
        try:
            pieces.append(parse(lines[start:end]))
            rows.append(numbers[start:end])
        except (ValueError, pa.ArrowException) as error:
            if end - start > 1:
                middle = (start + end) // 2
                todo += [(middle, end), (start, middle)]
            else:
                malformed.append((int(numbers[start]), str(error), lines[start].decode("utf-8", "replace")))
    return Raw(pa.concat_tables(pieces), np.concatenate(rows), malformed)


def _json_rows(lines: list[bytes], *, schema: pa.Schema) -> pa.Table:
    """Raises ValueError unless each line is one object of the columns' types."""
    try:
        return _json_objects(lines, schema) if lines else schema.empty_table()
    except (ValueError, pa.ArrowException):
        if len(lines) > 1:
            raise
        return _json_row(lines[0], schema)


def _json_objects(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    # So no object spans two lines, and as many rows as lines means one in each.
    if not all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        raise ValueError("a line that is not an object")
    text = b"\n".join(lines)
    table = pc_json.read_json(
        pa.BufferReader(text),
        read_options=pc_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pc_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    if len(table) != len(lines):
        raise ValueError("two objects in one line")
    return table


def _json_row(line: bytes, schema: pa.Schema) -> pa.Table:
    """One line by itself, whose types may differ from the first lines': whole numbers serve as text, texts as numbers."""
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
            raise ValueError(f"{column.name} is not {NOUNS.get(column.type, 'a list of one type')}") from None
    return pa.table(arrays, schema)


def _fit(value: object, kind: pa.DataType) -> object:
    """A JSON value as one of a column's type. Raises ValueError if it is of another."""
    if value is None or type(value) is {pa.int64(): int, pa.bool_(): bool, pa.string(): str}.get(kind):
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


def _peek(lines: list[bytes], wanted: dict[str, str]) -> tuple[pa.Schema, list[str]]:
    """The Arrow type of each wanted column, its raw type's if some value is of that, else the first value's; and all columns.

    A wanted column never seen is left out. Arrow's own inference is not used: it turns texts that look like dates into times,
    which would change their hash.
    """
    kinds: dict[str, list[pa.DataType]] = {column: [] for column in wanted}
    seen: set[str] = set()
    for line in lines[:PEEK_LINES]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            seen |= row.keys()
            for column, raw_type in wanted.items():
                if row.get(column) not in (None, []):
                    kinds[column].append(_arrow_type(row[column], raw_type))
    fields = []
    for column, raw_type in wanted.items():
        own = ARROW_TYPES[raw_type]
        kind = own if own in kinds[column] or not kinds[column] else kinds[column][0]
        if pa.types.is_struct(kind):
            raise FunnelError(f"column '{column}' holds JSON objects: name a column of texts, numbers or lists")
        fields += [(column, kind)] if column in seen or not seen else []
    return pa.schema(fields), sorted(seen)


def _arrow_type(value: object, raw_type: str) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(_arrow_type(next((v for v in value if v is not None), ""), "text"))
    if isinstance(value, dict):
        return pa.struct([])
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float):
        return pa.float64() if raw_type == "number" or isinstance(value, float) else pa.int64()
    return pa.string()


READERS: dict[str, Reader] = {"parquet": read_parquet, "csv": read_csv, "jsonl": read_jsonl}

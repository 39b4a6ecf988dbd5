"""Parquet, CSV and JSON lines → Arrow tables of the wanted columns, with line numbers and the lines that do not parse."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.json as pc_json
import pyarrow.parquet as pq

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from pipeline.config import Stream

BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
PEEK_LINES = 1000  # of a JSON file, to learn its columns' types


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
        yield Raw(parquet.schema_arrow.empty_table(), np.arange(0))
    start = 1
    for batch in parquet.iter_batches(BATCH_ROWS, columns=present):
        yield Raw(pa.Table.from_batches([batch]), np.arange(start, start + batch.num_rows))
        start += batch.num_rows


def read_csv(file: pa.NativeFile, stream: Stream, wanted: dict[str, str]) -> Iterator[Raw]:
    """Blocks of lines, every column as bytes. Lines with too few or too many values are malformed; blank lines are no rows."""
    malformed: list[tuple[int, str, str]] = []
    skipped: set[int] = set()

    def skip(row: pc_csv.InvalidRow) -> str:
        skipped.add(row.number)
        malformed.append((row.number, f"{row.actual_columns} values, expected {row.expected_columns}", row.text))
        return "skip"

    head = file.read(BLOCK_BYTES)
    if not head.strip():  # no header and no rows: an hour without events
        return
    names = stream.columns or _header(head, stream.separator)
    reader = pc_csv.open_csv(
        pa.PythonFile(_Rejoined(head, file), mode="r"),
        read_options=pc_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=stream.columns),
        parse_options=pc_csv.ParseOptions(delimiter=stream.separator, invalid_row_handler=skip, ignore_empty_lines=False),
        convert_options=pc_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False),
    )
    present = [c for c in wanted if c in reader.schema.names]
    if len(present) < len(wanted):
        yield Raw(reader.schema.empty_table(), np.arange(0))
    line = 1 if stream.columns else 2
    for batch in reader:
        lines = _skip_lines(line, batch.num_rows, skipped)
        line = int(lines[-1]) + 1 if len(lines) else line
        there = ~_blank_rows(batch)
        found, malformed[:] = list(malformed), []
        yield Raw(pa.Table.from_batches([batch]).select(present).filter(pa.array(there)), lines[there], found)
    if malformed:
        yield Raw(reader.schema.empty_table(), np.arange(0), malformed)


class _Rejoined:
    """A stream whose first bytes were already read."""

    closed = False

    def __init__(self, head: bytes, rest: pa.NativeFile) -> None:
        self.head, self.rest = head, rest

    def read(self, size: int) -> bytes:
        if self.head:
            taken, self.head = self.head[:size], self.head[size:]
            return taken
        return self.rest.read(size)

    def close(self) -> None:
        self.closed = True


def _header(head: bytes, separator: str) -> list[str]:
    line = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    return next(csv.reader([line.rstrip("\r")], delimiter=separator))


def _skip_lines(first: int, rows: int, skipped: set[int]) -> np.ndarray:
    """The lines of the next `rows` rows, from line `first` on, without the skipped ones."""
    candidates = np.arange(first, first + rows + sum(s >= first for s in skipped))
    return candidates[~np.isin(candidates, list(skipped))][:rows]


def _blank_rows(batch: pa.RecordBatch) -> np.ndarray:
    """Rows of empty values: what a blank line parses as."""
    blank = np.ones(batch.num_rows, bool)
    for column in batch.columns:
        blank &= _byte_lengths(column) == 0
        if not blank.any():
            break
    return blank


def _byte_lengths(texts: pa.Array) -> np.ndarray:
    return pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)


def read_jsonl(file: pa.NativeFile, stream: Stream, wanted: dict[str, str]) -> Iterator[Raw]:
    """Blocks of lines. A line that is no JSON object, or whose values are not of the column's type, is malformed."""
    schema = None
    for numbers, lines in _blocks_of_lines(file):
        schema = schema or _peek(lines, wanted)
        pieces, malformed = [], []
        _parse_json(numbers, lines, schema, pieces, malformed)
        table = pa.concat_tables([t for _, t in pieces]) if pieces else schema.empty_table()
        yield Raw(table, np.concatenate([np.arange(0), *(n for n, _ in pieces)]), malformed)


def _blocks_of_lines(file: pa.NativeFile) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """([n] line numbers, n lines), blank lines left out."""
    rest, first = b"", 1
    while True:
        block = file.read(BLOCK_BYTES)
        lines = (rest + block).split(b"\n")
        rest = lines.pop() if block else b""
        numbers = np.arange(first, first + len(lines))
        first += len(lines)
        there = np.array([bool(line.strip()) for line in lines], bool)
        if there.any():
            yield numbers[there], [line for line in lines if line.strip()]
        if not block:
            return


def _parse_json(numbers: np.ndarray, lines: list[bytes], schema: pa.Schema, pieces: list, malformed: list) -> None:
    """Parses all lines at once; where that fails, each half, down to the single bad line."""
    text = b"\n".join(lines)
    try:
        table = pc_json.read_json(
            pa.BufferReader(text),
            read_options=pc_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pc_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        if table.num_rows == len(lines):  # two objects in one line would shift every line number
            pieces.append((numbers, table))
            return
    except pa.ArrowInvalid:
        pass
    if len(lines) > 1:
        half = len(lines) // 2
        _parse_json(numbers[:half], lines[:half], schema, pieces, malformed)
        _parse_json(numbers[half:], lines[half:], schema, pieces, malformed)
        return
    try:
        pieces.append((numbers, _one_row(lines[0], schema)))
    except (ValueError, pa.ArrowException) as error:
        malformed.append((int(numbers[0]), f"not a JSON object of the columns' types: {error}", lines[0].decode("utf-8", "replace")))


def _one_row(line: bytes, schema: pa.Schema) -> pa.Table:
    """A line whose types differ from the first lines': whole numbers still serve as text."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__}")
    values = {}
    for column in schema:
        value = row.get(column.name)
        if pa.types.is_string(column.type) and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        values[column.name] = [value]
    return pa.table(values, schema)


def _peek(lines: list[bytes], wanted: dict[str, str]) -> pa.Schema:
    """The Arrow type of each wanted column, from the first value that is not null. A column never seen is left out.

    Arrow's own inference is not used: it turns texts that look like dates into times, which would change their hash.
    """
    types: dict[str, pa.DataType] = {}
    seen: set[str] = set()
    for line in lines[:PEEK_LINES]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            seen |= row.keys()
            for column, raw_type in wanted.items():
                if column not in types and row.get(column) not in (None, []):
                    types[column] = _arrow_type(column, row[column], raw_type)
    return pa.schema([(c, types.get(c, ARROW_TYPES[raw_type])) for c, raw_type in wanted.items() if c in seen or not seen])


def _arrow_type(column: str, value: object, raw_type: str) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(_arrow_type(column, next((v for v in value if v is not None), ""), "text"))
    if isinstance(value, dict):
        raise FunnelError(f"column '{column}' holds JSON objects: name a column of texts, numbers or lists")
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float):
        return pa.float64() if raw_type == "number" or isinstance(value, float) else pa.int64()
    return pa.string()


READERS: dict[str, Reader] = {"parquet": read_parquet, "csv": read_csv, "jsonl": read_jsonl}

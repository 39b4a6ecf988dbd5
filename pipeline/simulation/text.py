"""Lines of the simulated CSV and JSONL files, and the malformed rows among them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NO_TIME = "2026-02-30T25:61:00Z"  # looks like a time, but is not one
ID_STARTS = {"csv": 0, "jsonl": len('{"impression_id":"')}  # where in its line an id begins
GZIP_LEVEL = 1


def broken_rows(batch: pa.RecordBatch, malformed: np.ndarray, turn: int) -> pa.RecordBatch:
    """Malformed rows of Parquet, which keeps its schema: without id or without time, in turn."""
    kinds = (turn + np.cumsum(malformed)) % 2
    batch = _without(batch, "impression_id", malformed & (kinds == 1))
    return _without(batch, "ts", malformed & (kinds == 0))


def _without(
    batch: pa.RecordBatch, name: str, mask: np.ndarray, instead: str | None = None
) -> pa.RecordBatch:
    column = batch[name]
    index = batch.column_names.index(name)
    return batch.set_column(
        index, name, pc.if_else(pa.array(mask), pa.scalar(instead, column.type), column)
    )


def text_lines(batch: pa.RecordBatch, malformed: np.ndarray, *, kind: str, turn: int) -> pa.Array:
    """[n] lines, each with its newline. Malformed ones have in turn a broken shape, invalid UTF-8,
    no time, or no id.
    """
    iso = pc.binary_replace_slice(
        batch["ts"].cast(pa.string()).cast(pa.binary()), 10, 11, b"T"
    ).cast(pa.string())
    batch = batch.set_column(batch.column_names.index("ts"), "ts", iso)
    to_lines = {"csv": _csv_lines, "jsonl": _json_lines}[kind]
    lines = to_lines(batch)
    if malformed.any():
        kinds = (turn + np.arange(malformed.sum())) % 4
        broken = _without(batch.filter(pa.array(malformed)), "ts", kinds == 2, NO_TIME)
        broken = _broken_lines(to_lines(_without(broken, "impression_id", kinds == 3)), kinds, kind)
        lines = pc.replace_with_mask(lines, pa.array(malformed), broken)
    return pc.binary_join_element_wise(lines, b"\n", b"")


def _broken_lines(lines: pa.Array, kinds: np.ndarray, kind: str) -> pa.Array:
    """Breaks lines: kind 0 is JSON cut short, or CSV with two columns too many; kind 1 has a byte
    in the id that is not UTF-8.
    """
    if kind == "jsonl":
        shape = pc.utf8_slice_codeunits(lines.cast(pa.string()), 0, -5).cast(pa.binary())
    else:
        shape = pc.binary_join_element_wise(lines, b",,", b"")
    middle = ID_STARTS[kind] + 8
    lines = pc.if_else(
        pa.array(kinds == 1), pc.binary_replace_slice(lines, middle, middle + 1, b"\xff"), lines
    )
    return pc.if_else(pa.array(kinds == 0), shape, lines)


def _csv_lines(batch: pa.RecordBatch) -> pa.Array:
    """CSV lines: nulls are empty, lists joined with '|'. No value of the simulator needs quotes."""
    columns = [
        pc.binary_join(column, "|") if pa.types.is_list(column.type) else column
        for column in batch.columns
    ]
    return pc.binary_join_element_wise(
        *(pc.fill_null(c.cast(pa.string()), "") for c in columns), ","
    ).cast(pa.binary())


def _json_lines(batch: pa.RecordBatch) -> pa.Array:
    """Compact JSON objects in the schema's order. No value of the simulator needs escapes."""
    values: list[pa.Array | str] = []
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        values += [f'{"," if values else "{"}"{name}":', _json_values(column)]
    return pc.binary_join_element_wise(*values, "}", "").cast(pa.binary())


def _json_values(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        full = pc.binary_join_element_wise('["', pc.binary_join(column, '","'), '"]', "")
        return pc.if_else(pc.equal(pc.list_value_length(column), 0), "[]", full)
    if pa.types.is_string(column.type):
        return pc.fill_null(pc.binary_join_element_wise('"', column, '"', ""), "null")
    return pc.fill_null(column.cast(pa.string()), "null")


def write_text(path: Path, header: bytes, lines: pa.Array, *, gz: bool) -> None:
    """Writes the buffer of an Arrow array, where the lines lie one after the other. Gzip gets no
    time stamp, so that the same rows give the same bytes.
    """
    with path.open("wb") as raw:
        file = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if gz else raw
        with file:
            file.write(header)
            if len(lines):
                first, last = np.frombuffer(lines.buffers()[1], np.int32)[
                    [lines.offset, lines.offset + len(lines)]
                ]
                file.write(lines.buffers()[2].slice(first, last - first))

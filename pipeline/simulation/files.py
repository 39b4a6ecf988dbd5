"""Writes the simulator's logs: files by stream and day, with duplicated, orphaned and malformed
rows at set rates.

Every defect is an extra row made from a copy of a true one and follows it in the file, so the true
log is always whole: rows in the files = true rows + duplicates + orphans + malformed.
"""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from features import hashing
from features.errors import FunnelError
from features.settings import Duration, Settings, microseconds

Rate = Annotated[float, Field(ge=0, le=1)]
Format = Literal["parquet", "jsonl", "csv"]
STREAMS = ("impressions", "clicks", "conversions")
DAY = 86_400_000_000  # microseconds
TIME = pa.timestamp("us", "UTC")
EVENT = [("impression_id", pa.string()), ("ts", TIME)]
EVENTS = {"clicks": pa.schema(EVENT), "conversions": pa.schema([*EVENT, ("value", pa.float64())])}
PART_ROWS = 100_000
NO_TIME = "2026-02-30T25:61:00Z"  # looks like a time, is none
ID_STARTS = {"csv": 0, "jsonl": len('{"impression_id":"')}  # where in its line an id begins
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
GZIP_LEVEL = 1


class Formats(Settings):
    """The file format of each stream."""

    impressions: Format = "parquet"
    clicks: Format = "jsonl"
    conversions: Format = "csv"


class Compression(Settings):
    """Whether the JSONL and CSV files of a stream are gzipped; Parquet compresses itself."""

    impressions: bool = False
    clicks: bool = True
    conversions: bool = False


class LogConfig(Settings):
    """The files' half of a simulation. Rates are per true row."""

    out: str = Field("", description="the directory of the logs")
    impressions: PositiveInt = Field(200_000, description="in total, spread evenly over the days")
    days: PositiveInt = Field(7, description="with impressions")
    start: date = Field(date(2026, 11, 1), description="the first day, UTC")
    trailing: Duration = Field(
        timedelta(days=3), description="how long events are still logged after the last day"
    )
    duplicates: Rate = Field(0.01, description="rate of exact copies, of impressions and events")
    orphans: Rate = Field(0.01, description="rate of events whose impression does not exist")
    malformed: Rate = Field(0.001, description="rate of rows that cannot be read")
    format: Formats = Field(
        Formats(), description="one format for all streams, or a table {stream = format}"
    )
    compress: Compression = Field(
        Compression(), description="gzip text: one flag for all streams, or a table {stream = flag}"
    )
    seed: NonNegativeInt = Field(1, description="the same seed writes the same bytes")

    @field_validator("format", "compress", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Settings) else dict.fromkeys(STREAMS, value)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuses a directory that exists: only a simulation is overwritten, and only when told to."""
    if out.exists() and not overwrite:
        raise FunnelError(f"simulate: {out} exists: choose another directory, or overwrite it")
    if out.exists() and not (out / "simulation.json").is_file():
        raise FunnelError(
            f"simulate: {out} holds no simulation.json: only a simulation is overwritten; choose another directory"
        )


def impression_ids(rows: np.ndarray, seed: int) -> pa.Array:
    """Row numbers → 16 hexadecimal digits of splitmix64(row + (seed mod 2²⁴)·2⁴⁰): one to one, so
    no two rows share an id.
    """
    x = hashing.mix(
        rows.astype(np.uint64) + (np.uint64(seed % 2**24) << np.uint64(40)), hashing.PARTITION
    )
    digits = HEX[x.astype(">u8").view(np.uint8)]  # [8 · rows, 2]
    offsets = np.arange(0, 16 * len(rows) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(digits))


class LogFiles:
    """The three streams under `root`, the events whose day is still to come, and the exact counts
    of what was written.
    """

    def __init__(self, root: Path, config: LogConfig) -> None:
        self.root, self.config = root, config
        self.counts = {
            stream: dict.fromkeys(("rows", "true", "duplicates", "malformed"), 0)
            for stream in STREAMS
        }
        for stream in EVENTS:
            self.counts[stream] |= {"orphans": 0, "late": 0, "after_the_end": 0}
        self.pending = {stream: schema.empty_table() for stream, schema in EVENTS.items()}
        self.next_orphan = config.impressions  # the first row number that no impression has
        self.start = (config.start - date(1970, 1, 1)).days * DAY
        self.end = self.start + config.days * DAY + microseconds(config.trailing)
        self.days = -((self.start - self.end) // DAY)  # with the trailing ones

    def add_events(self, stream: str, late: np.ndarray, *, ts: np.ndarray, **columns: Any) -> None:
        """Keeps those that fall within the logs until their day is written."""
        events = pa.table(columns | {"ts": pa.array(ts, TIME)}).select(EVENTS[stream].names)
        logged = ts < self.end
        self.counts[stream]["late"] += int((late & logged).sum())
        self.counts[stream]["after_the_end"] += int((~logged).sum())
        self.pending[stream] = pa.concat_tables(
            [self.pending[stream], events.filter(pa.array(logged))]
        )

    def write_events(self, day: int) -> None:
        """The files of one day; a day without events gets an empty one."""
        midnight = pa.scalar(self.start + (day + 1) * DAY, TIME)
        for stream, pending in self.pending.items():
            due = pc.less(pending["ts"], midnight)
            self.pending[stream] = pending.filter(pc.invert(due))
            events = pending.filter(due).sort_by(
                [("ts", "ascending"), ("impression_id", "ascending")]
            )
            for part, first in enumerate(range(0, max(len(events), 1), PART_ROWS)):
                self.write(stream, day, part, events.slice(first, PART_ROWS))

    def write(self, stream: str, day: int, part: int, rows: pa.Table) -> None:
        """One part of one day: `rows` are the true ones, ordered by time, `impression_id` and `ts`
        first.
        """
        rng = np.random.default_rng([self.config.seed, 2, STREAMS.index(stream), day, part])
        turn = self.counts[stream]["malformed"]
        batch = pa.RecordBatch.from_arrays(
            [column.combine_chunks() for column in rows.columns], schema=rows.schema
        )
        batch, malformed = self._with_defects(rng, stream, batch)
        kind = getattr(self.config.format, stream)
        gz = kind != "parquet" and getattr(self.config.compress, stream)
        folder = self.root / stream / str(self.config.start + timedelta(days=day))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"part-{part:05d}.{kind}{'.gz' if gz else ''}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_batches([_broken_rows(batch, malformed, turn)]), path)
        else:
            header = ",".join(batch.column_names) + "\n" if kind == "csv" else ""
            _write_text(path, header.encode(), _text(batch, malformed, kind=kind, turn=turn), gz=gz)

    def _with_defects(
        self, rng: np.random.Generator, stream: str, batch: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows with the extra ones in place, and a mask of those to be malformed."""
        n, counts = len(batch), self.counts[stream]
        defects = [name for name in ("duplicates", "orphans", "malformed") if name in counts]
        extra = [np.flatnonzero(rng.random(n) < getattr(self.config, name)) for name in defects]
        source = np.concatenate([np.arange(n), *extra])
        defect = np.repeat(["true", *defects], [n, *map(len, extra)])
        order = np.argsort(source, kind="stable")
        batch, defect = batch.take(pa.array(source[order])), defect[order]
        for name in ("true", *defects):
            counts[name] += int((defect == name).sum())
        counts["rows"] += len(batch)
        return self._orphaned(batch, defect == "orphans"), defect == "malformed"

    def _orphaned(self, batch: pa.RecordBatch, orphan: np.ndarray) -> pa.RecordBatch:
        unused = self.next_orphan + np.arange(orphan.sum())
        self.next_orphan += len(unused)
        ids = pc.replace_with_mask(
            batch["impression_id"], pa.array(orphan), impression_ids(unused, self.config.seed)
        )
        return batch.set_column(0, "impression_id", ids)


def _broken_rows(batch: pa.RecordBatch, malformed: np.ndarray, turn: int) -> pa.RecordBatch:
    """Parquet keeps its schema whatever happens, so a malformed row has no id or no time, in turn."""
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


def _text(batch: pa.RecordBatch, malformed: np.ndarray, *, kind: str, turn: int) -> pa.Array:
    """Lines [rows] of binary, each with its newline. Malformed ones in turn: broken shape, invalid
    UTF-8, no time, no id.
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
    """Kind 0: JSON cut short, or two columns too many in CSV; kind 1: a byte of the id that is not
    UTF-8.
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
    """Nulls are empty and lists joined with '|'. No value of the simulator needs quotes."""
    columns = [
        pc.binary_join(column, "|") if pa.types.is_list(column.type) else column
        for column in batch.columns
    ]
    return pc.binary_join_element_wise(
        *(pc.fill_null(c.cast(pa.string()), "") for c in columns), ","
    ).cast(pa.binary())


def _json_lines(batch: pa.RecordBatch) -> pa.Array:
    """Compact JSON objects in the schema's order. No value of the simulator needs escapes."""
    pieces = []
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        pieces += [f'{"," if pieces else "{"}"{name}":', _json_values(column)]
    return pc.binary_join_element_wise(*pieces, "}", "").cast(pa.binary())


def _json_values(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        full = pc.binary_join_element_wise('["', pc.binary_join(column, '","'), '"]', "")
        return pc.if_else(pc.equal(pc.list_value_length(column), 0), "[]", full)
    if pa.types.is_string(column.type):
        return pc.fill_null(pc.binary_join_element_wise('"', column, '"', ""), "null")
    return pc.fill_null(column.cast(pa.string()), "null")


def _write_text(path: Path, header: bytes, lines: pa.Array, *, gz: bool) -> None:
    """Lines lie one after the other in Arrow's own buffer: it is the file. No time stamp in gzip:
    same rows, same bytes.
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

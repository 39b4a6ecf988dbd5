"""Writes the simulated logs: files by stream and day, with duplicated, orphaned and malformed rows
at set rates.

Every defect is an extra row made from a copy of a true row, and follows it in the file. So the true
log is always whole: rows in the files = true rows + duplicates + orphans + malformed.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import hashing
from features.errors import FunnelError
from features.settings import microseconds
from pipeline.simulation.config import STREAMS, LogConfig
from pipeline.simulation.text import broken_rows, text_lines, write_text

DAY = 86_400_000_000  # microseconds
TIME = pa.timestamp("us", "UTC")
EVENT = [("impression_id", pa.string()), ("ts", TIME)]
EVENTS = {"clicks": pa.schema(EVENT), "conversions": pa.schema([*EVENT, ("value", pa.float64())])}
PART_ROWS = 100_000
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Raises FunnelError where `out` exists, unless `overwrite` and it is a simulation."""
    if out.exists() and not overwrite:
        raise FunnelError(f"simulate: {out} exists: choose another directory, or overwrite it")
    if out.exists() and not (out / "simulation.json").is_file():
        raise FunnelError(
            f"simulate: {out} holds no simulation.json: only a simulation is overwritten; "
            "choose another directory"
        )


def impression_ids(rows: np.ndarray, seed: int) -> pa.Array:
    """Row numbers → 16 hexadecimal digits of splitmix64(row + (seed mod 2²⁴)·2⁴⁰). The mapping is
    one to one, so rows do not share ids.
    """
    x = hashing.mix(
        rows.astype(np.uint64) + (np.uint64(seed % 2**24) << np.uint64(40)), hashing.PARTITION
    )
    digits = HEX[x.astype(">u8").view(np.uint8)]  # [8 · rows, 2]
    offsets = np.arange(0, 16 * len(rows) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(digits))


class LogFiles:
    """Writes the three streams under `root`, and counts what it writes.

    Events are kept until their day is written.
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
        self.next_orphan = config.impressions  # the first row number without an impression
        self.start = (config.start - date(1970, 1, 1)).days * DAY
        self.end = self.start + config.days * DAY + microseconds(config.trailing)
        self.days = -((self.start - self.end) // DAY)  # with the trailing ones

    def add_events(self, stream: str, late: np.ndarray, *, ts: np.ndarray, **columns: Any) -> None:
        """Keeps the events that fall within the logs."""
        events = pa.table(columns | {"ts": pa.array(ts, TIME)}).select(EVENTS[stream].names)
        logged = ts < self.end
        self.counts[stream]["late"] += int((late & logged).sum())
        self.counts[stream]["after_the_end"] += int((~logged).sum())
        self.pending[stream] = pa.concat_tables(
            [self.pending[stream], events.filter(pa.array(logged))]
        )

    def write_events(self, day: int) -> None:
        """Writes the files of one day; a day without events gets an empty file."""
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
        """Writes one part of one day.

        Args:
            stream: the stream.
            day: the day, from 0.
            part: the part of the day, from 0.
            rows: the true rows, ordered by time, with impression_id and ts as first columns.
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
            pq.write_table(pa.Table.from_batches([broken_rows(batch, malformed, turn)]), path)
        else:
            header = ",".join(batch.column_names) + "\n" if kind == "csv" else ""
            write_text(
                path, header.encode(), text_lines(batch, malformed, kind=kind, turn=turn), gz=gz
            )

    def _with_defects(
        self, rng: np.random.Generator, stream: str, batch: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows with the extra ones among them, and a mask of those to be malformed."""
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

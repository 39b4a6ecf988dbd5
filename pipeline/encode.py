"""A batch of a file → the narrow Arrow table that crosses the shuffle, cut into partitions by a hash of the id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import arrays, hashing
from features.declarations import ColumnLabel
from pipeline.config import PreprocessConfig
from pipeline.read import Batch, raw_columns
from pipeline.sources import Source

SAMPLE_ROWS = 512  # raw rows kept for checking an export against the checkpoint


@dataclass
class Tally:
    """What a batch contributes to the totals: counts by stream, the latest time, a sample of its raw rows."""

    stream: str
    rows_read: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    last_time: int | None = None
    sample: bytes | None = None


def encode_impressions(config: PreprocessConfig, source: Source, number: int, batch: Batch) -> pa.Table:
    """id, hash, time, where it came from (file number, line), the split by file, `ids` [S], `dense` [D], column labels."""
    spec, rows = config.spec, len(batch.lines)
    encoded = arrays.encode(spec, _raw(spec.columns, batch))
    columns = {
        "id": batch.columns["id"],
        "hash": hashing.fingerprint64(batch.columns["id"]),
        "time": batch.columns.get("time", pa.array(np.zeros(rows, np.int64))),
        "file": np.full(rows, number, np.int32),
        "line": batch.lines,
        "evaluate": np.full(rows, source.evaluate, np.int8),
        "ids": pa.FixedSizeListArray.from_arrays(encoded.ids.reshape(-1), spec.ids_width) if spec.ids_width else pa.nulls(rows),
        "dense": pa.FixedSizeListArray.from_arrays(encoded.dense.reshape(-1), spec.dense_width) if spec.dense_width else pa.nulls(rows),
    }
    for name, label in spec.labels.items():
        if isinstance(label, ColumnLabel):
            columns[f"label:{name}"] = column_label(label, batch.columns[f"raw:{label.column}"])
    return pa.table(columns)


def encode_events(batch: Batch) -> pa.Table:
    """id, hash and time."""
    return pa.table(
        {"id": batch.columns["id"], "hash": hashing.fingerprint64(batch.columns["id"]), "time": batch.columns["time"]},
    )


def column_label(label: ColumnLabel, texts: pa.Array) -> np.ndarray:
    """1 where the text equals the label's, 0 where it does not, −1 where it is missing: [n] int8."""
    return pc.fill_null(pc.equal(texts, label.equals).cast(pa.int8()), -1).to_numpy(zero_copy_only=False)


def cut(table: pa.Table, partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition: mixed hash of the id modulo their number."""
    part = hashing.mix(table["hash"].to_numpy(), hashing.PARTITION) % np.uint64(partitions)
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=partitions))
    sorted_table = table.take(pa.array(order))
    for p, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > start:
            yield p, sorted_table.slice(start, end - start)


def tally(config: PreprocessConfig, source: Source, batch: Batch) -> Tally:
    """Counts of a batch, and of impressions the raw rows with the smallest hashes."""
    result = Tally(source.stream, batch.rows_read)
    for reject in batch.rejects:
        result.rejected[reject.reason] = result.rejected.get(reject.reason, 0) + 1
    if len(batch.lines) and "time" in batch.columns:
        result.last_time = pc.max(batch.columns["time"]).as_py()
    if source.stream == config.rows and len(batch.lines):
        raw = pa.table({"id": batch.columns["id"], **_raw(config.spec.columns, batch)})
        result.sample = to_ipc(smallest(raw))
    return result


def smallest(raw: pa.Table) -> pa.Table:
    """The rows with the smallest mixed hashes of their ids: the same sample in every order of the input."""
    order = np.argsort(hashing.mix(hashing.fingerprint64(raw["id"].combine_chunks()), hashing.SAMPLE), kind="stable")
    return raw.take(pa.array(order[:SAMPLE_ROWS]))


def fold_tallies(tallies: list[Tally]) -> tuple[dict[str, Tally], pa.Table | None]:
    """The totals by stream, and the sample of all."""
    totals: dict[str, Tally] = {}
    for one in tallies:
        total = totals.setdefault(one.stream, Tally(one.stream))
        total.rows_read += one.rows_read
        for reason, count in one.rejected.items():
            total.rejected[reason] = total.rejected.get(reason, 0) + count
        total.last_time = max(filter(None, [total.last_time, one.last_time]), default=None)
    samples = [from_ipc(one.sample) for one in tallies if one.sample]
    return totals, smallest(pa.concat_tables(samples)) if samples else None


def tally_json(total: Tally) -> dict:
    """A total without its sample, reasons in order."""
    content = asdict(total)
    del content["sample"]
    content["rejected"] = dict(sorted(total.rejected.items()))
    return content


def to_ipc(table: pa.Table) -> bytes:
    """An Arrow IPC stream: what crosses Beam's shuffle."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def _raw(columns: dict[str, str], batch: Batch) -> dict[str, pa.Array]:
    return {column: batch.columns[f"raw:{column}"] for column in columns}


def no_impressions(config: PreprocessConfig) -> pa.Table:
    """The impressions of a partition that has none."""
    columns = {column: pa.array([], arrays.ARROW_TYPES[t]) for column, t in raw_columns(config, config.rows).items()}
    nothing = Batch({"id": pa.array([], pa.string())} | {f"raw:{c}": a for c, a in columns.items()}, np.arange(0), 0)
    return encode_impressions(config, Source(config.rows, "", "", 0, ""), 0, nothing)

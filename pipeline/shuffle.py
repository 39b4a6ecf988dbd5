"""What crosses Beam's shuffle: tables cut by a hash of the id, as Arrow IPC bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from features import hashing

# LZ4 costs less than the copies Beam makes of the uncompressed bytes.
IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def cut(table: pa.Table, partitions: int) -> Iterator[tuple[int, pa.Table]]:
    """Yields (partition, its rows); partitions without rows are left out.

    Args:
        table: rows with a column `hash`, the fingerprint of their id.
        partitions: a row's partition is the mixed hash of its id modulo this number.
    """
    numbers = hashing.mix(table["hash"].to_numpy(), hashing.PARTITION) % np.uint64(partitions)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers.astype(np.int64), minlength=partitions))
    ordered = table.take(pa.array(order))
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > start:
            yield number, ordered.slice(start, end - start)


def to_ipc(table: pa.Table) -> bytes:
    """The table as an Arrow IPC stream.

    Example:
        >>> from_ipc(to_ipc(pa.table({"id": ["a"]}))).to_pydict()
        {'id': ['a']}
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=IPC_OPTIONS) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_ipc(data: bytes) -> pa.Table:
    """The table that `to_ipc` wrote."""
    return pa.ipc.open_stream(data).read_all()

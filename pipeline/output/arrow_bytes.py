"""Arrow binary arrays, written a column at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def by_value(values: pa.Array, encode: Callable[[int], bytes]) -> pa.BinaryArray:
    """[n] `encode` of each value; each distinct value is encoded once."""
    found = values.dictionary_encode()
    return pa.array(map(encode, found.dictionary.to_pylist()), pa.binary()).take(found.indices)


def binary(data: np.ndarray, lengths: np.ndarray) -> pa.BinaryArray:
    """[n] consecutive slices of `data`, of `lengths` [n] bytes."""
    offsets = np.cumsum(np.concatenate([[0], lengths]), dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def join(*columns: pa.BinaryArray) -> pa.BinaryArray:
    """[n] the bytes of all columns, one after the other."""
    return pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.binary()))

"""Small Arrow helpers that several packages of the pipeline share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What a value of each raw type is called in errors and rejects.
NOUNS = {
    "text": "a text",
    "integer": "an integer",
    "number": "a number",
    "time": "a time",
    "texts": "a list of texts",
    "numbers": "a list of numbers",
}


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array.

    Example:
        >>> flat(pa.chunked_array([[1, 2], [3]])).to_pylist()
        [1, 2, 3]
    """
    column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def list_array(
    lengths: np.ndarray, values: pa.Array, missing: pa.Array | None = None
) -> pa.ListArray:
    """Lists of `lengths` [n] that hold the flat `values` in turn; null where `missing` [n] is true.

    Example:
        >>> list_array(np.array([2, 0, 1]), pa.array(["a", "b", "c"])).to_pylist()
        [['a', 'b'], [], ['c']]
    """
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=missing)


def list_lengths(lists: pa.Array) -> np.ndarray:
    """[n] lengths, 0 for null.

    Example:
        >>> list_lengths(pa.array([["a", "b"], None])).tolist()
        [2, 0]
    """
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    found: np.ndarray = lengths.to_numpy(zero_copy_only=False)
    return found


def first_repeated(keys: pa.Array) -> Any:
    """A value that occurs more than once, or None.

    Example:
        >>> first_repeated(pa.array(["a", "b", "a"]))
        'a'
    """
    counts = pc.value_counts(keys)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return repeated[0]["values"].as_py() if len(repeated) else None

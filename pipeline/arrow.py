"""Small Arrow helpers that several packages of the pipeline share."""

from __future__ import annotations

from typing import Any

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


def first_repeated(keys: pa.Array) -> Any:
    """A value that occurs more than once, or None.

    Example:
        >>> first_repeated(pa.array(["a", "b", "a"]))
        'a'
    """
    counts = pc.value_counts(keys)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    return repeated[0]["values"].as_py() if len(repeated) else None

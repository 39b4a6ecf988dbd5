"""Arrow lists as flat values and lengths."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def lengths(arrays: pa.Array) -> np.ndarray:
    """The length of each list, 0 for null: [n] lists → [n] int64."""
    found: np.ndarray = pc.fill_null(pc.list_value_length(arrays), 0).to_numpy().astype(np.int64)
    return found


def starts(counts: np.ndarray) -> np.ndarray:
    """Where each list starts in the flat values.

    Example:
        >>> starts(np.array([2, 3])).tolist()
        [0, 2]
    """
    found: np.ndarray = np.cumsum(counts) - counts
    return found


def positions(counts: np.ndarray) -> np.ndarray:
    """The position of each flat value in its list.

    Example:
        >>> positions(np.array([2, 3])).tolist()
        [0, 1, 0, 1, 2]
    """
    found: np.ndarray = np.arange(counts.sum()) - np.repeat(starts(counts), counts)
    return found


def from_lengths(
    counts: np.ndarray, values: pa.Array, missing: pa.Array | None = None
) -> pa.ListArray:
    """Lists of these lengths over the flat values; null where `missing` is true.

    Example:
        >>> from_lengths(np.array([1, 2]), pa.array(["a", "b", "c"])).to_pylist()
        [['a'], ['b', 'c']]
    """
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=missing)


def present(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The texts that are neither null nor empty, flat, and how many each row has; a single text is
    a list of one.

    Example:
        >>> values, counts = present(pa.array([["a", ""], None, ["b", "c"]]))
        >>> values.to_pylist(), counts.tolist()
        (['a', 'b', 'c'], [1, 0, 2])
    """
    is_list = pa.types.is_list(texts.type)
    counts = lengths(texts) if is_list else np.ones(len(texts), np.int64)
    flat = texts.flatten() if is_list else texts
    there = pc.fill_null(pc.not_equal(flat, ""), False)
    rows = np.repeat(np.arange(len(texts)), counts)[there.to_numpy(zero_copy_only=False)]
    return flat.filter(there), np.bincount(rows, minlength=len(texts))


def last(texts: pa.Array, count: int) -> pa.Array:
    """The last `count` texts of each list that are neither null nor empty.

    Example:
        >>> last(pa.array([["a", "b", "", "c"]]), 2).to_pylist()
        [['b', 'c']]
    """
    values, counts = present(texts)
    kept = np.minimum(counts, count)
    chosen = np.repeat(starts(counts) + counts - kept, kept) + positions(kept)
    return from_lengths(kept, values.take(pa.array(chosen)))


def cartesian_product(parts: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All combinations of lists, row by row, the last part varying fastest.

    Args:
        parts: For each part the length of its list in each row, [n].

    Returns:
        For each combination its row, and for each part the position of its value.

    Example:
        >>> rows, (first, second) = cartesian_product([np.array([2, 0]), np.array([2, 1])])
        >>> rows.tolist(), first.tolist(), second.tolist()
        ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1])
    """
    counts = np.prod(parts, axis=0)
    rows, rest = np.repeat(np.arange(len(counts)), counts), positions(counts)
    found = []
    for part in reversed(parts):
        found.append(rest % part[rows])
        rest = rest // part[rows]
    return rows, found[::-1]


def scatter(out: np.ndarray, counts: np.ndarray, values: np.ndarray) -> None:
    """Writes the flat values of lists of these lengths into out [n, slots]; those beyond its width
    are left out.
    """
    rows, position = np.repeat(np.arange(len(counts)), counts), positions(counts)
    kept = position < out.shape[1]
    out[rows[kept], position[kept]] = values[kept]

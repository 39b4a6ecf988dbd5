"""The rows of smallest hash: a sample that does not depend on the order of the input."""

from __future__ import annotations

import numpy as np


def smallest(hashes: np.ndarray, count: int) -> np.ndarray:
    """The rows of the `count` smallest of [n] uint64 hashes and of all that equal the last of them,
    in the order of the rows. Hashes are uniform on 0 … 2⁶⁴.

    Example:
        >>> smallest(np.array([5, 9, 1, 5], np.uint64), 2).tolist()
        [0, 2, 3]
    """
    rows = np.arange(len(hashes))
    if len(hashes) > 4 * count:  # a scan is cheaper than selecting among all
        bound = np.uint64(2**64 * 1.25 * count / len(hashes))
        below = np.flatnonzero(hashes < bound)
        rows = below if len(below) >= count else rows
    if len(rows) > count:
        found = hashes[rows]
        rows = rows[found <= np.partition(found, count - 1)[count - 1]]
    return rows

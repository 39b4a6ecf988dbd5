"""Casts of the values that can be cast. Arrow's casts fail for a whole array; the masks of the
values that can be of a type at all leave few on which they do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?(?i:nan|inf|infinity)$"
INTEGER = r"^[-+]?(0*\d{1,19}|0[xX][0-9a-fA-F]+)$"
LEAP = r"(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = (
    r"(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)"
    rf"|02-(0[1-9]|1\d|2[0-8]))|{LEAP}-02-29)"
)
HOUR, SIXTY = r"([01]\d|2[0-3])", r"[0-5]\d"
TIME = rf"^{DAY}[T ]{HOUR}(:{SIXTY}(:{SIXTY}(\.\d+)?)?)?(Z|[+-]{HOUR}(:?{SIXTY})?)$"


Cast = Callable[[pa.Array], pa.Array]


def cast_valid(
    array: pa.Array, cast: Cast, can_be: Callable[[pa.Array], np.ndarray] | None = None
) -> tuple[pa.Array, np.ndarray]:
    """Casts the values that can be cast.

    Args:
        array: [n] values.
        cast: raises pa.ArrowInvalid for an array with a bad value.
        can_be: an [n] bool mask of all values that are not bad, and perhaps a few bad ones, which
            take longer to find.

    Returns:
        An [n] array with null at each bad value, and an [n] bool mask of the bad values.

    Example:
        >>> array, bad = cast_valid(pa.array(["1", "x"]), lambda a: a.cast(pa.int64()))
        >>> array.to_pylist(), bad.tolist()
        ([1, None], [False, True])
    """
    bad = np.zeros(len(array), bool)
    if can_be is not None:
        try:
            return cast(array), bad
        except pa.ArrowInvalid:
            bad = ~can_be(array)
            array = pc.if_else(pa.array(bad), pa.scalar(None, array.type), array)
    missed = np.zeros(len(array), bool)
    valid = pa.concat_arrays(_cast_chunks(array, cast, missed))
    indices = np.cumsum(~missed) - 1
    return valid.take(pa.array(indices, mask=missed)), bad | missed


def _cast_chunks(array: pa.Array, cast: Cast, bad: np.ndarray) -> list[pa.Array]:
    """The cast values between bad ones. Sets `bad`, a view of the mask, at the bad ones."""
    try:
        return [cast(array)]
    except pa.ArrowInvalid:
        if len(array) == 1:
            bad[0] = True
            return [cast(pa.nulls(0, array.type))]
        half = len(array) // 2
        left = _cast_chunks(array[:half], cast, bad[:half])
        return left + _cast_chunks(array[half:], cast, bad[half:])


def matching(texts: pa.Array, pattern: str) -> np.ndarray:
    """[n] bool mask of the texts that match, and of nulls."""
    found = pc.fill_null(pc.match_substring_regex(texts, pattern), True)
    mask: np.ndarray = found.to_numpy(zero_copy_only=False)
    return mask


def utf8(values: pa.Array) -> np.ndarray:
    """[n] bool mask of the bytes that are UTF-8, and of nulls."""
    return np.fromiter(map(_is_utf8, values.cast(pa.binary()).to_pylist()), bool, len(values))


def _is_utf8(value: bytes | None) -> bool:
    if value is None or value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True

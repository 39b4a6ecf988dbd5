"""Arrow columns of any type → the few types that `cast` reads: dictionaries are decoded, texts and
bytes become binary.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
UUID_DIGITS = np.delete(np.arange(36), [8, 13, 18, 23])  # the others are dashes
TEXTS = (
    pa.binary(),
    pa.string(),
    pa.large_string(),
    pa.large_binary(),
    pa.string_view(),
    pa.binary_view(),
)


def plain(array: pa.Array) -> pa.Array:
    """Decodes dictionaries, and casts texts to binary, since neither JSON nor Parquet readers check
    UTF-8. A UUID becomes its usual text; bytes of a fixed width stay as they are where all are
    printable ASCII, else they become hexadecimal digits.

    Example:
        >>> plain(pa.array([b"ab", bytes([0, 255])], pa.binary(2))).to_pylist()
        [b'ab', b'00ff']
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type == pa.uuid():
        return _digits(array.storage, dashed=True)
    if pa.types.is_fixed_size_binary(array.type):
        return _digits(array, dashed=False)
    return array.cast(pa.binary()) if array.type in TEXTS else array


def is_whole(kind: pa.DataType) -> bool:
    """Whether a type holds whole numbers only."""
    if pa.types.is_decimal(kind):
        return bool(kind.scale == 0)
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _digits(array: pa.Array, *, dashed: bool) -> pa.Array:
    """[n] bytes of one width as [n] binary texts."""
    if array.null_count == len(array):
        return pa.nulls(len(array), pa.binary())
    width, binary = array.type.byte_width, array.cast(pa.binary())
    data = _bytes(pc.fill_null(binary, bytes(width))).reshape(-1, width)  # [n, width]
    places = UUID_DIGITS if dashed else np.arange(2 * width)
    texts = np.full((len(data), 36 if dashed else 2 * width), ord("-"), np.uint8)
    texts[:, places[0::2]], texts[:, places[1::2]] = DIGITS[data >> 4], DIGITS[data & 15]
    kind = pa.binary(texts.shape[1])
    buffers = [None, pa.py_buffer(texts)]
    found = pa.FixedSizeBinaryArray.from_buffers(kind, len(data), buffers).cast(pa.binary())
    if not dashed:
        printable = ((data >= 32) & (data < 127)).all(axis=1)
        found = pc.if_else(pa.array(printable), binary, found)
    return pc.if_else(array.is_valid(), found, pa.scalar(None, pa.binary()))


def _bytes(array: pa.Array) -> np.ndarray:
    """The bytes of all values of a binary array without nulls."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]

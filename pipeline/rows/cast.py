"""Columns of a file → columns of the spec's raw types, with a mask of the values that do not fit.

Arrow's casts fail a whole column for one bad value. `cast_valid` finds the bad ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import ARROW_TYPES
from features.errors import FunnelError
from features.kinds.lists import from_lengths
from features.kinds.lists import lengths as list_lengths
from pipeline.rows import casts
from pipeline.rows.casts import cast_valid
from pipeline.rows.plain import TEXTS, is_whole, plain

FLOAT32_MAX = float(np.finfo(np.float32).max)
# 1990 and 2100 in µs: a time outside them is a mistake.
EARLIEST, LATEST = 631_152_000_000_000, 4_102_444_800_000_000
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
ZONE = r"(Z|[+-]\d\d(:?\d\d)?)$"
NUMBER = r"^-?\d+(\.\d+)?$"
TO_MICROSECONDS = pc.CastOptions(pa.timestamp("us"), allow_time_truncate=True)


def to_raw_type(
    name: str,
    array: pa.Array,
    raw_type: str,
    *,
    missing: list[str],
    strip: bool,
    time_unit: str | None = None,
) -> tuple[pa.Array, np.ndarray]:
    """Casts a column to one of the spec's raw types.

    Args:
        name: the column, for errors.
        array: [n] values as the file holds them.
        raw_type: a raw type of the spec, or time.
        missing: texts that mean "no value", besides the empty one.
        strip: whether spaces around texts are removed.
        time_unit: the unit of numeric times, None to infer it.

    Returns:
        An [n] array, and an [n] bool mask of the values that are not of the raw type.

    Raises:
        FunnelError: the column's type cannot hold such values at all.
    """
    array = plain(array)
    if raw_type == "time":
        times, bad = to_microseconds(name, array, time_unit, missing)
        return pc.divide(times, 1_000_000), bad
    if raw_type == "texts":
        return _to_texts(name, array)
    if raw_type == "numbers":
        return _to_numbers(name, array, missing)
    return _to_scalars(name, array, raw_type, missing, strip)


def _to_scalars(
    name: str, array: pa.Array, raw_type: str, missing: list[str], strip: bool
) -> tuple[pa.Array, np.ndarray]:
    unreadable = np.zeros(len(array), bool)
    if pa.types.is_binary(array.type):
        array, unreadable = _to_text(array, missing, strip)
    kind = array.type
    textual, whole = pa.types.is_string(kind) or pa.types.is_null(kind), is_whole(kind)
    numeric = whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (textual or whole or (numeric and raw_type == "number")):
        remedy = (
            "; cast it to text or whole numbers in the log: 1000000 and 1e6 would hash apart"
            if numeric
            else ""
        )
        raise FunnelError(
            f"column '{name}' holds {kind}, which cannot be read as {raw_type}{remedy}"
        )
    exact = raw_type != "number"  # a float takes whole numbers beyond 2^53 rounded, as from text
    pattern = casts.INTEGER if raw_type == "integer" else casts.NUMBER
    result, bad = cast_valid(
        array,
        lambda a: a.cast(ARROW_TYPES[raw_type], safe=exact),
        partial(casts.matching, pattern=pattern) if pa.types.is_string(kind) else None,
    )
    if raw_type == "number":
        numbers = result.to_numpy(zero_copy_only=False)
        bad |= np.abs(np.nan_to_num(numbers, nan=0.0, posinf=np.inf, neginf=-np.inf)) > FLOAT32_MAX
    return result, bad | unreadable


def to_microseconds(
    name: str, array: pa.Array, unit: str | None, missing: Sequence[str] = ()
) -> tuple[pa.Array, np.ndarray]:
    """Casts times to int64 µs since 1970, UTC.

    Reads Arrow timestamps and dates, ISO-8601 with or without zone, and epochs. The unit of an
    epoch is inferred from its size where it is not given: up to 10^11 seconds, up to 10^14
    milliseconds, else microseconds.

    Returns:
        An [n] array, null where missing, and an [n] bool mask of the values that are not times.
    """
    array = plain(array)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        times, bad = cast_valid(array, lambda a: a.cast(options=TO_MICROSECONDS).cast(pa.int64()))
    elif pa.types.is_binary(array.type) or pa.types.is_null(array.type):
        times, bad = _parse_times(array.cast(pa.binary()), unit, missing)
    elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        times, bad = _from_epoch(array, unit), np.zeros(len(array), bool)
    else:
        raise FunnelError(
            f"time column '{name}' holds {array.type}: give timestamps, ISO-8601 texts or epochs"
        )
    implausible = pc.or_(pc.less(times, EARLIEST), pc.greater(times, LATEST))
    return times, bad | pc.fill_null(implausible, False).to_numpy(zero_copy_only=False)


def _to_text(array: pa.Array, missing: Sequence[str], strip: bool) -> tuple[pa.Array, np.ndarray]:
    """Binary → (text, mask of values that are not UTF-8). The empty text and the `missing` ones
    become null.
    """
    texts, bad = cast_valid(array, lambda a: a.cast(pa.string()), casts.utf8)
    if strip:
        texts = pc.ascii_trim_whitespace(texts)
    absent = pc.is_in(texts, pa.array(["", *missing], pa.string()))
    return pc.if_else(absent, pa.scalar(None, pa.string()), texts), bad


def _to_texts(name: str, array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    def convert(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        held = values.type
        whole = is_whole(held) and not pa.types.is_boolean(held)
        if not (pa.types.is_binary(held) or whole or pa.types.is_null(held)):
            raise FunnelError(
                f"column '{name}' holds lists of {held}: lists of texts or whole numbers are read"
            )
        can_be = casts.utf8 if pa.types.is_binary(held) else None
        return cast_valid(values, lambda a: a.cast(pa.string()), can_be)

    return _to_lists(name, array, "texts", convert)


def _to_numbers(name: str, array: pa.Array, missing: list[str]) -> tuple[pa.Array, np.ndarray]:
    def convert(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        if pa.types.is_nested(values.type) or pa.types.is_temporal(values.type):
            raise FunnelError(
                f"column '{name}' holds lists of {values.type}: lists of numbers are read"
            )
        return _to_scalars(name, values, "number", missing, strip=True)

    return _to_lists(name, array, "numbers", convert)


def _to_lists(
    name: str,
    array: pa.Array,
    raw_type: str,
    convert: Callable[[pa.Array], tuple[pa.Array, np.ndarray]],
) -> tuple[pa.Array, np.ndarray]:
    """Lists of any kind, their values converted. A list with a bad value is bad."""
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(ARROW_TYPES[raw_type]), np.zeros(len(array), bool)
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        raise FunnelError(
            f"column '{name}' holds {kind}, not lists: give the feature a separator, as in "
            "separator = '|'"
        )
    # Arrow checks UTF-8 only from binary.
    held = pa.binary() if kind.value_type in TEXTS else kind.value_type
    lists = array.cast(pa.list_(held))
    # The values by themselves: casting a slice of lists would cast the values of all lists.
    values, bad = convert(plain(lists.flatten()))
    converted = from_lengths(list_lengths(lists), values, lists.is_null())
    return converted, any_in_list(lists, bad)


def any_in_list(lists: pa.Array, mask: np.ndarray) -> np.ndarray:
    """[n] bool mask of the lists that hold a value for which `mask`, over all values, is true."""
    rows = np.repeat(np.arange(len(lists)), list_lengths(lists))
    held: np.ndarray = np.bincount(rows, mask, len(lists)) > 0
    return held


def _from_epoch(array: pa.Array, unit: str | None) -> pa.Array:
    numbers = array.cast(pa.float64(), safe=False)  # exact to 2^53, beyond the year 2100 in µs
    size = pc.abs(numbers)
    factor = (
        MICROSECONDS[unit]
        if unit
        else pc.if_else(pc.less(size, 1e11), 1e6, pc.if_else(pc.less(size, 1e14), 1e3, 1.0))
    )
    scaled = pc.round(pc.multiply(numbers, factor))
    # 0 is implausible, so masked.
    return pc.if_else(pc.less(pc.abs(scaled), 2.0**62), scaled, 0.0).cast(pa.int64())


def _parse_times(
    array: pa.Array, unit: str | None, missing: Sequence[str]
) -> tuple[pa.Array, np.ndarray]:
    texts, unreadable = _to_text(array, missing, strip=True)
    texts = pc.utf8_upper(texts)
    epoch = pc.fill_null(pc.match_substring_regex(texts, NUMBER), False)
    nothing = pa.scalar(None, pa.string())
    from_numbers = _from_epoch(pc.if_else(epoch, texts, nothing).cast(pa.float64()), unit)
    iso = pc.if_else(epoch, nothing, texts)
    iso = pc.if_else(
        pc.equal(pc.utf8_length(iso), 10), pc.binary_join_element_wise(iso, "00:00:00", "T"), iso
    )
    iso = pc.if_else(
        pc.match_substring_regex(iso, ZONE), iso, pc.binary_join_element_wise(iso, "Z", "")
    )
    can_be = partial(casts.matching, pattern=casts.TIME)
    parsed, bad = cast_valid(iso, lambda a: a.cast(pa.timestamp("ns", "UTC")), can_be)
    parsed = parsed.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
    return pc.coalesce(from_numbers, parsed), bad | unreadable

"""pipeline.rows.cast at the last values that it takes: float32, and the years 1990 and 2100."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.rows.cast import to_microseconds, to_raw_type

LARGEST = float(np.finfo(np.float32).max)
BEYOND = float(np.nextafter(LARGEST, np.inf))


def numbers(values, kind):
    result, bad = to_raw_type("n", pa.array(values, kind), "number", missing=[], strip=True)
    return [None if wrong else n for n, wrong in zip(result.to_pylist(), bad, strict=True)]


def test_a_number_is_at_most_the_largest_float32():
    values = [LARGEST, BEYOND, -LARGEST, -BEYOND, None]
    expected = [LARGEST, None, -LARGEST, None, None]
    assert numbers(values, pa.float64()) == expected
    assert numbers([None if v is None else repr(v) for v in values], pa.string()) == expected


@pytest.mark.parametrize("kind", ["us", "timestamp", "text"])
def test_a_time_is_from_1990_to_2100_to_the_microsecond(kind):
    first, last = 631_152_000_000_000, 4_102_444_800_000_000
    values = [first - 1, first, last, last + 1]
    array = pa.array(values, pa.int64())
    if kind != "us":
        array = array.cast(pa.timestamp("us"))
    if kind == "text":
        array = array.cast(pa.string())
    times, bad = to_microseconds("ts", array, None)
    assert bad.tolist() == [True, False, False, True]
    assert times.to_pylist()[1:3] == [first, last]


def test_the_unit_of_an_epoch_is_that_which_fits():
    times, bad = to_microseconds("ts", pa.array([631_152_000, 631_152_000_000]), None)
    assert (times.to_pylist(), bad.any()) == ([631_152_000_000_000] * 2, False)
    times, bad = to_microseconds("ts", pa.array([4_102_444_800, 4_102_444_800_000]), None)
    assert (times.to_pylist(), bad.any()) == ([4_102_444_800_000_000] * 2, False)

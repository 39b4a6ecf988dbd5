"""pipeline.rows.casts: the patterns leave out no text that Arrow casts, and few others in."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rows.casts import INTEGER, NUMBER, TIME, matching, utf8


def casts(text, kind):
    try:
        pa.array([text]).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def matches(text, pattern):
    return bool(matching(pa.array([text]), pattern)[0])


TIMES = st.tuples(
    st.sampled_from(["1990", "2000", "2024", "2026", "2100"]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from("T "),
    st.sampled_from(["0", "00", "23", "24"]),
    st.sampled_from(["", ":00", ":59", ":60", ":59:59", ":59:60", ":00:00.5", "00", ":00:00."]),
    st.sampled_from(["Z", "", "+01", "-2359", "+24:00", "+23:59", "+00:60", "+1"]),
).map(lambda p: f"{p[0]}-{p[1]:02}-{p[2]:02}{p[3]}{p[4]}{p[5]}{p[6]}")


@given(TIMES)
@settings(deadline=None, max_examples=300)
def test_times_match_where_arrow_reads_them(text):
    text = text if text[-1:] == "Z" or "+" in text or "-" in text[10:] else text + "Z"
    assert matches(text, TIME) == casts(text, pa.timestamp("ns", "UTC"))


@given(st.text("0123456789.+-eEinfaty NIx_", max_size=8) | st.floats().map(str))
@settings(deadline=None, max_examples=500)
def test_no_number_is_left_out(text):
    assert matches(text, NUMBER) or not casts(text, pa.float64())
    assert matches(text, INTEGER) or not casts(text, pa.int64())


@given(st.binary(max_size=6) | st.text().map(str.encode))
@settings(deadline=None, max_examples=300)
def test_bytes_are_utf8_where_arrow_reads_them(data):
    assert bool(utf8(pa.array([data]))[0]) == casts(data, pa.string())

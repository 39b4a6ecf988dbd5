"""pipeline.rows.cast: good values are cast, and each bad value is found, whatever is next to it."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import FunnelError
from pipeline.rows.cast import to_microseconds, to_raw_type
from pipeline.rows.casts import cast_valid

SECOND = 1_000_000
T = 1_790_000_000  # 2026-09-21T14:13:20Z
CASTS = {
    "integer": lambda a: a.cast(pa.int64()),
    "number": lambda a: a.cast(pa.float64()),
    "time": lambda a: a.cast(pa.timestamp("us")),
}
TEXT = (
    st.none()
    | st.sampled_from(["1", "-2", "1.5", "x", "", "2026-01-01", "1e9", "9" * 30])
    | st.text(max_size=3)
)


@given(st.lists(TEXT, max_size=40), st.sampled_from(sorted(CASTS)))
@settings(deadline=None, max_examples=200)
def test_cast_valid_equals_casting_each_value_alone(texts, name):
    cast = CASTS[name]

    def alone(text):
        try:
            return cast(pa.array([text], pa.string()))[0].as_py(), False
        except pa.ArrowInvalid:
            return None, True

    result, bad = cast_valid(pa.array(texts, pa.string()), cast)
    # As texts, since nan is not equal to itself.
    assert repr(list(zip(result.to_pylist(), bad.tolist(), strict=True))) == repr(
        [alone(text) for text in texts]
    )
    assert result.type == cast(pa.array([], pa.string())).type


@given(
    st.lists(st.none() | st.binary(max_size=4) | st.text(max_size=4).map(str.encode), max_size=40)
)
@settings(deadline=None, max_examples=200)
def test_bytes_become_text_or_bad(values):
    texts, bad = to_raw_type("c", pa.array(values, pa.binary()), "text", missing=["?"], strip=False)
    for value, text, is_bad in zip(values, texts.to_pylist(), bad, strict=True):
        try:
            expected = (value.decode() if value not in (None, b"", b"?") else None), False
        except UnicodeDecodeError:
            expected = None, True
        assert (text, bool(is_bad)) == expected


def cast_literal(values, kind, raw_type, *, missing=(), strip=False):
    result, bad = to_raw_type(
        "c", pa.array(values, kind), raw_type, missing=list(missing), strip=strip
    )
    return [None if b else v for v, b in zip(result.to_pylist(), bad, strict=True)], [
        int(b) for b in bad
    ]


@pytest.mark.parametrize(
    ("values", "kind", "raw_type", "expected", "bad"),
    [
        (
            [b"a", b"", None, b"\xc3", "é".encode()],
            pa.binary(),
            "text",
            ["a", None, None, None, "é"],
            [0, 0, 0, 1, 0],
        ),
        (["a", ""], pa.string(), "text", ["a", None], [0, 0]),
        (["a", ""], pa.large_string(), "text", ["a", None], [0, 0]),
        (["a", ""], pa.string_view(), "text", ["a", None], [0, 0]),
        (
            ["a", None, "a"],
            pa.dictionary(pa.int8(), pa.string()),
            "text",
            ["a", None, "a"],
            [0, 0, 0],
        ),
        (
            [-(2**63), 2**63 - 1, None],
            pa.int64(),
            "text",
            ["-9223372036854775808", "9223372036854775807", None],
            [0, 0, 0],
        ),
        ([2**64 - 1], pa.uint64(), "text", ["18446744073709551615"], [0]),
        ([True, None], pa.bool_(), "text", ["true", None], [0, 0]),
        ([None, None], pa.null(), "text", [None, None], [0, 0]),
        (["7", "1.0", "x", None], pa.string(), "integer", [7, None, None, None], [0, 1, 1, 0]),
        ([2**64 - 1, 3], pa.uint64(), "integer", [None, 3], [1, 0]),
        (
            ["1.5", "-2e3", "1_0", "", None],
            pa.string(),
            "number",
            [1.5, -2000.0, None, None, None],
            [0, 0, 1, 0, 0],
        ),
        ([2**53 + 1, -(2**63)], pa.int64(), "number", [float(2**53), -float(2**63)], [0, 0]),
        (
            [3.4e38, 3.5e38, float("inf"), float("-inf")],
            pa.float64(),
            "number",
            [3.4e38, None, None, None],
            [0, 1, 1, 1],
        ),
        ([1.5, None], pa.float32(), "number", [1.5, None], [0, 0]),
        ([True, False], pa.bool_(), "number", [1.0, 0.0], [0, 0]),
        (
            [["a", None, ""], None, []],
            pa.list_(pa.string()),
            "texts",
            [["a", None, ""], None, []],
            [0, 0, 0],
        ),
        ([[b"a"], [b"\xff", b"b"]], pa.list_(pa.binary()), "texts", [["a"], None], [0, 1]),
        ([[1, -2], [None]], pa.list_(pa.int32()), "texts", [["1", "-2"], [None]], [0, 0]),
        ([["a", "b"]], pa.list_(pa.string(), 2), "texts", [["a", "b"]], [0]),
        ([[], None], pa.list_(pa.null()), "texts", [[], None], [0, 0]),
        ([["a"]], pa.large_list(pa.large_string()), "texts", [["a"]], [0]),
        (
            [[1, 2], [], None, [None]],
            pa.list_(pa.int64()),
            "numbers",
            [[1.0, 2.0], [], None, [None]],
            [0, 0, 0, 0],
        ),
        ([[1.5], [float("inf"), 1.0]], pa.list_(pa.float32()), "numbers", [[1.5], None], [0, 1]),
        (
            [["1.5", " 2 ", "", "?"], ["x"], ["1", b"\xff"]],
            pa.list_(pa.binary()),
            "numbers",
            [[1.5, 2.0, None, None], None, None],
            [0, 1, 1],
        ),
        ([[1.5, 2.5]], pa.list_(pa.float64(), 2), "numbers", [[1.5, 2.5]], [0]),
        ([None, []], pa.list_(pa.null()), "numbers", [None, []], [0, 0]),
        ([None], pa.null(), "numbers", [None], [0]),
        ([T, T * 1000 + 999, None, 5], pa.int64(), "time", [T, T, None, None], [0, 0, 0, 1]),
        (
            ["2026-09-21T14:13:20.9Z", "?", "", "then"],
            pa.string(),
            "time",
            [T, None, None, None],
            [0, 0, 0, 1],
        ),
        ([T * SECOND + 999_999], pa.timestamp("us", "Asia/Tokyo"), "time", [T], [0]),
    ],
)
def test_to_raw_type(values, kind, raw_type, expected, bad):
    missing = ["?"] if raw_type in ("numbers", "time") else []
    assert cast_literal(values, kind, raw_type, missing=missing) == (expected, bad)


def test_missing_markers_and_spaces():
    assert cast_literal(
        [" ? ", "?", " a", " "], pa.string(), "text", missing=["?"], strip=True
    ) == ([None, None, "a", None], [0] * 4)
    assert cast_literal([" ? ", "?", " a", " "], pa.string(), "text", missing=["?"]) == (
        [" ? ", None, " a", " "],
        [0] * 4,
    )
    assert cast_literal(["NA", " 1 ", "2"], pa.string(), "number", missing=["NA"], strip=True) == (
        [None, 1.0, 2.0],
        [0] * 3,
    )


UUID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
RAW = bytes.fromhex(UUID.replace("-", ""))


@pytest.mark.parametrize(
    ("values", "kind", "raw_type", "expected"),
    [
        ([RAW, None], pa.uuid(), "text", [UUID, None]),
        ([RAW, None], pa.binary(16), "text", [RAW.hex(), None]),
        ([b"user-1", b"\0\1abcd", None], pa.binary(6), "text", ["user-1", "000161626364", None]),
        ([None], pa.binary(4), "text", [None]),
        ([], pa.binary(4), "text", []),
        ([2**64, -7, None], pa.decimal128(38, 0), "text", ["18446744073709551616", "-7", None]),
        ([7, None], pa.decimal256(50, 0), "integer", [7, None]),
        ([[2**64, 1], None], pa.list_(pa.decimal128(38, 0)), "texts", [[str(2**64), "1"], None]),
        ([[RAW], []], pa.list_(pa.binary(16)), "texts", [[RAW.hex()], []]),
        ([2**64 - 1], pa.uint64(), "text", ["18446744073709551615"]),
    ],
)
def test_ids_of_every_type_are_texts(values, kind, raw_type, expected):
    assert cast_literal(values, kind, raw_type) == (expected, [0] * len(values))


def test_a_slice_of_bytes_is_read_as_itself():
    values = pa.array([b"\0\1", b"\2\3", None, b"\4\5"], pa.binary(2))[1:]
    result, _ = to_raw_type("c", values, "text", missing=[], strip=False)
    assert result.to_pylist() == ["0203", None, "0405"]


def test_a_decimal_beyond_int64_is_bad():
    assert cast_literal([2**63, 1], pa.decimal128(38, 0), "integer") == ([None, 1], [1, 0])


def test_a_slice_is_cast_as_itself():
    values = pa.array(["x", "1", None, "y", "2"])[1:]
    result, bad = to_raw_type("c", values, "integer", missing=[], strip=False)
    assert (result.to_pylist(), bad.tolist()) == ([1, None, None, 2], [False, False, True, False])


@pytest.mark.parametrize(
    ("kind", "raw_type", "match"),
    [
        (
            pa.float64(),
            "text",
            "column 'c' holds double, which cannot be read as text; cast it to text or whole "
            "numbers in the log",
        ),
        (pa.float32(), "integer", "holds float, which cannot be read as integer; cast it"),
        (
            pa.decimal128(9, 2),
            "text",
            r"holds decimal128\(9, 2\), which cannot be read as text; cast it",
        ),
        (pa.date32(), "text", r"holds date32\[day\], which cannot be read as text"),
        (pa.list_(pa.string()), "text", "which cannot be read as text"),
        (pa.string(), "texts", r"not lists: give the feature a separator, as in separator = '\|'"),
        (
            pa.list_(pa.float64()),
            "texts",
            "holds lists of double: lists of texts or whole numbers are read",
        ),
        (
            pa.float64(),
            "numbers",
            r"column 'c' holds double, not lists: give the feature a separator",
        ),
        (
            pa.list_(pa.list_(pa.int8())),
            "numbers",
            "holds lists of list<.*>: lists of numbers are read",
        ),
        (pa.list_(pa.date32()), "numbers", "holds lists of date32.*: lists of numbers are read"),
        (
            pa.bool_(),
            "time",
            "time column 'c' holds bool: give timestamps, ISO-8601 texts or epochs",
        ),
    ],
)
def test_types_that_cannot_hold_it(kind, raw_type, match):
    with pytest.raises(FunnelError, match=match):
        cast_literal([], kind, raw_type)


@pytest.mark.parametrize(
    ("values", "kind", "unit", "expected", "bad"),
    [
        (
            [T, T * 1000, T * SECOND, None],
            pa.int64(),
            None,
            [T * SECOND] * 3 + [None],
            [0, 0, 0, 0],
        ),
        ([T], pa.int64(), "ms", [None], [1]),  # 21 January 1970
        ([T * 1000], pa.int64(), "ms", [T * SECOND], [0]),
        ([2_000_000_000], pa.uint32(), "s", [2_000_000_000 * SECOND], [0]),
        (
            [T + 0.5, float("nan"), float("inf"), -1e300],
            pa.float64(),
            None,
            [T * SECOND + 500_000, None, None, None],
            [0, 1, 1, 1],
        ),
        ([0, 2**63 - 1, -(2**63), 10**18], pa.int64(), None, [None] * 4, [1, 1, 1, 1]),
        (
            [631_152_000, 631_151_999, 4_102_444_800, 4_102_444_801],
            pa.int64(),
            "s",
            [631_152_000 * SECOND, None, 4_102_444_800 * SECOND, None],
            [0, 1, 0, 1],
        ),
        (
            [b"\xff", b"", None, b"2026-09-21T14:13:20Z"],
            pa.binary(),
            None,
            [None, None, None, T * SECOND],
            [1, 0, 0, 0],
        ),
        (["2026-09-21T14:13:20.123456789Z"], pa.string(), None, [T * SECOND + 123_456], [0]),
        (
            ["2026-09-21 14:13", "2026-09-21T14:13+00:00"],
            pa.string(),
            None,
            [(T - 20) * SECOND] * 2,
            [0, 0],
        ),
        (
            ["9999-01-01", "1970-01-01", "2026-13-01", "21.09.2026", "2026"],
            pa.string(),
            None,
            [None] * 5,
            [1] * 5,
        ),
        ([T, 2**60, -(2**60)], pa.timestamp("s"), None, [T * SECOND, None, None], [0, 1, 1]),
        ([T * 10**9 + 999], pa.timestamp("ns", "Asia/Tokyo"), None, [T * SECOND], [0]),
        ([T // 86_400 * 86_400_000], pa.date64(), None, [T // 86_400 * 86_400 * SECOND], [0]),
        ([None, None], pa.null(), None, [None, None], [0, 0]),
    ],
)
def test_to_microseconds(values, kind, unit, expected, bad):
    array = (
        pa.array(values, pa.int64()).cast(kind) if kind == pa.date64() else pa.array(values, kind)
    )
    times, wrong = to_microseconds("ts", array, unit)
    assert [None if b else t for t, b in zip(times.to_pylist(), wrong, strict=True)] == expected
    assert [int(b) for b in wrong] == bad


def test_a_type_that_is_no_time():
    with pytest.raises(
        FunnelError, match="time column 'ts' holds bool: give timestamps, ISO-8601 texts or epochs"
    ):
        to_microseconds("ts", pa.array([True]), None)

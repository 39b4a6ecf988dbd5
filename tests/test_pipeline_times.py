"""Times in every format of logs: all spellings of a moment agree, and only values that are not
times are rejected.
"""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_files import T0, first_line, read_file, write

GOOD_TIMES = [
    T0,
    T0 * 1000,
    T0 * 10**6,
    float(T0),
    str(T0),
    str(T0 * 1000),
    str(T0 * 10**6),
    f"{T0}.0",
    "2026-09-21T14:13:20",
    "2026-09-21 14:13:20",
    "2026-09-21T14:13:20Z",
    "2026-09-21 14:13:20z",
    "2026-09-21T14:13:20.000000Z",
    "2026-09-21T16:13:20+02:00",
    "2026-09-21T16:13:20+0200",
    "2026-09-21 16:13:20+02",
    "2026-09-21T10:13:20.000-04:00",
]
BAD_TIMES = [
    "then",
    "2026-02-30",
    "2026-09-21T25:00:00",
    "1970-01-02",
    "9999-01-01",
    5,
    "5",
    10**18,
    1.5e300,
    "9" * 400,
    -T0,
    "1.79e9",
    "NaN",
]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_every_format_of_time_agrees(tmp_path, kind):
    for number, time in enumerate(GOOD_TIMES):
        (tmp_path / str(number)).mkdir()
        rows, rejected, _ = read_file(
            write(tmp_path / str(number), kind, [{"id": "a", "ts": time}]), {}
        )
        assert ([r["time"] for r in rows.values()], rejected) == ([T0 * 10**6], []), time


def test_numbers_of_all_kinds_in_one_time_column(tmp_path):
    rows, rejected, _ = read_file(
        write(
            tmp_path, "jsonl", [{"id": "a", "ts": t} for t in (T0, T0 + 0.25, T0 * 1000, "?", None)]
        ),
        {},
    )
    assert [r["time"] for r in rows.values()] == [T0 * 10**6, T0 * 10**6 + 250_000, T0 * 10**6]
    assert [line for line, _ in rejected] == [4, 5]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+02:00"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_timestamps_agree(tmp_path, unit, zone):
    kind = pa.timestamp(unit, zone)
    times = pa.array([datetime.fromtimestamp(T0, UTC), None], pa.timestamp("us", "UTC")).cast(kind)
    pq.write_table(pa.table({"id": ["a", "b"], "ts": times}), tmp_path / "log.parquet")
    rows, rejected, _ = read_file(tmp_path / "log.parquet", {})
    assert [r["time"] for r in rows.values()] == [T0 * 10**6]
    assert rejected == [(2, "ts is missing")]


def test_dates_are_midnight(tmp_path):
    midnight = (T0 - T0 % 86_400) * 10**6
    assert (
        read_file(write(tmp_path, "csv", [{"id": "a", "ts": "2026-09-21"}]), {})[0][2]["time"]
        == midnight
    )
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0 // 86_400}], {"ts": pa.date32()})
    assert read_file(path, {})[0][1]["time"] == midnight


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_times_are_rejected_one_by_one(tmp_path, kind):
    for number, time in enumerate(BAD_TIMES):
        (tmp_path / str(number)).mkdir()
        path = write(
            tmp_path / str(number),
            kind,
            [{"id": "a", "ts": T0 if type(time) is not str else str(T0)}, {"id": "b", "ts": time}],
        )
        rows, rejected, _ = read_file(path, {})
        assert ([r["id"] for r in rows.values()], rejected) == (
            ["a"],
            [(first_line(kind) + 1, "ts is not a time")],
        ), time


def test_bad_times_in_parquet(tmp_path):
    for kind, values in [
        (pa.int64(), [T0, 2**62, 0]),
        (pa.timestamp("us"), [T0 * 10**6, 2**62, 0]),
        (pa.float64(), [float(T0), float("nan"), 1e308]),
    ]:
        path = write(tmp_path, "parquet", [{"id": "a", "ts": v} for v in values], {"ts": kind})
        rows, rejected, _ = read_file(path, {})
        assert [r["time"] for r in rows.values()] == [T0 * 10**6]
        assert rejected == [(2, "ts is not a time"), (3, "ts is not a time")]

"""pipeline.rows.read: what is a valid row in each format, and the reason and position of each
reject.
"""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_files import COLUMNS, FORMATS, T0, first_line, read_file, write

from features.errors import FunnelError
from pipeline.config import Stream
from pipeline.sources.formats import lines, parquet


@pytest.mark.parametrize("kind", FORMATS)
def test_an_absent_column_is_named_with_the_nearest(tmp_path, kind):
    path = write(tmp_path, kind, [{"id": "a", "ts": T0, "usr": "u", "n": 1}])
    with pytest.raises(
        FunnelError, match=rf"log\.{kind}: has no column 'user': did you mean 'usr'\?"
    ):
        read_file(path)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("n", [1.5], r"column 'n' holds list<\w+: double>, which cannot be read as number"),
        (
            "user",
            1.5,
            r"column 'user' holds double, which cannot be read as text; cast it to text or whole "
            r"numbers in the log",
        ),
        ("user", ["a"], r"column 'user' holds list<\w+: \w+>, which cannot be read as text"),
        (
            "tags",
            "a|b",
            r"column 'tags' holds binary, not lists: give the feature a separator, as in "
            r"separator = '\|'",
        ),
        (
            "tags",
            [1.5],
            r"column 'tags' holds lists of double: lists of texts or whole numbers are read",
        ),
        ("ts", True, r"time column 'ts' holds bool: give timestamps, ISO-8601 texts or epochs"),
    ],
)
def test_a_column_of_a_wrong_type(tmp_path, kind, column, value, match):
    path = write(
        tmp_path,
        kind,
        [{"id": "a", "ts": T0, "user": "u", "n": 1, "tags": ["a"]} | {column: value}],
    )
    with pytest.raises(FunnelError, match=match):
        read_file(path, COLUMNS | {"tags": "texts"})


def test_one_value_of_another_type_is_one_reject(tmp_path):
    values = ["abc", 1, 1.5, "2.5", None, "", True, [1], {"a": 1}, 10**30, 10**400]
    path = write(
        tmp_path,
        "jsonl",
        [{"id": str(i), "ts": T0, "user": "u", "n": v} for i, v in enumerate(values)],
    )
    rows, rejected, _ = read_file(path)
    assert {line: r["n"] for line, r in rows.items()} == {
        2: 1.0,
        3: 1.5,
        4: 2.5,
        5: None,
        6: None,
        7: 1.0,
        10: 1e30,
    }
    assert [line for line, _ in rejected] == [1, 8, 9, 11]
    assert {reason for _, reason in rejected} == {"n is not a number"}


def test_whole_numbers_are_never_cut(tmp_path):
    path = write(
        tmp_path,
        "jsonl",
        [
            {"id": str(i), "ts": T0, "k": k}
            for i, k in enumerate([1, 2.5, 2**63, -(2**63), "7", "x", True])
        ],
    )
    rows, rejected, _ = read_file(path, {"k": "integer"})
    assert {line: r["k"] for line, r in rows.items()} == {1: 1, 4: -(2**63), 5: 7}
    assert [line for line, _ in rejected] == [2, 3, 6, 7]


@pytest.mark.parametrize("kind", FORMATS)
def test_texts_in_a_numeric_column(tmp_path, kind):
    path = write(
        tmp_path,
        kind,
        [
            {"id": str(i), "ts": T0, "user": "u", "n": n}
            for i, n in enumerate(["1", "x", "-2.5e3", "1,5"[:1]])
        ],
    )
    rows, rejected, _ = read_file(path)
    start = first_line(kind)
    assert {line: r["n"] for line, r in rows.items()} == {
        start: 1.0,
        start + 2: -2500.0,
        start + 3: 1.0,
    }
    assert rejected == [(start + 1, "n is not a number")]


def test_numbers_that_no_float32_holds(tmp_path):
    texts = ["99999999999999999999", "inf", "-Infinity", "1e300", "-1e39", "3e38", "nan"]
    rows, rejected, _ = read_file(
        write(tmp_path, "csv", [{"id": str(i), "ts": T0, "n": t} for i, t in enumerate(texts)]),
        {"n": "number"},
    )
    assert [line - 2 for line in rows] == [0, 5, 6]
    assert rejected == [(line, "n is not a number") for line in (3, 4, 5, 6)]
    numbers = [2**63 - 1, -(2**63), 2**53 + 1]
    rows, rejected, _ = read_file(
        write(
            tmp_path, "parquet", [{"id": str(i), "ts": T0, "n": n} for i, n in enumerate(numbers)]
        ),
        {"n": "number"},
    )
    assert [r["n"] for r in rows.values()] == [float(n) for n in numbers]
    numbers = [1e300, float("inf"), float("-inf"), 1.0]
    path = write(
        tmp_path, "parquet", [{"id": str(i), "ts": T0, "n": n} for i, n in enumerate(numbers)]
    )
    assert [line for line, _ in read_file(path, {"n": "number"})[1]] == [1, 2, 3]


def test_integers_beyond_int64(tmp_path):
    path = write(
        tmp_path,
        "csv",
        [
            {"id": str(i), "ts": T0, "k": k}
            for i, k in enumerate([2**63 - 1, 2**63, -(2**63), "1.0"])
        ],
    )
    rows, rejected, _ = read_file(path, {"k": "integer"})
    assert [r["k"] for r in rows.values()] == [2**63 - 1, -(2**63)]
    assert rejected == [(3, "k is not an integer"), (5, "k is not an integer")]
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0, "k": 2**64 - 1}], {"k": pa.uint64()})
    assert read_file(path, {"k": "integer"})[1] == [(1, "k is not an integer")]


@pytest.mark.parametrize(
    "kind",
    [pa.null(), pa.list_(pa.null()), pa.list_(pa.binary()), pa.large_list(pa.large_string())],
)
def test_lists_that_hold_nothing_or_bytes(tmp_path, kind):
    value = None if pa.types.is_null(kind) else []
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0, "tags": value}], {"tags": kind})
    rows, rejected, _ = read_file(path, {"tags": "texts"})
    assert (rows[1]["tags"] or [], rejected) == ([], [])


def test_ids_of_parquet_that_are_not_texts(tmp_path):
    """A UUID as writers that know the type store it, bytes, and a decimal."""
    raw = bytes(range(16))
    table = pa.table(
        {
            "id": pa.array([raw], pa.uuid()),
            "ts": [T0],
            "user": pa.array([raw], pa.binary(16)),
            "item": pa.array([2**64], pa.decimal128(38, 0)),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet", store_schema=False)
    rows, rejected, _ = read_file(tmp_path / "log.parquet", {"user": "text", "item": "text"})
    assert rejected == []
    assert rows[1] == {
        "id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "time": T0 * 1_000_000,
        "user": "000102030405060708090a0b0c0d0e0f",
        "item": "18446744073709551616",
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tiny", [False, True])
def test_malformed_csv_lines(tmp_path, monkeypatch, end, tiny):
    if tiny:
        monkeypatch.setattr(lines, "BLOCK_BYTES", 7)
        monkeypatch.setattr(lines, "HEAD_BYTES", 7)
    texts = [
        "\ufeffid, ts ,user,n",  # 1: byte order mark, spaces
        "",
        "a,1790000000,u,1",  # 3
        "b,1790000000,u",  # 4: too few
        "c,1790000000,u,1,",  # 5: too many
        'd,1790000000,"x,""y""",2',  # 6: the separator and quotes in quotes
        "",
        'e,1790000000,"u,3',  # 8: a quote that does not end …
        'f,1790000000,u",4',  # 9: … and would swallow this line
        ",,,",  # 10: values, if empty ones
        "g,1790000000,u\rh,1790000000",  # 11: a carriage return inside
        "i, 1790000000 , u ,5",  # 12
        "",
        "",
    ]
    path = tmp_path / "log.csv"
    path.write_bytes(end.join(texts).encode())
    rows, rejected, count = read_file(path)
    assert {line: (r["id"], r["user"], r["n"]) for line, r in rows.items()} == {
        3: ("a", "u", 1),
        6: ("d", 'x,"y"', 2),
        9: ("f", 'u"', 4),
        12: ("i", "u", 5),
    }
    reasons = dict(rejected)
    assert sorted(reasons) == [4, 5, 8, 10, 11]
    assert (reasons[4], reasons[5], reasons[10]) == (
        "3 values, expected 4",
        "5 values, expected 4",
        "id is missing",
    )
    assert count == 9


@pytest.mark.parametrize("tiny", [False, True])
def test_malformed_json_lines(tmp_path, monkeypatch, tiny):
    if tiny:
        monkeypatch.setattr(lines, "BLOCK_BYTES", 11)
        monkeypatch.setattr(lines, "HEAD_BYTES", 11)
    good = '{"id": "a", "ts": 1790000000, "user": "u", "n": 1}'
    texts = [
        "\ufeff" + good,  # 1: byte order mark
        "",
        good[:-9],  # 3: cut short
        "[1, 2]",
        good + " " + good,  # 5: two objects …
        '{"id":',  # … and one in two lines: as many objects as lines
        '"z", "ts": 1790000000, "user": "u", "n": 1}',
        " " + good + "\r",  # 8
        "  ",
        '"text"',
        "null",
        good[:-1] + ', "more": {"x": [1, 2]}}',  # 12
        "[" * 100_000,
        '{"id": "x", "ts": 1790000000, "user": "\\ud800", "n": 1}',  # half a surrogate pair
        good,  # 15, without a newline at the end
    ]
    path = tmp_path / "log.jsonl"
    path.write_bytes("\n".join(texts).encode())
    rows, rejected, count = read_file(path)
    assert list(rows) == [1, 8, 12, 15]
    assert [line for line, _ in rejected] == [3, 4, 5, 6, 7, 10, 11, 13, 14]
    assert [reason for _, reason in rejected] == ["not a JSON object"] * 8 + ["user is not a text"]
    assert count == 13


def test_csv_of_one_column(tmp_path):
    (tmp_path / "log.csv").write_text('user\na\n\n""\nb,c\nd')
    rows, rejected, _ = read_file(tmp_path / "log.csv", {"user": "text"}, id=None, time=None)
    assert {line: r["user"] for line, r in rows.items()} == {2: "a", 4: None, 6: "d"}
    assert rejected == [(5, "2 values, expected 1")]
    assert rows[6]["id"] == "log.csv:6"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_utf8(tmp_path, kind):
    ids = ["a", "bÿ", "c", "d"]
    users = ["u", "u", "ÿu", "u"]
    path = write(
        tmp_path,
        kind,
        [{"id": i, "ts": T0, "user": u, "n": 1} for i, u in zip(ids, users, strict=True)],
    )
    with path.open("ab") as file:
        file.write(b"\xff\xfe,x\n")  # and a line of a wrong shape
    rows, rejected, _ = read_file(path)
    start = first_line(kind)
    assert list(rows) == [start, start + 3]
    assert [line for line, _ in rejected] == [start + 1, start + 2, start + 4]
    if kind == "csv":
        assert dict(rejected)[start + 1] == "id is not a text"


def test_bad_utf8_in_parquet(tmp_path):
    def texts(*values):
        binary = pa.array(values, pa.binary())
        return pa.Array.from_buffers(pa.string(), len(values), binary.buffers())

    tags = pa.ListArray.from_arrays([0, 1, 2, 4, 5], texts(b"t", b"t", b"t", b"\xff", b"t"))
    ids, users = texts(b"a", b"b\xff", b"c", b"d"), texts(b"\xc3", b"u", b"u", b"u")
    table = pa.table({"id": ids, "ts": [T0] * 4, "user": users, "tags": tags})
    pq.write_table(table, tmp_path / "log.parquet")
    rows, rejected, _ = read_file(tmp_path / "log.parquet", {"user": "text", "tags": "texts"})
    assert {line: r["tags"] for line, r in rows.items()} == {4: ["t"]}
    assert rejected == [
        (1, "user is not a text"),
        (2, "id is not a text"),
        (3, "tags is not a list of texts"),
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_ids_and_times(tmp_path, kind):
    path = write(
        tmp_path,
        kind,
        [
            {"id": i, "ts": t}
            for i, t in [("a", str(T0)), (None, str(T0)), ("", str(T0)), ("b", None), ("c", "")]
        ],
    )
    start = first_line(kind)
    rows, rejected, _ = read_file(path, {})
    assert list(rows) == [start]
    reasons = ["id is missing", "id is missing", "ts is missing", "ts is missing"]
    assert rejected == [(start + 1 + i, reason) for i, reason in enumerate(reasons)]


@pytest.mark.parametrize("kind", FORMATS)
def test_reject_lines_across_batches(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    monkeypatch.setattr(lines, "HEAD_BYTES", 64)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 7)
    bad = {0, 6, 7, 8, 20, 39}
    path = write(
        tmp_path, kind, [{"id": f"id-{i}", "ts": "?" if i in bad else str(T0)} for i in range(40)]
    )
    rows, rejected, count = read_file(path, {})
    start = first_line(kind)
    assert {line: r["id"] for line, r in rows.items()} == {
        i + start: f"id-{i}" for i in range(40) if i not in bad
    }
    assert rejected == [(i + start, "ts is not a time") for i in sorted(bad)]
    assert count == 40


@pytest.mark.parametrize(
    ("characters", "match"),
    [
        ({"separator": "¦"}, "must be one ASCII character"),
        ({"separator": "\n"}, "must be one ASCII character, and not the end of a line"),
        ({"separator": ""}, "at least 1 character"),
        ({"quote": "''"}, "must be one ASCII character"),
        (
            {"separator": "'", "quote": "'"},
            'separator and quote are both "\'": give two characters, or quote = "" for none',
        ),
    ],
)
def test_characters_that_csv_cannot_have(characters, match):
    with pytest.raises(FunnelError, match=match):
        Stream.parse({"files": "x.csv"} | characters)

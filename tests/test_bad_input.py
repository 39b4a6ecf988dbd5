"""Bad input: each case gets one clear error or a reject row with file, line and reason; never a half-written output."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline_logs import make_config, read_examples, rejects, run, write_jsonl, write_logs

from features.errors import FunnelError
from pipeline import formats
from pipeline.config import Stream
from pipeline.job import preprocess
from pipeline.read import read
from pipeline.sources import find
from pipeline.staging import staging

T0 = 1_790_000_000  # 2026-09-21T14:13:20Z, in seconds
COLUMNS = {"user": "text", "n": "number"}
FORMATS = ("parquet", "csv", "jsonl")


def row(id_, **columns):
    return {"id": id_, "ts": T0, "user": "u", "tags": ["a"], "price": 1.0} | columns


GOOD = [row(str(i)) for i in range(20)]
END = {"id": "nobody", "ts": T0 + 40 * 86_400}


def read_file(path, columns=None, **stream):
    """({line: values of the valid rows by column}, [(line, reason)], rows read) of one file, in batches as the job reads it."""
    settings = Stream(**{"files": str(path), "id": "id", "time": "ts"} | stream)
    (source,) = find("logs.impressions.files", "impressions", settings, settings.files)
    rows, rejected, count = {}, [], 0
    for batch in read(source, settings, COLUMNS if columns is None else columns):
        values = {name.removeprefix("raw:"): column.to_pylist() for name, column in batch.columns.items()}
        for at, line in enumerate(batch.lines.tolist()):
            assert line not in rows
            rows[line] = {name: column[at] for name, column in values.items()}
        assert {reject.file for reject in batch.rejects} <= {path.name}
        shown = [vars(r) for r in batch.rejects]
        assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown
        rejected += [(r.line, r.reason) for r in batch.rejects]
        count += batch.rows_read
    assert count == len(rows) + len(rejected)
    return rows, sorted(rejected), count


def write(folder, kind, records, schema=None):
    """The same records as Parquet, CSV or JSONL; bytes that are not UTF-8 are written as they are."""
    path = folder / f"log.{kind}"
    names = list(records[0])
    if kind == "parquet":
        pq.write_table(pa.table({n: pa.array([r[n] for r in records], (schema or {}).get(n)) for n in names}), path)
    elif kind == "csv":
        lines = [",".join(names)] + [",".join("" if r[n] is None else str(r[n]) for n in names) for r in records]
        path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    else:
        path.write_bytes(b"".join(json.dumps(r, ensure_ascii=False).encode("latin-1") + b"\n" for r in records))
    return path


def first_line(kind):
    return 2 if kind == "csv" else 1


def fails(folder, match, **changes):
    """The job ends with one FunnelError, and the good output of an earlier run beside it stays as it was."""
    out = folder / "out" / "data"
    out.mkdir(parents=True)
    (out / "manifest.json").write_text("good")
    with pytest.raises(FunnelError, match=match) as raised:
        preprocess(make_config(folder, **changes), out)
    assert "Traceback" not in str(raised.value)
    assert [p.relative_to(folder / "out") for p in sorted((folder / "out").rglob("*"))] == [Path("data"), Path("data/manifest.json")]
    assert (out / "manifest.json").read_text() == "good"
    with pytest.raises(FunnelError, match=match):
        preprocess(make_config(folder, **changes), folder / "new" / "data")
    assert list((folder / "new").glob("*")) == []


# Whole files


@pytest.mark.parametrize("pattern", ["nowhere.jsonl", "nowhere*/*.jsonl", "dir/*"])
def test_no_file_matches(tmp_path, pattern):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "dir").mkdir()
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["clicks"]["files"] = f"{tmp_path}/{pattern}"
    fails(tmp_path, r"logs\.clicks\.files = '.*': no file matches; relative paths start at the current directory", logs=logs)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "csv.gz", "jsonl.gz"])
def test_an_empty_text_file_is_no_error(tmp_path, kind):
    path = tmp_path / f"log.{kind}"
    path.write_bytes(gzip.compress(b"") if kind.endswith("gz") else b"")
    assert read_file(path) == ({}, [], 0)


BROKEN = {
    "empty.parquet": lambda whole: b"",
    "truncated.parquet": lambda whole: whole[: len(whole) // 2],
    "text.parquet": lambda whole: b"id,ts\n1,2\n",
    "truncated.jsonl.gz": lambda whole: gzip.compress(b'{"id": "1", "ts": 1790000000}\n' * 9999)[:-20],
    "not-gz.jsonl.gz": lambda whole: b'{"id": "1", "ts": 1790000000}\n',
    "not-gz.csv.gz": lambda whole: b"id,ts\n1,1790000000\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_not_whole_or_not_of_its_format(tmp_path, name):
    pq.write_table(pa.table({"id": [str(i) for i in range(999)], "ts": [T0] * 999}), tmp_path / "whole")
    path = tmp_path / name
    path.write_bytes(BROKEN[name]((tmp_path / "whole").read_bytes()))
    kind = r"parquet" if name.endswith("parquet") else r"(csv|jsonl), gzipped"
    with pytest.raises(FunnelError, match=rf"{name}: cannot be read as {kind} \(.*\); is the file whole, and of this format\?"):
        read_file(path, {})


def test_a_broken_file_among_whole_ones_leaves_nothing(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    write_jsonl(tmp_path / "impressions-2.jsonl.gz", GOOD)
    path = tmp_path / "impressions-2.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    fails(tmp_path, r"impressions-2\.jsonl\.gz: cannot be read as jsonl, gzipped")


def test_concatenated_gz_is_whole(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"id,ts\na,1790000000\n") + gzip.compress(b"b,1790000000\n"))
    assert list(read_file(path, {})[0]) == [2, 3]


def test_unknown_format(tmp_path):
    (tmp_path / "impressions.xlsx").write_text("x")
    fails(tmp_path, r"logs\.impressions\.files: the ending of '.*xlsx' tells no format; give format = 'parquet', 'csv' or 'jsonl'")


def test_a_directory(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "impressions.jsonl").unlink()
    (tmp_path / "impressions").mkdir()
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["impressions"]["files"] = f"{tmp_path}/impressions"
    fails(tmp_path, r"the ending of '.*/impressions' tells no format; .* or '.*/impressions/\*' if it is a directory", logs=logs)


def test_a_file_of_both_splits(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    split = {"eval": {"files": f"{tmp_path}/impressions.jsonl"}}
    fails(tmp_path, r"impressions\.jsonl: matched both by logs\.impressions\.files and by split\.eval\.files", split=split)


def test_a_file_of_both_splits_by_two_paths(tmp_path, monkeypatch):
    write_logs(tmp_path, GOOD, [END])
    monkeypatch.chdir(tmp_path)
    split = {"eval": {"files": "./impressions*"}}
    fails(tmp_path, r"impressions\.jsonl: matched both by logs\.impressions\.files and by split\.eval\.files", split=split)


@pytest.mark.parametrize("pattern", ["imp*.jsonl", "./imp*", "i*/part-*", "*/part-*.jsonl", "i/part-1.jsonl", "../*/i/part-?.jsonl"])
def test_relative_patterns(tmp_path, monkeypatch, pattern):
    folder = tmp_path / "logs"
    write_logs(folder, GOOD)
    write_jsonl(folder / "i" / "part-1.jsonl", GOOD)
    monkeypatch.chdir(folder)
    (source,) = find("files", "impressions", Stream(files=pattern), pattern)
    assert (folder / source.path).is_file()
    assert not source.path.startswith("./")
    names = {"imp": "impressions.jsonl", "./i": "impressions.jsonl", "i/p": "part-1.jsonl", "../": "logs/i/part-1.jsonl"}
    assert source.name == names.get(pattern[:3], "i/part-1.jsonl")


def test_one_file_for_two_event_streams_is_allowed(tmp_path):
    write_logs(tmp_path, GOOD[:9], [END])
    write_jsonl(tmp_path / "test.jsonl", [row("t")])
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["conversions"]["files"] = logs["clicks"]["files"]
    manifest, rows = run(tmp_path, logs=logs, split={"eval": {"files": f"{tmp_path}/test.jsonl"}})
    assert [r["split"] for r in rows.values()].count("eval") == 1
    assert manifest["rows"]["examples_written"] == 10


# Columns


@pytest.mark.parametrize("kind", FORMATS)
def test_an_absent_column_is_named_with_the_nearest(tmp_path, kind):
    path = write(tmp_path, kind, [{"id": "a", "ts": T0, "usr": "u", "n": 1}])
    with pytest.raises(FunnelError, match=rf"log\.{kind}: has no column 'user': did you mean 'usr'\?"):
        read_file(path)


def test_an_absent_column_leaves_nothing(tmp_path):
    write_logs(tmp_path, [{"id": "a", "ts": T0, "user": "u", "prise": 1, "tags": []}], [END])
    fails(tmp_path, r"impressions\.jsonl: has no column 'price': did you mean 'prise'\?")


def test_an_absent_column_in_a_later_file_leaves_nothing(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    write_jsonl(tmp_path / "impressions-2.jsonl", [{"id": "b", "ts": T0, "user": "u", "tags": []}])
    fails(tmp_path, r"^\S*impressions-2\.jsonl: has no column 'price': known: id, tags, ts, user$")


def test_two_columns_of_one_name(tmp_path):
    (tmp_path / "log.csv").write_text("id,ts,user,n,n\na,1790000000,u,1,2\n")
    with pytest.raises(FunnelError, match=r"log\.csv: has 2 columns 'n': rename all but one"):
        read_file(tmp_path / "log.csv")


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("n", [1.5], r"column 'n' holds list<\w+: double>, which cannot be read as number"),
        ("user", 1.5, r"column 'user' holds double, which cannot be read as text; cast it to text or whole numbers in the log"),
        ("user", ["a"], r"column 'user' holds list<\w+: \w+>, which cannot be read as text"),
        ("tags", "a|b", r"column 'tags' holds binary, not lists: give the feature a separator, as in separator = '\|'"),
        ("tags", [1.5], r"column 'tags' holds lists of double: lists of texts or whole numbers are read"),
        ("ts", True, r"time column 'ts' holds bool: give timestamps, ISO-8601 texts or epochs"),
    ],
)
def test_a_column_of_a_wrong_type(tmp_path, kind, column, value, match):
    path = write(tmp_path, kind, [{"id": "a", "ts": T0, "user": "u", "n": 1, "tags": ["a"]} | {column: value}])
    with pytest.raises(FunnelError, match=match):
        read_file(path, COLUMNS | {"tags": "texts"})


def test_json_objects_as_values(tmp_path):
    path = write(tmp_path, "jsonl", [{"id": "a", "ts": T0, "user": {"name": "u"}, "n": 1}])
    with pytest.raises(FunnelError, match="column 'user' holds JSON objects: name a column of texts, numbers or lists"):
        read_file(path)


def test_one_value_of_another_type_is_one_reject(tmp_path):
    values = ["abc", 1, 1.5, "2.5", None, "", True, [1], {"a": 1}, 10**30, 10**400]
    path = write(tmp_path, "jsonl", [{"id": str(i), "ts": T0, "user": "u", "n": v} for i, v in enumerate(values)])
    rows, rejected, _ = read_file(path)
    assert {line: r["n"] for line, r in rows.items()} == {2: 1.0, 3: 1.5, 4: 2.5, 5: None, 6: None, 7: 1.0, 10: 1e30}
    assert [line for line, _ in rejected] == [1, 8, 9, 11]
    assert {reason for _, reason in rejected} == {"n is not a number"}


def test_whole_numbers_are_never_cut(tmp_path):
    path = write(tmp_path, "jsonl", [{"id": str(i), "ts": T0, "k": k} for i, k in enumerate([1, 2.5, 2**63, -(2**63), "7", "x", True])])
    rows, rejected, _ = read_file(path, {"k": "integer"})
    assert {line: r["k"] for line, r in rows.items()} == {1: 1, 4: -(2**63), 5: 7}
    assert [line for line, _ in rejected] == [2, 3, 6, 7]


@pytest.mark.parametrize("kind", FORMATS)
def test_texts_in_a_numeric_column(tmp_path, kind):
    path = write(tmp_path, kind, [{"id": str(i), "ts": T0, "user": "u", "n": n} for i, n in enumerate(["1", "x", "-2.5e3", "1,5"[:1]])])
    rows, rejected, _ = read_file(path)
    start = first_line(kind)
    assert {line: r["n"] for line, r in rows.items()} == {start: 1.0, start + 2: -2500.0, start + 3: 1.0}
    assert rejected == [(start + 1, "n is not a number")]


def test_numbers_that_no_float32_holds(tmp_path):
    texts = ["99999999999999999999", "inf", "-Infinity", "1e300", "-1e39", "3e38", "nan"]
    rows, rejected, _ = read_file(write(tmp_path, "csv", [{"id": str(i), "ts": T0, "n": t} for i, t in enumerate(texts)]), {"n": "number"})
    assert [line - 2 for line in rows] == [0, 5, 6]
    assert rejected == [(line, "n is not a number") for line in (3, 4, 5, 6)]
    numbers = [2**63 - 1, -(2**63), 2**53 + 1]
    rows, rejected, _ = read_file(
        write(tmp_path, "parquet", [{"id": str(i), "ts": T0, "n": n} for i, n in enumerate(numbers)]), {"n": "number"}
    )
    assert [r["n"] for r in rows.values()] == [float(n) for n in numbers]
    numbers = [1e300, float("inf"), float("-inf"), 1.0]
    path = write(tmp_path, "parquet", [{"id": str(i), "ts": T0, "n": n} for i, n in enumerate(numbers)])
    assert [line for line, _ in read_file(path, {"n": "number"})[1]] == [1, 2, 3]


def test_integers_beyond_int64(tmp_path):
    path = write(tmp_path, "csv", [{"id": str(i), "ts": T0, "k": k} for i, k in enumerate([2**63 - 1, 2**63, -(2**63), "1.0"])])
    rows, rejected, _ = read_file(path, {"k": "integer"})
    assert [r["k"] for r in rows.values()] == [2**63 - 1, -(2**63)]
    assert rejected == [(3, "k is not an integer"), (5, "k is not an integer")]
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0, "k": 2**64 - 1}], {"k": pa.uint64()})
    assert read_file(path, {"k": "integer"})[1] == [(1, "k is not an integer")]


@pytest.mark.parametrize("kind", [pa.null(), pa.list_(pa.null()), pa.list_(pa.binary()), pa.large_list(pa.large_string())])
def test_lists_that_hold_nothing_or_bytes(tmp_path, kind):
    value = None if pa.types.is_null(kind) else []
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0, "tags": value}], {"tags": kind})
    rows, rejected, _ = read_file(path, {"tags": "texts"})
    assert (rows[1]["tags"] or [], rejected) == ([], [])


def test_all_rows_bad(tmp_path):
    write_logs(tmp_path, [row(None), row(""), row("a", ts=1)], [END])
    match = r"logs\.impressions: 3 of 3 rows cannot be used, .*max_rejects = 0\.5 allows \(id is missing: 2, ts is not a time: 1\)"
    fails(tmp_path, match, output={"max_rejects": 0.5})


# Lines


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tiny", [False, True])
def test_malformed_csv_lines(tmp_path, monkeypatch, end, tiny):
    if tiny:
        monkeypatch.setattr(formats, "BLOCK_BYTES", 7)
    lines = [
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
    path.write_bytes(end.join(lines).encode())
    rows, rejected, count = read_file(path)
    assert {line: (r["id"], r["user"], r["n"]) for line, r in rows.items()} == {
        3: ("a", "u", 1),
        6: ("d", 'x,"y"', 2),
        9: ("f", 'u"', 4),
        12: ("i", "u", 5),
    }
    reasons = dict(rejected)
    assert sorted(reasons) == [4, 5, 8, 10, 11]
    assert (reasons[4], reasons[5], reasons[10]) == ("3 values, expected 4", "5 values, expected 4", "id is missing")
    assert count == 9


@pytest.mark.parametrize("tiny", [False, True])
def test_malformed_json_lines(tmp_path, monkeypatch, tiny):
    if tiny:
        monkeypatch.setattr(formats, "BLOCK_BYTES", 11)
    good = '{"id": "a", "ts": 1790000000, "user": "u", "n": 1}'
    lines = [
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
    path.write_bytes("\n".join(lines).encode())
    rows, rejected, count = read_file(path)
    assert list(rows) == [1, 8, 12, 15]
    assert [line for line, _ in rejected] == [3, 4, 5, 6, 7, 10, 11, 13, 14]
    assert [reason for _, reason in rejected] == ["not a JSON object"] * 8 + ["user is not a text"]
    assert count == 13


def test_header_only_csv(tmp_path):
    (tmp_path / "log.csv").write_text("id,ts,user,n\n")
    assert read_file(tmp_path / "log.csv") == ({}, [], 0)
    (tmp_path / "log.csv").write_text("id,ts,user")
    with pytest.raises(FunnelError, match="has no column 'n'"):
        read_file(tmp_path / "log.csv")


def test_csv_of_one_column(tmp_path):
    (tmp_path / "log.csv").write_text('user\na\n\n""\nb,c\nd')
    rows, rejected, _ = read_file(tmp_path / "log.csv", {"user": "text"}, id=None, time=None)
    assert {line: r["user"] for line, r in rows.items()} == {2: "a", 4: None, 6: "d"}
    assert rejected == [(5, "2 values, expected 1")]
    assert rows[6]["id"] == "log.csv:6"


# Bad UTF-8: ÿ is written as the byte 0xff, which no UTF-8 text holds


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_utf8(tmp_path, kind):
    ids = ["a", "bÿ", "c", "d"]
    users = ["u", "u", "ÿu", "u"]
    path = write(tmp_path, kind, [{"id": i, "ts": T0, "user": u, "n": 1} for i, u in zip(ids, users, strict=True)])
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
    assert rejected == [(1, "user is not a text"), (2, "id is not a text"), (3, "tags is not a list of texts")]


def test_rejects_on_disk_are_readable(tmp_path):
    bad = [json.dumps(row("xÿ")).encode("latin-1").replace(b"\\u00ff", b"\xff"), row(None), row(""), row("c", ts="then"), "{"]
    write_logs(tmp_path, [*GOOD, *bad, row("3", user="other")], [END, {"id": "1"}, {"id": "1", "ts": "late"}])
    manifest, rows = run(tmp_path)
    reasons = ["id is not a text", "id is missing", "id is missing", "ts is not a number", "not a JSON object", "duplicate"]
    expected = [("impressions.jsonl", 21 + i, reason) for i, reason in enumerate(reasons)]
    expected[-1] = ("impressions.jsonl", 4, "duplicate")  # of two rows at one time the one with the smaller bytes stays
    found = rejects(tmp_path / "data", "impressions")
    assert sorted(found) in (sorted(expected), sorted([*expected[:-1], ("impressions.jsonl", 26, "duplicate")]))
    assert [(line, reason) for _, line, reason in rejects(tmp_path / "data", "clicks")] == [(2, "ts is missing"), (3, "ts is not a number")]
    assert manifest["rows"]["rejected"] == 6
    assert set(rows) == {str(i) for i in range(20)}


# Times


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
        rows, rejected, _ = read_file(write(tmp_path / str(number), kind, [{"id": "a", "ts": time}]), {})
        assert ([r["time"] for r in rows.values()], rejected) == ([T0 * 10**6], []), time


def test_numbers_of_all_kinds_in_one_time_column(tmp_path):
    rows, rejected, _ = read_file(write(tmp_path, "jsonl", [{"id": "a", "ts": t} for t in (T0, T0 + 0.25, T0 * 1000, "?", None)]), {})
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
    assert read_file(write(tmp_path, "csv", [{"id": "a", "ts": "2026-09-21"}]), {})[0][2]["time"] == midnight
    path = write(tmp_path, "parquet", [{"id": "a", "ts": T0 // 86_400}], {"ts": pa.date32()})
    assert read_file(path, {})[0][1]["time"] == midnight


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_times_are_rejected_one_by_one(tmp_path, kind):
    for number, time in enumerate(BAD_TIMES):
        (tmp_path / str(number)).mkdir()
        path = write(tmp_path / str(number), kind, [{"id": "a", "ts": T0 if type(time) is not str else str(T0)}, {"id": "b", "ts": time}])
        rows, rejected, _ = read_file(path, {})
        assert ([r["id"] for r in rows.values()], rejected) == (["a"], [(first_line(kind) + 1, "ts is not a time")]), time


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


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_ids_and_times(tmp_path, kind):
    path = write(tmp_path, kind, [{"id": i, "ts": t} for i, t in [("a", str(T0)), (None, str(T0)), ("", str(T0)), ("b", None), ("c", "")]])
    start = first_line(kind)
    rows, rejected, _ = read_file(path, {})
    assert list(rows) == [start]
    reasons = ["id is missing", "id is missing", "ts is missing", "ts is missing"]
    assert rejected == [(start + 1 + i, reason) for i, reason in enumerate(reasons)]


# Line numbers across batches


@pytest.mark.parametrize("kind", FORMATS)
def test_reject_lines_across_batches(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(formats, "BLOCK_BYTES", 64)
    monkeypatch.setattr(formats, "BATCH_ROWS", 7)
    bad = {0, 6, 7, 8, 20, 39}
    path = write(tmp_path, kind, [{"id": f"id-{i}", "ts": "?" if i in bad else str(T0)} for i in range(40)])
    rows, rejected, count = read_file(path, {})
    start = first_line(kind)
    assert {line: r["id"] for line, r in rows.items()} == {i + start: f"id-{i}" for i in range(40) if i not in bad}
    assert rejected == [(i + start, "ts is not a time") for i in sorted(bad)]
    assert count == 40


# Declarations and splits


def test_a_label_that_is_also_a_feature():
    with pytest.raises(FunnelError, match=r"labels\.click and features\.user both read the column 'user': a label may not be a feature"):
        make_config(Path("x"), labels={"click": {"column": "user"}}, tasks={"ctr": {"label": "click"}})


@pytest.mark.parametrize("key", ["id", "time"])
def test_an_event_stream_without_id_or_time(tmp_path, key):
    write_logs(tmp_path, GOOD, [END])
    logs = {name: stream.model_dump(exclude_none=True) for name, stream in make_config(tmp_path).logs.items()}
    del logs["clicks"][key]
    fails(tmp_path, rf"logs\.clicks\.{key} is missing: events join impressions by id and count windows from times", logs=logs)


def test_an_empty_split(tmp_path):
    write_logs(tmp_path, [row("a"), row("b", ts=T0 + 40 * 86_400)], [END])
    match = r"the train split is empty: 2 rows read, 0 rejected, 1 immature .*; choose another split\.eval or shorter windows"
    fails(tmp_path, match, split={"eval": {"last": "90d"}})


def test_no_rows_at_all(tmp_path):
    write_logs(tmp_path, [], [END])
    fails(tmp_path, "the train split is empty: 0 rows read")


def test_a_good_run_replaces_the_one_before(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    (tmp_path / ".data.unfinished").mkdir()  # of a run that was killed
    run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if "data" in p.name) == ["data"]
    assert not (tmp_path / "data" / "old").exists()
    assert len(read_examples(tmp_path / "data")) == 20


def test_a_directory_lost_between_two_renames_comes_back(tmp_path):
    out, old = tmp_path / "data", tmp_path / ".data.old"
    old.mkdir()
    (old / "good").touch()
    with pytest.raises(RuntimeError), staging(out):
        raise RuntimeError
    assert (out / "good").exists()
    assert not old.exists()

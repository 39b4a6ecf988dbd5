"""pipeline.formats: of random lines each is a row with the right number or malformed, in blocks of any size."""

import csv
import io
import json

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import formats
from pipeline.config import Stream

WANTED = {"id": "text", "n": "text"}
GARBAGE = st.binary(max_size=12).map(lambda b: b.replace(b"\n", b""))
BLANK = st.sampled_from([b"", b"\r"])
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x00"), min_size=1, max_size=4)
CSV_LINE = st.one_of(
    st.tuples(NAME, NAME).map(lambda pair: csv_line(*pair)),
    st.tuples(GARBAGE, GARBAGE).map(b",".join),
    st.sampled_from(
        [b'"a,1', b'b",2', b'"a","1"', b",", b",,", b"a\rb,1", b"a,1\rb,2", b'"', b'""', b'"a"b,1', b"\xff,\xff", b"\xff", b'"x,y",1\r']
    ),
    GARBAGE,
    BLANK,
)
JSON_LINE = st.one_of(
    st.fixed_dictionaries({"id": NAME, "n": NAME, "other": st.none() | st.integers() | st.lists(NAME)}).map(
        lambda row: json.dumps(row).encode()
    ),
    st.sampled_from(
        [
            b'{"id":"a","n":"1"} {"id":"b","n":"2"}',
            b'{"id":',
            b'"c","n":"3"}',
            b'{"id":"a"}',
            b'{"id":"a","id":"b"}',
            b'{"id":7,"n":1.5}',
            b'{"id":7}\r',
            b'{"id":"\xff"}',
            b'{"other":"\xff","id":"a"}',
            b'{"id":"\\ud800"}',
            b"{}",
            b"[]",
            b"5",
            b"null",
            b'{"id":{"n":{}}',
            b'{"id":["a"]}',
            b'{"n":NaN}',
        ]
    ),
    st.binary(max_size=12).map(lambda b: b"{" + b.replace(b"\n", b"") + b"}"),
    GARBAGE,
    BLANK,
)


def csv_line(*values):
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    return out.getvalue().encode()


def rows_of(kind, data, block, **stream):
    """({line: values}, {line: reason}), read in blocks of so many bytes."""
    before, formats.BLOCK_BYTES = formats.BLOCK_BYTES, block
    try:
        raws = list(formats.READERS[kind](pa.PythonFile(io.BytesIO(data), mode="r"), Stream(files="x", **stream), WANTED))
    finally:
        formats.BLOCK_BYTES = before
    found, malformed = {}, {}
    for raw in raws:
        assert raw.table.column_names[: len(WANTED)] == list(WANTED)
        columns = [raw.table[c].cast(pa.binary()).to_pylist() for c in WANTED]
        for line, *values in zip(raw.lines.tolist(), *columns, strict=True):
            assert line not in found, f"line {line} is there twice"
            found[line] = tuple(values)
        for line, reason, _ in raw.malformed:
            assert line not in malformed, f"line {line} is malformed twice"
            malformed[line] = reason
    assert not found.keys() & malformed.keys()
    return found, malformed


def lines_that_hold(lines, blank):
    return {number for number, line in enumerate(lines, 1) if line.strip(blank)}


@given(st.lists(CSV_LINE, max_size=25), st.booleans())
@example([b'"a,1', b'b",2', b"a,1\rb,2"], False)  # two lines in a row and two rows in a line: as many rows as lines
@settings(deadline=None, max_examples=150)
def test_csv_loses_no_line(lines, ends):
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    found, malformed = rows_of("csv", data, 1 << 20, columns=["id", "n"])
    assert found.keys() | malformed.keys() == lines_that_hold(data.split(b"\n"), b"\r")
    assert rows_of("csv", data, 5, columns=["id", "n"]) == (found, malformed)
    for number, line in enumerate(lines, 1):
        alone = rows_of("csv", line, 1 << 20, columns=["id", "n"])
        assert alone == ({1: found[number]} if number in found else {}, {1: malformed[number]} if number in malformed else {})


@given(st.lists(st.tuples(NAME, NAME), max_size=25))
@settings(deadline=None, max_examples=100)
def test_csv_reads_what_pythons_csv_wrote(pairs):
    data = b"id,n\n" + b"\n".join(csv_line(*pair) for pair in pairs)
    found, malformed = rows_of("csv", data, 1 << 20)
    assert malformed == {}
    assert found == {number: tuple(v.encode() for v in pair) for number, pair in enumerate(pairs, 2)}


@given(st.lists(JSON_LINE, max_size=25), st.booleans())
@example([b'{"id":"a","n":"1"} {"id":"b","n":"2"}', b'{"id":', b'"c","n":"3"}'], False)
@settings(deadline=None, max_examples=150)
def test_jsonl_loses_no_line(lines, ends):
    lines = [b'{"id":"first","n":"0"}', *lines]  # tells the columns' types in blocks of any size
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    found, malformed = rows_of("jsonl", data, 1 << 20)
    assert found.keys() | malformed.keys() == lines_that_hold(lines, b" \t\r")
    assert rows_of("jsonl", data, 5) == (found, malformed)
    for number, line in enumerate(lines, 1):
        if number in found and b"\xff" not in line:
            row = json.loads(line)
            expected = tuple(None if row.get(c) is None else str(row[c]).encode() for c in WANTED)
            assert found[number] == expected


@given(st.lists(st.tuples(NAME, st.integers(-9, 9), st.none() | st.floats(-1e6, 1e6), st.lists(NAME, max_size=3)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=100)
def test_jsonl_reads_what_pythons_json_wrote(rows):
    names = ["a", "b", "c", "d"]
    data = b"".join(json.dumps(dict(zip(names, row, strict=True))).encode() + b"\n" for row in rows)
    wanted = dict(zip(names, ["text", "integer", "number", "texts"], strict=True))
    (raw,) = formats.read_jsonl(pa.PythonFile(io.BytesIO(data), mode="r"), Stream(files="x"), wanted)
    assert raw.malformed == []
    assert [tuple(row.values()) for row in raw.table.to_pylist()] == [(a, b, c, d) for a, b, c, d in rows]

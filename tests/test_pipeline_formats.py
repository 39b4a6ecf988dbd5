"""pipeline.sources.formats: each random line is a row at the right position or malformed, in blocks
and pieces of any size.
"""

import csv
import io
import json
from contextlib import contextmanager

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import Stream
from pipeline.sources import pieces as formats
from pipeline.sources.formats import csv_records, lines
from pipeline.sources.formats.jsonl import JsonlFile

WANTED = {"id": "text", "n": "text"}
GARBAGE = st.binary(max_size=12).map(lambda b: b.replace(b"\n", b""))
BLANK = st.sampled_from([b"", b"\r"])
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x00"), min_size=1, max_size=4)
CSV_LINE = st.one_of(
    st.tuples(NAME, NAME).map(lambda pair: csv_line(*pair)),
    st.tuples(GARBAGE, GARBAGE).map(b",".join),
    st.sampled_from(
        [
            b'"a,1',
            b'b",2',
            b'"a","1"',
            b",",
            b",,",
            b"a\rb,1",
            b"a,1\rb,2",
            b'"',
            b'""',
            b'"a"b,1',
            b"\xff,\xff",
            b"\xff",
            b'"x,y",1\r',
        ]
    ),
    GARBAGE,
    BLANK,
)
JSON_LINE = st.one_of(
    st.fixed_dictionaries(
        {"id": NAME, "n": NAME, "other": st.none() | st.integers() | st.lists(NAME)}
    ).map(lambda row: json.dumps(row).encode()),
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


def csv_line(*values, separator=",", quote='"'):
    out = io.StringIO()
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    csv.writer(out, delimiter=separator, **quoting).writerow(values)
    return out.getvalue().removesuffix("\r\n").encode()


@contextmanager
def blocks_of(size):
    before = lines.BLOCK_BYTES, lines.HEAD_BYTES, lines.SCAN_BYTES
    lines.BLOCK_BYTES = lines.HEAD_BYTES = lines.SCAN_BYTES = size
    try:
        yield
    finally:
        lines.BLOCK_BYTES, lines.HEAD_BYTES, lines.SCAN_BYTES = before


def rows_of(kind, data, block=1 << 20, span=(None, None), stream=None, **declared):
    """({position: values}, {position: reason}), read in blocks of so many bytes."""
    stream = stream or Stream(files="x", **declared)
    with blocks_of(block):
        log = formats.FORMATS[kind](pa.PythonFile(io.BytesIO(data), mode="r"), stream)
        raws = list(log.read(WANTED, *span))
    found, malformed = {}, {}
    for raw in raws:
        assert raw.table.column_names == list(WANTED)
        columns = [raw.table[c].cast(pa.binary()).to_pylist() for c in WANTED]
        for position, *values in zip(raw.positions.tolist(), *columns, strict=True):
            assert position not in found, f"{position} occurs twice"
            found[position] = tuple(values)
        for position, reason, _ in raw.malformed:
            assert position not in malformed, f"{position} is malformed twice"
            malformed[position] = reason
    assert not found.keys() & malformed.keys()
    return found, malformed


def in_pieces(kind, data, size, block, **stream):
    """As rows_of, of pieces of `size` bytes, their byte offsets as line numbers."""
    found, malformed = {}, {}
    for start in range(0, len(data), size):
        one, bad = rows_of(kind, data, block, (start, start + size), **stream)
        assert all(start <= position < start + size for position in [*one, *bad])
        found |= one
        malformed |= bad
    number = {offset: data[:offset].count(b"\n") + 1 for offset in [*found, *malformed]}
    assert all(offset == 0 or data[offset - 1 : offset] == b"\n" for offset in number)
    return {number[o]: v for o, v in found.items()}, {
        number[o]: why for o, why in malformed.items()
    }


def lines_that_hold(lines, blank):
    return {number for number, line in enumerate(lines, 1) if line.strip(blank)}


@given(st.lists(CSV_LINE, max_size=25), st.booleans(), st.integers(1, 40))
@example(
    [b'"a,1', b'b",2', b"a,1\rb,2"], False, 3
)  # two lines in a row and two rows in a line: as many rows as lines
@settings(deadline=None, max_examples=120)
def test_csv_loses_no_line(lines, ends, size):
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    found, malformed = rows_of("csv", data, columns=["id", "n"])
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    assert found.keys() | malformed.keys() == lines_that_hold(data[start:].split(b"\n"), b"\r")
    assert rows_of("csv", data, 5, columns=["id", "n"]) == (found, malformed)
    assert in_pieces("csv", data, size, 7, columns=["id", "n"]) == (found, malformed)
    for number, line in enumerate(lines[1:], 2):
        alone = rows_of("csv", b"\n" + line, columns=["id", "n"])
        assert alone == (
            {2: found[number]} if number in found else {},
            {2: malformed[number]} if number in malformed else {},
        )


@given(
    st.lists(st.tuples(NAME, NAME), max_size=25),
    st.sampled_from(",;|\t\x01 "),
    st.sampled_from(['"', "'", ""]),
)
@settings(deadline=None, max_examples=100)
def test_csv_reads_what_pythons_csv_wrote(pairs, separator, quote):
    if not quote:
        pairs = [tuple(v.replace(separator, "").strip("\r") or "v" for v in pair) for pair in pairs]
    data = b"".join(
        csv_line(*pair, separator=separator, quote=quote) + b"\n" for pair in [("id", "n"), *pairs]
    )
    found, malformed = rows_of("csv", data, separator=separator, quote=quote, strip=False)
    assert malformed == {}
    assert found == {
        number: tuple(v.encode() for v in pair) for number, pair in enumerate(pairs, 2)
    }
    assert in_pieces("csv", data, 9, 4, separator=separator, quote=quote, strip=False) == (
        found,
        malformed,
    )


LINES = st.text(st.sampled_from('a,"\n\r'), max_size=6).map(lambda t: t.replace("\r", "\r\n"))


@given(st.lists(st.tuples(LINES, LINES).filter(any), max_size=12), st.integers(1, 30))
@settings(deadline=None, max_examples=150)
def test_multiline_csv_reads_what_pythons_csv_wrote(pairs, block):
    texts = [csv_line(*pair) for pair in [("id", "n"), *pairs]]
    starts = [1 + b"\n".join(texts[:i]).count(b"\n") + (i > 0) for i in range(1, len(texts))]
    found, malformed = rows_of("csv", b"\r\n".join(texts), block, multiline=True)
    assert malformed == {}
    assert found == {
        start: tuple(v.encode() for v in pair) for start, pair in zip(starts, pairs, strict=True)
    }


@given(st.lists(CSV_LINE, max_size=25), st.integers(1, 30))
@example([b'a,"b'], 5)
@example([b"a,1", b"\xef\xbb\xbfb,2"], 1)
@example([b'"a', b'"', b'x"y,"z', b'"'], 5)
@settings(deadline=None, max_examples=150)
def test_multiline_csv_loses_no_line(texts, block):
    """Every line that holds something belongs to the record at or before it, and records do not
    depend on the blocks.
    """
    data = b"\n".join(texts)
    found, malformed = rows_of("csv", data, columns=["id", "n"], multiline=True)
    assert rows_of("csv", data, block, columns=["id", "n"], multiline=True) == (found, malformed)
    positions = found.keys() | malformed.keys()
    for number in (
        lines_that_hold(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), b"\r") - positions
    ):
        start = max(
            position for position in positions if position < number
        )  # the line is inside this record, so a quote is open before it
        assert b'"' in b"".join(texts[start - 1 : number - 1])
        assert (
            rows_of(
                "csv",
                b"\n".join(texts[start - 1 : number - 1]),
                columns=["id", "n"],
                multiline=True,
            )[1][1]
            == csv_records.UNENDED
        )


@pytest.mark.parametrize("cap", ["lines", "bytes"])
def test_a_quote_that_does_not_end_costs_one_line(monkeypatch, cap):
    stream = Stream(files="x", multiline=True)
    if cap == "lines":
        monkeypatch.setattr(csv_records, "RECORD_LINES", 3)
    else:
        stream = stream.model_copy(update={"max_line_bytes": 12})
    data = b'id,n\na,"1\nb,2\nc,3\nd,"4\n\n4"\ne,"5'
    found, malformed = rows_of("csv", data, 4, stream=stream)
    assert found == {3: (b"b", b"2"), 4: (b"c", b"3"), 5: (b"d", b"4\n\n4")}
    assert malformed == {2: csv_records.UNENDED, 8: csv_records.UNENDED}


@given(st.lists(JSON_LINE, max_size=25), st.booleans(), st.integers(1, 60))
@example([b'{"id":"a","n":"1"} {"id":"b","n":"2"}', b'{"id":', b'"c","n":"3"}'], False, 7)
@settings(deadline=None, max_examples=120)
def test_jsonl_loses_no_line(lines, ends, size):
    lines = [b'{"id":"first","n":"0"}', *lines]  # tells the columns' types in blocks of any size
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    found, malformed = rows_of("jsonl", data)
    assert found.keys() | malformed.keys() == lines_that_hold(lines, b" \t\r")
    assert rows_of("jsonl", data, 5) == (found, malformed)
    assert in_pieces("jsonl", data, size, 9) == (found, malformed)
    for number, line in enumerate(lines, 1):
        if number in found and b"\xff" not in line:
            row = json.loads(line)
            expected = tuple(None if row.get(c) is None else str(row[c]).encode() for c in WANTED)
            assert found[number] == expected


@given(
    st.lists(
        st.tuples(
            NAME, st.integers(-9, 9), st.none() | st.floats(-1e6, 1e6), st.lists(NAME, max_size=3)
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, max_examples=100)
def test_jsonl_reads_what_pythons_json_wrote(rows):
    names = ["a", "b", "c", "d"]
    data = b"".join(json.dumps(dict(zip(names, row, strict=True))).encode() + b"\n" for row in rows)
    wanted = dict(zip(names, ["text", "integer", "number", "texts"], strict=True))
    (raw,) = (
        r
        for r in JsonlFile(pa.PythonFile(io.BytesIO(data), mode="r"), Stream(files="x")).read(
            wanted
        )
        if len(r.positions)
    )
    assert raw.malformed == []
    assert [tuple(row.values()) for row in raw.table.to_pylist()] == [
        (a, b, c, d) for a, b, c, d in rows
    ]


FILES = {
    "csv": [
        b"\r\n\n id ,n\r\na,1\r\n\r\n\xff,2\r\nc\r\n,,,\r\nd,4",
        b"\xef\xbb\xbfid,n\na,1\n\n\n",
        b"\n\n",
        b"id,n",
        b"",
    ],
    "jsonl": [b'\n {"id": "1", "n": "x"}\r\n[]\n\n{"id": 2}\n{"n": 1.5}\n{', b"", b"\r\n\n"],
}


@pytest.mark.parametrize("kind", FILES)
def test_pieces_of_every_size_read_the_same(kind):
    for data in FILES[kind]:
        whole = rows_of(kind, data)
        for size in range(1, len(data) + 1):
            assert in_pieces(kind, data, size, 3 if kind == "csv" else 1 << 20) == whole

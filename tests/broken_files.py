# ruff: noqa: E501  (a table of literals, a line for each file)
"""A corpus of broken files: each fails as a whole with one clear error, or has rows and rejects.

Every text file holds the columns id, ts, user and n; T is a good time.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

T = b"1790000000"
HEADER = b"id,ts,user,n\n"
ROW = b"a," + T + b",u,1\n"
JSON = b'{"id": "a", "ts": 1790000000, "user": "u", "n": 1}\n'


@dataclass(frozen=True)
class Broken:
    """A file, how its stream is declared, and what it gives: an error, or the ids of its rows
    and {position: reason}.
    """

    name: str
    data: bytes
    error: str | None = None
    ids: list[str] = field(default_factory=list)
    rejects: dict[int, str] = field(default_factory=dict)
    stream: dict = field(default_factory=dict)


def parquet(**options: object) -> bytes:
    table = pa.table(
        {
            "id": [str(i) for i in range(999)],
            "ts": [int(T)] * 999,
            "user": ["u"] * 999,
            "n": range(999),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=100, **options)
    return sink.getvalue()


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(b ^ 0xFF for b in data[at : at + 64]) + data[at + 64 :]


PARQUET = parquet(compression="gzip")
PLAIN = "cannot be read as {} \\(.*\\); is the file whole, and of this format\\?"
NOT_PARQUET, NOT_GZ, NOT_ZST = (
    PLAIN.format("parquet"),
    PLAIN.format("(csv|jsonl), gzip"),
    PLAIN.format("(csv|jsonl), zstd"),
)
NOT_4 = "not 4 values, or a quote that does not end"
NO_END = "a quote that does not end"
MULTI = {"multiline": True}
NO_ID = {"id": None, "time": None}
NO_JSON = "not a JSON object"

WHOLE = {
    "parquet: empty": Broken("x.parquet", b"", NOT_PARQUET),
    "parquet: first half": Broken("x.parquet", PARQUET[: len(PARQUET) // 2], NOT_PARQUET),
    "parquet: second half": Broken("x.parquet", PARQUET[len(PARQUET) // 2 :], NOT_PARQUET),
    "parquet: only its marks": Broken("x.parquet", b"PAR1PAR1", NOT_PARQUET),
    "parquet: a footer of nonsense": Broken("x.parquet", b"PAR1" + b"\xff" * 40 + b"\x28\0\0\0PAR1", NOT_PARQUET),
    "parquet: a damaged page": Broken("x.parquet", damaged(PARQUET, len(PARQUET) // 2), NOT_PARQUET),
    "parquet: text by that name": Broken("x.parquet", HEADER + ROW, NOT_PARQUET),
    "parquet: gz by that name": Broken("x.parquet", gzip.compress(PARQUET), NOT_PARQUET),
    "gz: plain by that name, csv": Broken("x.csv.gz", HEADER + ROW, NOT_GZ),
    "gz: plain by that name, jsonl": Broken("x.jsonl.gz", JSON, NOT_GZ),
    "gz: without its end": Broken("x.jsonl.gz", gzip.compress(JSON * 9999)[:-20], NOT_GZ),
    "gz: without its check sum": Broken("x.csv.gz", gzip.compress(HEADER + ROW)[:-8], NOT_GZ),
    "gz: a wrong check sum": Broken("x.csv.gz", gzip.compress(HEADER + ROW)[:-8] + bytes(8), NOT_GZ),
    "gz: garbage after it": Broken("x.csv.gz", gzip.compress(HEADER + ROW) + b"garbage", NOT_GZ),
    "zst: plain by that name": Broken("x.csv.zst", HEADER + ROW, NOT_ZST),
    "zst: without its end": Broken("x.jsonl.zst", zstandard.compress(JSON * 9999)[:-20], NOT_ZST),
    "zst: gz by that name": Broken("x.csv.zst", gzip.compress(HEADER + ROW), NOT_ZST),
    "zst: damaged": Broken("x.jsonl.zst", damaged(zstandard.compress(JSON * 9 + HEADER), 20), NOT_ZST),
    "csv: only a header, a column short": Broken("x.csv", b"id,ts,user", "has no column 'n': known: id, ts, user"),
    "csv: another separator": Broken("x.csv", HEADER.replace(b",", b";"), "has no column 'user': known: id;ts;", stream=NO_ID),
    "csv: a header of other case": Broken("x.csv", b"id,ts,User,n\n", "has no column 'user': did you mean 'User'\\?"),
    "csv: two columns of one name": Broken("x.csv", b"id,ts,user,n,n\n", "has 2 columns 'n': rename all but one"),
    "csv: UTF-16": Broken("x.csv", (HEADER + ROW).decode().encode("utf-16"), "has no column 'user': did you mean"),
    "csv: bytes of a picture": Broken("x.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "has no column 'user'"),
    "jsonl: one array": Broken("x.jsonl", b"[" + JSON.strip() + b"]", rejects={1: NO_JSON}),
    "jsonl: an object as value": Broken("x.jsonl", b'{"id":"a","ts":1790000000,"n":1,"user":{"x":1}}', "column 'user' holds JSON objects"),
    "jsonl: a key misspelt": Broken("x.jsonl", JSON.replace(b"user", b"usr"), "has no column 'user': did you mean 'usr'\\?"),
    "jsonl: a list for a number": Broken("x.jsonl", JSON.replace(b": 1}", b": [1]}"), "column 'n' holds list<.*, which cannot be read as number"),
    "jsonl: numbers for texts": Broken("x.jsonl", JSON.replace(b'"u"', b"1.5"), "column 'user' holds double, .* as text; cast it"),
    "jsonl: true for a time": Broken("x.jsonl", JSON.replace(T, b"true"), "time column 'ts' holds bool"),
}  # fmt: skip

LINES = {
    "csv: empty": Broken("x.csv", b""),
    "csv: empty, gz": Broken("x.csv.gz", gzip.compress(b"")),
    "csv: empty, zst": Broken("x.csv.zst", zstandard.compress(b"")),
    "csv: a file of no bytes, gz": Broken("x.csv.gz", b""),
    "csv: only newlines": Broken("x.csv", b"\n\r\n\n"),
    "csv: only a header": Broken("x.csv", HEADER),
    "csv: a header without newline": Broken("x.csv", HEADER.strip()),
    "csv: a byte order mark": Broken("x.csv", b"\xef\xbb\xbf" + HEADER + ROW, ids=["a"]),
    "csv: a byte order mark, no header": Broken("x.csv", b"\xef\xbb\xbf" + ROW, ids=["a"], stream={"columns": ["id", "ts", "user", "n"]}),
    "csv: two parts packed one by one": Broken("x.csv.gz", gzip.compress(HEADER + ROW) + gzip.compress(ROW), ids=["a", "a"]),
    "csv: the last line cut short": Broken("x.csv", HEADER + ROW + b"b,179000", ids=["a"], rejects={3: "2 values, expected 4"}),
    "csv: the header again": Broken("x.csv", HEADER + ROW + HEADER, ids=["a"], rejects={3: "ts is not a time"}),
    "csv: a value too many": Broken("x.csv", HEADER + ROW[:-1] + b",\n", rejects={2: "5 values, expected 4"}),
    "csv: zero bytes": Broken("x.csv", HEADER + b"\0\0\0\n" + ROW, ids=["a"], rejects={2: "1 values, expected 4"}),
    "csv: a quote without an end": Broken("x.csv", HEADER + b'a,1,"u,1\n' + ROW, ids=["a"], rejects={2: NOT_4}),
    "csv: a newline in quotes": Broken("x.csv", HEADER + b"a," + T + b',"u\nv",1\n' + ROW, ids=["a"], rejects={2: NOT_4, 3: NOT_4}),
    "csv: a newline in quotes, multi-line": Broken("x.csv", HEADER + b"a," + T + b',"u\nv",1\n' + ROW, ids=["a", "a"], stream=MULTI),
    "csv: a quote without an end, multi-line": Broken("x.csv", HEADER + b'a,1,"u,1\n' + ROW, ids=["a"], rejects={2: NO_END}, stream=MULTI),
    "csv: a carriage return in a line": Broken("x.csv", HEADER + ROW.strip() + b"\r" + ROW, rejects={2: "7 values, expected 4"}),
    "csv: not UTF-8": Broken("x.csv", HEADER + b"\xff," + T + b",u,1\n" + ROW, ids=["a"], rejects={2: "id is not a text"}),
    "csv: a decimal comma": Broken("x.csv", HEADER.replace(b",", b";") + b"a;" + T + b";u;1,5\n", rejects={2: "n is not a number"}, stream={"separator": ";"}),
    "csv: a thousands separator": Broken("x.csv", HEADER + b"a," + T + b",u,1_000\n", rejects={2: "n is not a number"}),
    "csv: a number in hexadecimal": Broken("x.csv", HEADER + b"a," + T + b",u,0x10\n", rejects={2: "n is not a number"}),
    "csv: a number that no float32 holds": Broken("x.csv", HEADER + b"a," + T + b",u,1e39\n", rejects={2: "n is not a number"}),
    "csv: a marker that is not declared": Broken("x.csv", HEADER + b"a," + T + b",u,NULL\n", rejects={2: "n is not a number"}),
    "csv: an id that is missing by a marker": Broken("x.csv", HEADER + b"-," + T + b",u,1\n", rejects={2: "id is missing"}, stream={"missing": ["-"]}),
    "csv: a time of another unit": Broken("x.csv", HEADER + ROW, rejects={2: "ts is not a time"}, stream={"time_unit": "ms"}),
    "csv: a time of the year 1970": Broken("x.csv", HEADER + b"a,17900,u,1\n", rejects={2: "ts is not a time"}),
    "jsonl: empty": Broken("x.jsonl", b""),
    "jsonl: only blanks": Broken("x.jsonl", b" \n\t\r\n"),
    "jsonl: cut short": Broken("x.jsonl", JSON + JSON[:20], ids=["a"], rejects={2: NO_JSON}),
    "jsonl: two objects in a line": Broken("x.jsonl", JSON + JSON.strip() + JSON, ids=["a"], rejects={2: NO_JSON}),
    "jsonl: an object over two lines": Broken("x.jsonl", JSON + JSON.replace(b', "n"', b',\n"n"'), ids=["a"], rejects={2: NO_JSON, 3: NO_JSON}),
    "jsonl: deeply nested": Broken("x.jsonl", JSON + b"[" * 100_000 + b"\n" + JSON, ids=["a", "a"], rejects={2: NO_JSON}),
    "jsonl: an array, a text, null": Broken("x.jsonl", JSON + b'[1]\n"a"\nnull\n', ids=["a"], rejects={2: NO_JSON, 3: NO_JSON, 4: NO_JSON}),
    "jsonl: single quotes": Broken("x.jsonl", JSON + JSON.replace(b'"', b"'"), ids=["a"], rejects={2: NO_JSON}),
    "jsonl: half a surrogate pair": Broken("x.jsonl", JSON + JSON.replace(b'"u"', b'"\\ud800"'), ids=["a"], rejects={2: "user is not a text"}),
    "jsonl: not UTF-8": Broken("x.jsonl", JSON + JSON.replace(b'"a"', b'"\xff"'), ids=["a"], rejects={2: "id is not a text"}),
    "jsonl: no id": Broken("x.jsonl", JSON + JSON.replace(b'"id"', b'"di"'), ids=["a"], rejects={2: "id is missing"}),
    "jsonl: a number beyond all": Broken("x.jsonl", JSON + JSON.replace(b": 1}", b": 1" + b"0" * 400 + b"}"), ids=["a"], rejects={2: "n is not a number"}),
    "jsonl: a byte order mark in the middle": Broken("x.jsonl", JSON + b"\xef\xbb\xbf" + JSON, ids=["a", "a"]),
}  # fmt: skip

BROKEN_FILES = WHOLE | LINES

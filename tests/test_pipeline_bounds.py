"""Memory is bounded by options, not by the input: long lines, bombs of zeros, many bad lines. What
is not a file is never opened.
"""

import gzip
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_files import T0, read_file
from pipeline_logs import make_config, write_jsonl
from test_pipeline_formats import in_pieces, rows_of
from test_pipeline_job import end_of

from features.errors import FunnelError
from features.files import check_file
from funnel.config.overrides import read_toml
from funnel.inspection.kinds import identify
from pipeline.config import Lookup, Stream
from pipeline.job import preprocess
from pipeline.rows.batch import KEPT
from pipeline.rows.lookups import Join
from pipeline.rows.read import load
from pipeline.sources.files import find_lookup
from pipeline.sources.formats import csv_records
from pipeline.sources.vocabularies import read_vocabulary

TOO_LONG = "longer than max_line_bytes = 64"
LINE = st.integers(0, 90).map(lambda n: b"x," + b"y" * n)


@given(st.lists(LINE | st.just(b""), max_size=12), st.integers(1, 150), st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_long_lines_are_malformed_in_blocks_and_pieces_of_any_size(lines, block, size):
    declared = {"columns": ["id", "n"], "max_line_bytes": 64}
    found, malformed = rows_of("csv", b"\n".join(lines), **declared)
    assert malformed == {n: TOO_LONG for n, line in enumerate(lines, 1) if len(line) > 64}
    assert found.keys() == {n for n, line in enumerate(lines, 1) if 0 < len(line) <= 64}
    assert rows_of("csv", b"\n".join(lines), block, **declared) == (found, malformed)
    assert in_pieces("csv", b"\n".join(lines), size, block, **declared) == (found, malformed)


def test_a_long_line_of_json_and_gzip(tmp_path):
    good = b'{"id": "a", "ts": %d, "user": "u", "n": 1}' % T0
    for first in (b"", good + b"\n"):
        path = tmp_path / "log.jsonl.gz"
        path.write_bytes(gzip.compress(first + b"[" * 3_000_000 + b"\n" + good.replace(b"a", b"b")))
        rows, rejected, count = read_file(path)
        assert [row["id"] for row in rows.values()] == ["a", "b"][not first :]
        assert rejected == [(1 + bool(first), "longer than max_line_bytes = 1048576")]
        assert count == 2 + bool(first)


def test_no_record_of_several_lines_goes_on_after_a_long_line():
    stream = Stream(files="x", multiline=True, max_line_bytes=64)
    data = b'id,n\na,"1\n' + b"-" * 65 + b'\n1"\nb,"2\n2"'
    for block in (4, 1000):
        found, malformed = rows_of("csv", data, block, stream=stream)
        assert malformed == {
            2: csv_records.UNENDED,
            3: TOO_LONG,
            4: f"not 2 values, or {csv_records.UNENDED}",
        }
        assert found == {5: (b"b", b"2\n2")}


def test_a_header_that_is_too_long(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"id,ts," + b"n" * 100)
    with pytest.raises(FunnelError, match=r"its header is longer than max_line_bytes = 64\)"):
        read_file(path, max_line_bytes=64)


def test_tables_and_vocabularies_with_a_long_line(tmp_path):
    (tmp_path / "v.txt").write_text("a\n" + "b" * (1 << 20) + "c\n")
    with pytest.raises(FunnelError, match=r"\(line 2 is longer than 1,048,576 bytes\)"):
        read_vocabulary("user", str(tmp_path / "v.txt"))
    (tmp_path / "t.csv").write_text("item,color\ni1,red\ni2," + "x" * 70 + "\n")
    lookup = Lookup(files=str(tmp_path / "t.csv"), key="item", max_line_bytes=64)
    sources = tuple(find_lookup("impressions", "items", lookup))
    join = Join("items", sources, lookup.model_dump_json(), "item", "item", (("color", "text"),))
    with pytest.raises(FunnelError, match=rf"t.csv, line 3: {TOO_LONG}"):
        load(join)


def test_of_each_reason_and_file_the_first_rejects_are_kept_and_all_are_counted(tmp_path):
    bad = [f'"{"é" * 300}"'] * (KEPT + 5)
    rows = [{"id": f"i{i}", "ts": T0 + i, "user": "u", "tags": [], "price": 1} for i in range(99)]
    write_jsonl(tmp_path / "impressions-1.jsonl", [*bad, *rows, "[]"])
    write_jsonl(tmp_path / "impressions-2.jsonl", ["[]", {"id": None, "ts": T0, "price": 1}])
    write_jsonl(tmp_path / "clicks.jsonl", [end_of(T0 + 98)])
    write_jsonl(tmp_path / "conversions.jsonl", [])
    manifest = preprocess(make_config(tmp_path), tmp_path / "data")
    assert manifest["inputs"]["impressions"]["rejected"] == {
        "id is missing": 1,
        "not a JSON object": KEPT + 7,
    }
    lines = (tmp_path / "data/rejects/impressions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [(r["file"], r["line"], r["value"]) for r in map(json.loads, lines)]
    assert found == [
        *(("impressions-1.jsonl", line, '"' + "é" * 199) for line in range(1, KEPT + 1)),
        ("impressions-2.jsonl", 1, "[]"),
        ("impressions-2.jsonl", 2, "None"),
    ]
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name[0] == "."] == []


def test_what_is_not_a_file_is_not_opened(tmp_path):
    fifo = tmp_path / "pipe.toml"
    os.mkfifo(fifo)
    for read in (read_toml, check_file):
        with pytest.raises(FunnelError, match=r"pipe\.toml: is a FIFO"):
            read(fifo)
    with pytest.raises(FunnelError, match=r"pipe\.toml: is a FIFO"):
        identify(str(fifo))
    with pytest.raises(FunnelError, match=r"pipe\.toml: is a FIFO"):
        read_vocabulary("user", str(fifo))
    with pytest.raises(FunnelError, match="/dev/zero: is a device"):
        read_toml(Path("/dev/zero"))
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(FunnelError, match=r"t\.csv: is a FIFO"):
        find_lookup("impressions", "items", Lookup(files=f"{tmp_path}/t*.csv", key="item"))


PEAK = r"""
import re, sys
sys.path[:0] = sys.argv[2:]
from log_files import COLUMNS, request_of
from pipeline.config import Stream
from pipeline.rows.read import read_source
from pipeline.sources.files import find
stream = Stream(files=sys.argv[1], id="id", time="ts")
(source,) = find("files", "impressions", stream, stream.files)
def peak():  # in KiB; unlike ru_maxrss it does not begin with that of the parent
    return int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
before = peak()
count = sum(batch.rows_read for batch in read_source(source, stream, request_of(COLUMNS)))
print(count, (peak() - before) >> 10)
"""


def peak_of(path):
    """(rows read, MiB that reading them took) in a process of its own."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", PEAK, str(path), *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def write_zeros(path, size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        file.write(packer.compress(b"id,ts,user,n\n"))
        for _ in range(size >> 24):
            file.write(packer.compress(bytes(1 << 24)))
        file.write(packer.flush())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["line", "bomb", "bad lines"])
def test_the_peak_of_memory(tmp_path, kind):
    if kind == "line":
        path, size = tmp_path / "log.jsonl", 300 << 20
        path.write_bytes(b"x" * size)
        rows = 1
    elif kind == "bomb":
        path, size = tmp_path / "log.csv.gz", 2 << 30
        write_zeros(path, size)
        rows = 1
    else:
        path, rows = tmp_path / "log.csv", 1_000_000
        path.write_bytes(b"id,ts,user,n\n" + b"x,soon,u,1\n" * rows)
    count, mebibytes = peak_of(path)
    assert count == rows
    assert mebibytes < 400  # blocks of 8 MiB and their lines

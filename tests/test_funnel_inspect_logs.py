"""`funnel inspect LOG`: formats, types, first rows, in 80 columns."""

import gzip
import json
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_pipeline_toy_format import PairsFile

from funnel import console
from funnel.cli.main import main
from pipeline.sources.formats import FORMATS

CSV = "id;price;at;ok\na1;1.5;2026-11-01T00:00:00Z;true\nb2;;2026-11-02T00:00:00Z;false\nbad\n"
JSONL = '{"id": "é", "n": 1, "tags": ["a", "b"]}\nnot\n{"n": 2.5, "of": {"x": 1}, "id": "2"}\n'


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = pa.Codec("zstd").compress(data, asbytes=True)
    path.write_bytes(data)
    return path


def parquet(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    at = pa.array([datetime(2026, 11, 1)], pa.timestamp("us"))
    pq.write_table(pa.table({"id": ["x"], "at": at, "tags": [["a", "b"]]}), path)
    return path


def document(capsys, *arguments):
    """(the streams of the JSON document, exit code 0)."""
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["streams"]


def types(stream):
    return {column["name"]: column["type"] for column in stream["columns"]}


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_csv(ending, tmp_path, capsys):
    (stream,) = document(capsys, write(tmp_path / f"a.csv{ending}", CSV))
    assert types(stream) == {"id": "text", "price": "number", "at": "time", "ok": "true or false"}
    assert stream["first_rows"] == [
        {"id": "a1", "price": "1.5", "at": "2026-11-01T00:00:00Z", "ok": "true"},
        {"id": "b2", "price": "", "at": "2026-11-02T00:00:00Z", "ok": "false"},
    ]
    assert stream["notes"] == ['separator = ";"', "line 4: 1 values, expected 4"]
    assert (stream["format"], stream["files"], stream["rows"]) == ("csv", 1, None)


def test_csv_without_a_header(tmp_path, capsys):
    (stream,) = document(capsys, write(tmp_path / "a.data", "39, State-gov\n50, Private\n"))
    assert types(stream) == {"column 1": "integer", "column 2": "text"}
    assert stream["first_rows"][0] == {"column 1": "39", "column 2": "State-gov"}
    assert stream["notes"] == ["its first line seems to hold values: name the columns in `columns`"]


def test_csv_with_two_columns_of_one_name(tmp_path, capsys):
    (stream,) = document(capsys, write(tmp_path / "a.csv", "a,a\n1,x\n"))
    assert types(stream) == {"a": "integer", "a (2)": "text"}
    assert stream["notes"] == ["2 columns are named 'a': rename all but one"]


def test_csv_that_is_not_utf8(tmp_path, capsys):
    (stream,) = document(capsys, write(tmp_path / "a.csv", b"a\n\xe9\nb\n"))
    assert [row["a"] for row in stream["first_rows"]] == ["�", "b"]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_json_lines(ending, tmp_path, capsys):
    (stream,) = document(capsys, write(tmp_path / f"a.jsonl{ending}", JSONL))
    expected = {"id": "text", "n": "number", "tags": "list of text", "of": "object"}
    assert types(stream) == expected
    assert stream["first_rows"] == [
        {"id": "é", "n": 1, "tags": ["a", "b"], "of": None},
        {"id": "2", "n": 2.5, "tags": None, "of": {"x": 1}},
    ]
    assert stream["notes"] == ["line 2: not a JSON object"]


def test_parquet(tmp_path, capsys):
    parquet(tmp_path / "a-0.parquet"), parquet(tmp_path / "a-1.parquet")
    (stream,) = document(capsys, f"{tmp_path}/a-*.parquet")
    assert types(stream) == {"id": "string", "at": "timestamp[us]", "tags": "list<element: string>"}
    assert stream["first_rows"] == [{"id": "x", "at": "2026-11-01 00:00:00", "tags": ["a", "b"]}]
    assert (stream["files"], stream["rows"]) == (2, 2)


def test_a_folder_of_mixed_formats(tmp_path, capsys):
    write(tmp_path / "clicks/dt=2026-11-01/part-0.csv", "a\n1\n")
    write(tmp_path / "clicks/dt=2026-11-02/part-0.csv", "a\n2\n")
    write(tmp_path / "items-2.jsonl", '{"b": 1}\n')
    parquet(tmp_path / "impressions/part-0.parquet")
    (tmp_path / "notes.md").write_text("")
    found = {(s["name"], s["format"]): s["files"] for s in document(capsys, tmp_path)}
    expected = {("clicks", "csv"): 2, ("impressions", "parquet"): 1, ("items", "jsonl"): 1}
    assert found == expected


def test_other_texts_in_a_folder_are_left_out(tmp_path, capsys):
    write(tmp_path / "a.csv", "x\n1\n")
    write(tmp_path / "README.txt", "About\n")
    assert [stream["name"] for stream in document(capsys, tmp_path)] == ["a"]


def test_a_format_that_somebody_added(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(FORMATS, "pairs", PairsFile)
    path = write(tmp_path / "a.kv", "id=x n=1\nid=y n=2\n")
    (stream,) = document(capsys, path, "--rows", "1")
    assert types(stream) == {"id": "binary", "n": "binary"}
    assert stream["first_rows"] == [{"id": "x", "n": "1"}]


def test_parquet_without_rows(tmp_path, capsys):
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    (stream,) = document(capsys, tmp_path / "a.parquet")
    assert (types(stream), stream["first_rows"], stream["rows"]) == ({"n": "int64"}, [], 0)


def test_a_glob_is_grouped_below_its_fixed_part(tmp_path, capsys):
    for stream in ("clicks", "views"):
        write(tmp_path / f"logs/{stream}/2026-11-01/part-0.csv", "a\n1\n")
    streams = document(capsys, f"{tmp_path}/logs/*/*/*")
    assert [stream["name"] for stream in streams] == ["clicks", "views"]


def test_an_empty_file_beside_others_is_not_read(tmp_path, capsys):
    write(tmp_path / "a/1.csv", "")
    write(tmp_path / "a/2.csv", "x\n1\n")
    (stream,) = document(capsys, tmp_path / "a")
    assert (stream["first_file"], stream["name"]) == (str(tmp_path / "a/2.csv"), "a")


def test_a_stream_of_empty_files_is_noted(tmp_path, capsys):
    write(tmp_path / "clicks.csv", "")
    write(tmp_path / "views.csv", "x\n1\n")
    clicks, views = document(capsys, tmp_path)
    assert (clicks["columns"], clicks["notes"]) == ([], [f"{tmp_path}/clicks.csv is empty"])
    assert types(views) == {"x": "integer"}


def test_rows(tmp_path, capsys):
    path = write(tmp_path / "a.csv", "a\n" + "".join(f"{n}\n" for n in range(1500)))
    assert len(document(capsys, path)[0]["first_rows"]) == 5
    assert len(document(capsys, path, "--rows", "1200")[0]["first_rows"]) == 1200


@pytest.fixture
def shown(capsys, monkeypatch):
    """What `funnel inspect …` prints in 80 columns."""
    monkeypatch.setattr(console.console, "_width", 80)

    def inspect(*arguments):
        assert main(["inspect", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return inspect


def test_few_columns_are_one_row_a_line(tmp_path, shown):
    out = shown(write(tmp_path / "a.csv", "id,n\nx,1\ny,[b]\n"))
    assert "┃ id   ┃ n    ┃\n┃ text ┃ text ┃" in out
    assert "│ x    │ 1    │\n│ y    │ [b]  │" in out


def test_many_columns_are_one_column_a_line(tmp_path, shown):
    names = [f"column_{n}" for n in range(60)]
    row = ",".join("x" * 30 for _ in names)
    out = shown(write(tmp_path / "a.csv", "\n".join([",".join(names), *[row] * 4])))
    lines = [line for line in out.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, lines)) <= 80
    assert all(f"│ {name} " in out for name in names)
    assert [n for n in range(1, 6) if f"row {n}" in out] == [1, 2, 3, 4]


def test_5000_columns(tmp_path, shown):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(",".join(f"{c}{n}" for n in range(5000)) for c in ("c", "1")))
    out = shown(path)
    assert "│ c199 " in out
    assert "│ c200 " not in out
    assert "… 4,800 more columns (--json has all)" in out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty, so it has no columns; give another file"),
        ("a.jsonl", b"\n\n", "is empty, so it has no columns"),
        ("a.parquet", b"", "is empty, so it has no columns"),
        ("a.parquet", b"id,n\n1,2\n" * 9, "cannot be read as parquet (Parquet magic bytes not"),
        ("a.json", b"[1, 2]\n", "no line is a JSON object, as line 1; write one object a line"),
    ],
)
def test_what_cannot_be_read(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert f"error: {tmp_path / name}: {message}" in capsys.readouterr().err


def test_wrong_or_cut_compression(tmp_path, capsys):
    path = tmp_path / "a.csv.gz"
    for content, reason in [
        (b"id\n1\n", "zlib inflate failed: incorrect header check"),
        (gzip.compress(CSV.encode() * 99)[:50], "Truncated compressed stream"),
    ]:
        path.write_bytes(content)
        assert main(["inspect", str(path)]) == 2
        error = capsys.readouterr().err
        assert f"{path}: cannot be read as csv, gzip ({reason}); copy the file again" in error


def test_no_file_matches(tmp_path, capsys):
    assert main(["inspect", f"{tmp_path}/*.csv"]) == 2
    assert "*.csv: no file matches that is a log: Parquet, CSV or" in capsys.readouterr().err


def test_logs_have_no_checksums(tmp_path, capsys):
    assert main(["inspect", str(write(tmp_path / "a.csv", CSV)), "--check"]) == 2
    assert "--check compares files with recorded checksums, and logs" in capsys.readouterr().err

"""JSON lines whose keys come and go: the same rows give the same result however they are cut into
files, and only a key that no file has is an error.
"""

from __future__ import annotations

import json

import pytest
from log_files import T0, read_file, request_of, write
from pipeline_logs import FEATURES, LABELS, TASKS, run, write_jsonl

from features.errors import FunnelError
from features.spec import Spec
from funnel.scoring.rows import of_files
from pipeline.config import Stream
from pipeline.rows.lookups import resolve
from pipeline.rows.read import check_columns, read_source
from pipeline.sources.files import find
from pipeline.sources.formats import jsonl, lines

COLUMNS = {"k": "text", "n": "number", "tags": "texts", "at": "time"}
FULL = {"k": 7, "n": 1.5, "tags": [3, 4], "at": "2026-09-21T14:13:20Z"}
NONE = {"k": None, "n": None, "tags": None, "at": None}
READ = {"k": "7", "n": 1.5, "tags": ["3", "4"], "at": float(T0)}


def row(number, **keys):
    return {"id": f"i{number}", "ts": T0} | keys


def read_folder(folder, columns, **declared):
    """[(values by column)] of every valid row of the files, in the order of the files."""
    stream = Stream(**{"files": f"{folder}/log*.jsonl", "id": "id", "time": "ts"} | declared)
    sources = find("files", "impressions", stream, stream.files)
    request = request_of(columns)
    lookups = resolve("impressions", stream, sources, request.columns)
    check_columns(sources, stream, request, lookups)
    found = []
    for source in sources:
        for batch in read_source(source, stream, request, lookups):
            assert batch.rejects == []
            named = {key.rpartition(":")[2]: v.to_pylist() for key, v in batch.columns.items()}
            found += [
                {name: named[name][at] for name in columns} for at in range(len(batch.positions))
            ]
    return found


@pytest.mark.parametrize("cuts", [[6], [3, 6], [1, 2, 3, 4, 5, 6]])
def test_rows_are_read_alike_however_they_are_cut(tmp_path, cuts):
    rows = [row(0), row(1, n=None), row(2), row(3, **FULL), row(4), row(5, **FULL)]
    for number, (start, end) in enumerate(zip([0, *cuts], cuts, strict=False)):
        write_jsonl(tmp_path / f"log{number}.jsonl", rows[start:end])
    assert read_folder(tmp_path, COLUMNS) == [NONE, NONE, NONE, READ, NONE, READ]


@pytest.mark.parametrize("first", [1, 3, 40])
def test_a_key_first_seen_late(tmp_path, monkeypatch, first):
    """Behind the lines from which types are inferred, and in a later block than the first."""
    monkeypatch.setattr(jsonl, "PEEK_LINES", 2)
    monkeypatch.setattr(lines, "HEAD_BYTES", 100)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    write_jsonl(tmp_path / "log.jsonl", [row(n, **(FULL if n >= first else {})) for n in range(50)])
    assert read_folder(tmp_path, COLUMNS) == [NONE] * first + [READ] * (50 - first)


def test_a_key_of_no_file_is_an_error(tmp_path):
    write_jsonl(tmp_path / "log1.jsonl", [row(0, k="a", inner={"n": 1})])
    write_jsonl(tmp_path / "log2.jsonl", ["", row(1, kk='"n": 1'), '{"n": '])
    with pytest.raises(FunnelError, match=r"log1\.jsonl and 1 more file: have no column 'n': "):
        read_folder(tmp_path, {"k": "text", "n": "number"})
    (tmp_path / "log3.jsonl").write_bytes(b"")
    with pytest.raises(FunnelError, match=r"log1\.jsonl and 2 more files: have no column 'n': "):
        read_folder(tmp_path, {"k": "text", "n": "number"})


def test_a_key_whose_every_value_is_null_is_there(tmp_path):
    write_jsonl(tmp_path / "log1.jsonl", [row(0)])
    write_jsonl(tmp_path / "log2.jsonl", [row(1, k=None, é=None)])
    assert read_folder(tmp_path, {"k": "text", "é": "number"}) == [{"k": None, "é": None}] * 2


def test_empty_files_do_not_say(tmp_path):
    write_jsonl(tmp_path / "log1.jsonl", [])
    assert read_folder(tmp_path, COLUMNS) == []
    write_jsonl(tmp_path / "log2.jsonl", [row(0), row(1, **FULL)])
    assert read_folder(tmp_path, COLUMNS) == [NONE, READ]


def test_rows_without_an_id_are_rejects(tmp_path):
    path = write(tmp_path, "jsonl", [{"ts": T0, "n": 1}, row(1, n=2), {"id": "b", "n": 3}])
    rows, rejected, _ = read_file(path, {"n": "number"})
    assert list(rows) == [2]
    assert rejected == [(1, "id is missing"), (3, "ts is missing")]


def test_look_ups_of_columns_that_come_late(tmp_path):
    """The key is in no row of the first file, a column in the second file of the table only."""
    write_jsonl(tmp_path / "log1.jsonl", [row(0)])
    write_jsonl(tmp_path / "log2.jsonl", [row(1, item="a", own=5), row(2, item="b")])
    write_jsonl(tmp_path / "items1.jsonl", [{"item": "a", "brand": "x"}])
    write_jsonl(tmp_path / "items2.jsonl", [{"item": "b", "price": 2.5}])
    lookups = {"items": {"files": f"{tmp_path}/items*.jsonl", "key": "item"}}
    columns = {"brand": "text", "price": "number", "own": "number"}
    assert read_folder(tmp_path, columns, lookups=lookups) == [
        {"brand": None, "price": None, "own": None},
        {"brand": "x", "price": None, "own": 5.0},
        {"brand": None, "price": 2.5, "own": None},
    ]
    with pytest.raises(
        FunnelError, match=r"log1\.jsonl and its lookups items: have no column 'pri"
    ):
        read_folder(tmp_path, columns | {"prize": "number"}, lookups=lookups)


def test_scoring_reads_absent_keys_as_missing(tmp_path):
    spec = Spec.parse({"features": FEATURES, "labels": LABELS, "tasks": TASKS})
    write_jsonl(tmp_path / "in1.jsonl", [{"id": "a", "user": "u"}])
    write_jsonl(tmp_path / "in2.jsonl", [{"id": "b", "price": 2, "tags": ["x"]}])
    files = f"{tmp_path}/in*.jsonl"
    batches = [batch for batch, _ in of_files("--input", files, Stream(files=files, id="id"), spec)]
    assert [batch.columns["number:price"].to_pylist() for batch in batches] == [[None], [2.0]]
    assert [batch.columns["text:user"].to_pylist() for batch in batches] == [["u"], [None]]
    (tmp_path / "in2.jsonl").write_text(json.dumps({"id": "b", "price": 2}) + "\n")
    with pytest.raises(FunnelError, match=r"in1\.jsonl and 1 more file: have no column 'tags'"):
        list(of_files("--input", files, Stream(files=files, id="id"), spec))


@pytest.mark.parametrize("cut", [0, 4])
def test_the_job_gives_equal_examples(tmp_path, cut):
    """Of a feature, a label's column and an event's value that some files lack."""
    labels = {
        "seen": {"column": "seen"},
        "click": {"column": "clicked"},
        "spent": {"event": "conversions", "within": "1d", "value": "amount"},
    }
    rows = [
        row(n, user="u", seen=n % 2)
        | ({"tags": ["t"], "price": n, "clicked": n % 2} if n > 3 else {})
        for n in range(8)
    ]
    events = [{"id": f"i{n}", "ts": T0 + 9} | ({"amount": n} if n > 3 else {}) for n in range(8)]
    for name, records in [("impressions", rows), ("conversions", events)]:
        write_jsonl(tmp_path / f"{name}-1.jsonl", records[:cut])
        write_jsonl(tmp_path / f"{name}-2.jsonl", records[cut:])
    logs = {
        name: {"files": f"{tmp_path}/{name}-*.jsonl", "id": "id", "time": "ts"}
        for name in ("impressions", "conversions")
    }
    tasks = {name: {"label": name} for name in labels}
    manifest, examples = run(
        tmp_path,
        logs=logs,
        labels=labels,
        tasks=tasks,
        split={"eval": {"fraction": 0.5}, "logs_end": "2026-10-01"},
    )
    assert manifest["rows"]["rejected"] == 0
    assert {key: example["click"] for key, example in examples.items()} == {
        f"i{n}": n % 2 if n > 3 else -1 for n in range(8)
    }
    assert {key: example["spent"] for key, example in examples.items()} == {
        f"i{n}": n if n > 3 else -1 for n in range(8)
    }


BIG = [2**63, 2**64 - 1, 2**64, 10**60, -(2**63) - 1]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_whole_numbers_of_any_size_are_texts(tmp_path, monkeypatch, before):
    monkeypatch.setattr(jsonl, "PEEK_LINES", 2)
    values = [1, -5, 3][:before] + BIG + ["007", "x", True, 2, None]
    path = write(tmp_path, "jsonl", [row(n, k=k, tags=[k]) for n, k in enumerate(values)])
    rows, rejected, _ = read_file(path, {"k": "text", "tags": "texts"})
    texts = [None if v is None else "true" if v is True else str(v) for v in values]
    assert [r["k"] for r in rows.values()] == texts
    assert [r["tags"] for r in rows.values()] == [[text] for text in texts]
    assert rejected == []


def test_other_values_stay_rejects_of_a_column_of_texts(tmp_path):
    values = [1, 2**63, 1.5, {"a": 1}, [1], 2]
    path = write(tmp_path, "jsonl", [row(n, k=k) for n, k in enumerate(values)])
    rows, rejected, _ = read_file(path, {"k": "text"})
    assert [r["k"] for r in rows.values()] == ["1", str(2**63), "2"]
    assert rejected == [(line, "k is not an integer") for line in (3, 4, 5)]

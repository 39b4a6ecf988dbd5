"""The bounded sample of `funnel init`: which files, which rows, how many there are in all."""

import gzip
import os
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline_logs import write_jsonl

from funnel.config.config import load
from funnel.init.init import Request, propose_config, write
from funnel.init.reading import sample as sampling
from funnel.init.reading.columns import profiles
from funnel.init.reading.sample import read_sample
from funnel.init.reading.streams import find_logs
from funnel.init.sections import text
from pipeline.sources.files import find_sources


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one(*paths, **options):
    """The sample of the one stream that the paths name."""
    (log,) = find_logs(paths, **options)
    return read_sample(log)


def csv(path, rows, start=0):
    """Rows of an id and a text that hardly compresses."""
    texts = (f"{i},{i * 2654435761**2 % 2**64:x}\n" for i in range(start, start + rows))
    content = "id,x\n" + "".join(texts)
    data = content.encode()
    path.parent.mkdir(exist_ok=True)
    compress = {".gz": gzip.compress, ".zst": lambda d: pa.compress(d, "zstd", asbytes=True)}
    path.write_bytes(compress.get(path.suffix, bytes)(data))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst"])
def test_a_small_file_is_read_whole(folder, name):
    csv(folder / name, 100)
    found = one(name)
    assert (found.rows, found.total, found.whole) == (100, 100, True)


def test_the_first_rows_and_those_of_the_last_file(folder, monkeypatch):
    monkeypatch.setattr(sampling, "ROWS", 1000)
    for number in range(5):
        csv(folder / "logs" / f"{number}.csv", 600, 600 * number)
    found = one("logs/*.csv")
    ids = np.array(found.columns["id"].to_pylist(), int)
    assert ids.tolist() == [*range(900), *range(2400, 2500)]
    assert not found.whole
    assert found.total == pytest.approx(3000, rel=0.1)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst", "t.parquet"])
def test_the_rows_of_a_file_that_is_not_read_whole_are_estimated(folder, monkeypatch, name):
    monkeypatch.setattr(sampling, "ROWS", 1000)
    rows = 200_000
    if name == "t.parquet":
        pq.write_table(pa.table({"id": range(rows)}), name, row_group_size=50_000)
    else:
        csv(folder / name, rows)
    found = one(name)
    assert found.rows == 1000
    assert found.total == pytest.approx(rows, rel=0.2)


def test_limits_of_values_and_bytes(folder, monkeypatch):
    csv(folder / "t.csv", 50_000)
    monkeypatch.setattr(sampling, "VALUES", 4000)
    assert one("t.csv").rows == 2000
    monkeypatch.setattr(sampling, "BYTES", 1000)
    monkeypatch.setattr(sampling, "VALUES", 10**7)
    assert not one("t.csv").whole


def test_objects_may_leave_keys_out_and_change_types(folder):
    write_jsonl(folder / "e" / "1.jsonl", [{"id": "a", "n": 1, "deep": {"x": 1}}] * 3)
    write_jsonl(folder / "e" / "2.jsonl", [{"id": "b", "n": 1.5}] * 2)
    write_jsonl(folder / "e" / "3.jsonl", [{"id": "c", "late": "x"}])
    found = one("e")
    assert {name: array.to_pylist() for name, array in found.columns.items()} == {
        "id": ["a", "a", "a", "b", "b", "c"],
        "n": [1, 1, 1, 1.5, 1.5, None],
        "late": [None] * 5 + ["x"],
    }
    assert found.unusable == {"deep": "it holds JSON objects, not single values or lists"}


def test_columns_of_one_name_are_not_used(folder):
    (folder / "t.csv").write_text("a,a,b\n1,2,3\n4,5,6\n")
    found = one("t.csv")
    assert list(found.columns) == ["b"]
    assert found.unusable == {"a": "several columns have this name: rename all but one"}


def test_texts_that_are_not_utf8_are_missing(folder):
    (folder / "t.csv").write_bytes(b"a,b\nx,1\n\xff,2\n ,3\n")
    assert one("t.csv").columns["a"].to_pylist() == ["x", None, None]


def test_dictionaries_and_large_texts_of_parquet(folder):
    columns = {
        "d": pa.array(["x", "y"]).dictionary_encode(),
        "l": pa.array(["x", ""], pa.large_string()),
    }
    pq.write_table(pa.table(columns), "t.parquet")
    found = one("t.parquet")
    assert [a.to_pylist() for a in found.columns.values()] == [["x", "y"], ["x", None]]
    assert {p.type for p in profiles(found, []).values()} == {"text"}


# Paths


def test_arguments_of_one_name_are_one_stream(folder):
    """As when the shell expands a glob that is not in quotes."""
    for number in range(3):
        csv(folder / "clicks" / f"part-{number}.csv", 5)
    (log,) = find_logs([f"clicks/part-{number}.csv" for number in range(3)])
    assert log.name == "clicks"
    assert log.patterns == [f"clicks/part-{number}.csv" for number in range(3)]
    assert len(log.sources) == 3


def test_globs_match_the_files_of_a_folder_and_no_others(folder):
    files = ["a/1.csv", "a/2026/11/2.csv", "a/2026/11/3.csv.gz"]
    for number, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        csv(folder / name, 5, 5 * number)
    for name in ("a/_SUCCESS", "a/.hidden.csv", "a/2026/_temporary/x.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (log,) = find_logs(["a"])
    assert log.patterns == ["a/*.csv", "a/*/*/*.csv", "a/*/*/*.csv.gz"]
    assert [source.path for source in log.sources] == sorted(files)


@pytest.mark.parametrize("name", ["odd [1].csv", "what?.csv", "a*b.csv", "ünïcode 世.csv"])
def test_odd_names_of_files_reach_the_pipeline(folder, name):
    lines = "".join(f"{i % 7},{i % 3},{i % 2}\n" for i in range(99))
    (folder / name).write_text("a,b,click\n" + lines)
    path = Path("c.toml")
    write(path, text(propose_config(Request([name]))))
    assert [s.path for s in find_sources(load(path).preprocess)] == [name]


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_other_separators(folder, separator):
    rows = ["a,b,click", *(f"{i % 7},{i % 3},{i % 2}" for i in range(99))]
    (folder / "t.tsv").write_text("\n".join(rows).replace(",", separator))
    content = tomllib.loads(text(propose_config(Request(["t.tsv"]))))
    assert content["logs"]["table"]["separator"] == separator
    assert list(content["features"]) == ["a", "b"]


def test_a_format_that_no_extension_implies(folder):
    write_jsonl(folder / "visits.log", [{"a": i % 7, "click": i % 2} for i in range(99)])
    written = text(propose_config(Request(["visits.log"])))
    assert 'format = "jsonl"' in " ".join(written.split())


def test_a_name_before_the_path(folder):
    csv(folder / "x=y.csv", 5)
    assert [log.name for log in find_logs(["seen=x=y.csv"])] == ["seen"]
    assert [log.patterns for log in find_logs(["x=y.csv"])] == [["x=y.csv"]]


def test_an_absolute_path(folder):
    csv(folder / "clicks" / "1.csv", 5)
    (log,) = find_logs([str(folder / "clicks")])
    assert log.patterns == [os.path.join(folder, "clicks", "*.csv")]


def test_logs_on_s3(bucket, server):
    """Listed and opened as the pipeline does."""
    rows = "".join(f"{i % 7},{i % 3},{i % 2}\n" for i in range(99))
    bucket("visits/1.csv", ("a,b,click\n" + rows).encode())
    endpoint = [f"--s3_endpoint_url={server}"]
    proposed = propose_config(Request(["s3://logs/visits/*.csv"], beam_args=endpoint))
    assert proposed.rows.sample.rows == 99
    assert 'files = "s3://logs/visits/*.csv"' in text(proposed)

"""Bad input to the whole job: each case gives one error or a reject, never a partial output."""

import json
from pathlib import Path

import pytest
from log_files import T0
from pipeline_logs import make_config, read_examples, rejects, run, write_jsonl, write_logs

from features.errors import FunnelError
from features.files import staging
from pipeline.job import preprocess
from pipeline.sources import pieces as formats


def row(id_, **columns):
    return {"id": id_, "ts": T0, "user": "u", "tags": ["a"], "price": 1.0} | columns


GOOD = [row(str(i)) for i in range(20)]
END = {"id": "nobody", "ts": T0 + 88_200}  # the longest window later


def fails(folder, match, **changes):
    """The job ends with one FunnelError, and the good output of an earlier run beside it stays as
    it was.
    """
    out = folder / "out" / "data"
    out.mkdir(parents=True)
    (out / "manifest.json").write_text("good")
    with pytest.raises(FunnelError, match=match) as raised:
        preprocess(make_config(folder, **changes), out)
    assert "Traceback" not in str(raised.value)
    assert [p.relative_to(folder / "out") for p in sorted((folder / "out").rglob("*"))] == [
        Path("data"),
        Path("data/manifest.json"),
    ]
    assert (out / "manifest.json").read_text() == "good"
    with pytest.raises(FunnelError, match=match):
        preprocess(make_config(folder, **changes), folder / "new" / "data")
    assert list((folder / "new").glob("*")) == []


@pytest.mark.parametrize("pattern", ["nowhere.jsonl", "nowhere*/*.jsonl", "dir/*"])
def test_no_file_matches(tmp_path, pattern):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "dir").mkdir()
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["clicks"]["files"] = f"{tmp_path}/{pattern}"
    fails(
        tmp_path,
        r"logs\.clicks\.files = '.*': no file matches; relative paths start at the current "
        r"directory",
        logs=logs,
    )


def test_a_broken_file_among_whole_ones_leaves_nothing(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    write_jsonl(tmp_path / "impressions-2.jsonl.gz", GOOD)
    path = tmp_path / "impressions-2.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    fails(tmp_path, r"impressions-2\.jsonl\.gz: cannot be read as jsonl, gzip")


def test_unknown_format(tmp_path):
    (tmp_path / "impressions.xlsx").write_text("x")
    fails(
        tmp_path,
        r"logs\.impressions\.files: cannot infer the format from the file extension of '.*xlsx'; "
        r"give format = 'parquet', 'csv' or 'jsonl'",
    )


def test_a_directory(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "impressions.jsonl").unlink()
    (tmp_path / "impressions").mkdir()
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["impressions"]["files"] = f"{tmp_path}/impressions"
    fails(
        tmp_path,
        r"cannot infer the format from the file extension of '.*/impressions'; .* or "
        r"'.*/impressions/\*' if it is a directory",
        logs=logs,
    )


def test_a_file_of_both_splits(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    split = {"eval": {"files": f"{tmp_path}/impressions.jsonl"}}
    fails(
        tmp_path,
        r"impressions\.jsonl: matched both by logs\.impressions\.files and by split\.eval\.files",
        split=split,
    )


def test_a_file_of_both_splits_by_two_paths(tmp_path, monkeypatch):
    write_logs(tmp_path, GOOD, [END])
    monkeypatch.chdir(tmp_path)
    split = {"eval": {"files": "./impressions*"}}
    fails(
        tmp_path,
        r"impressions\.jsonl: matched both by logs\.impressions\.files and by split\.eval\.files",
        split=split,
    )


def test_one_file_for_two_event_streams_is_allowed(tmp_path):
    write_logs(tmp_path, GOOD[:9], [END])
    write_jsonl(tmp_path / "test.jsonl", [row("t")])
    logs = {name: stream.model_dump() for name, stream in make_config(tmp_path).logs.items()}
    logs["conversions"]["files"] = logs["clicks"]["files"]
    manifest, rows = run(tmp_path, logs=logs, split={"eval": {"files": f"{tmp_path}/test.jsonl"}})
    assert [r["split"] for r in rows.values()].count("eval") == 1
    assert manifest["rows"]["examples_written"] == 10


def test_an_absent_column_leaves_nothing(tmp_path):
    write_logs(tmp_path, [{"id": "a", "ts": T0, "user": "u", "prise": 1, "tags": []}], [END])
    fails(tmp_path, r"impressions\.jsonl: has no column 'price': did you mean 'prise'\?")


def test_an_absent_column_in_a_later_file_leaves_nothing(tmp_path):
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "impressions2.csv").write_text("id,ts,user,tags\n")
    fails(tmp_path, r"^\S*impressions2\.csv: has no column 'price': known: id, tags, ts, user$")


def test_a_key_that_no_file_has_leaves_nothing(tmp_path):
    row = {"id": "a", "ts": T0, "user": "u", "prise": 1}
    write_logs(tmp_path, [row], [END])
    write_jsonl(tmp_path / "impressions2.jsonl", [row | {"tags": []}])
    fails(
        tmp_path,
        r"^\S*impressions\.jsonl and 1 more file: have no column 'price': did you mean 'prise'\?$",
    )


def test_all_rows_bad(tmp_path):
    write_logs(tmp_path, [row(None), row(""), row("a", ts=1)], [END])
    match = (
        r"logs\.impressions: 3 of 3 rows cannot be used, .*max_rejects = 0\.5 allows "
        r"\(id is missing: 2, ts is not a time: 1\)"
    )
    fails(tmp_path, match, output={"max_rejects": 0.5})


def test_rejects_on_disk_are_readable(tmp_path):
    bad = [
        json.dumps(row("xÿ")).encode("latin-1").replace(b"\\u00ff", b"\xff"),
        row(None),
        row(""),
        row("c", ts="then"),
        "{",
    ]
    write_logs(
        tmp_path,
        [*GOOD, *bad, row("3", user="other")],
        [END, {"id": "1"}, {"id": "1", "ts": "late"}],
    )
    manifest, rows = run(tmp_path)
    reasons = [
        "id is not a text",
        "id is missing",
        "id is missing",
        "ts is not a time",
        "not a JSON object",
        "duplicate",
    ]
    expected = [("impressions.jsonl", 21 + i, reason) for i, reason in enumerate(reasons)]
    expected[-1] = (
        "impressions.jsonl",
        4,
        "duplicate",
    )  # of two rows at one time the one with the smaller bytes stays
    found = rejects(tmp_path / "data", "impressions")
    assert sorted(found) in (
        sorted(expected),
        sorted([*expected[:-1], ("impressions.jsonl", 26, "duplicate")]),
    )
    assert [(line, reason) for _, line, reason in rejects(tmp_path / "data", "clicks")] == [
        (2, "ts is missing"),
        (3, "ts is not a time"),
    ]
    assert manifest["rows"]["rejected"] == 6
    assert set(rows) == {str(i) for i in range(20)}


def test_a_label_that_is_also_a_feature():
    with pytest.raises(
        FunnelError,
        match=r"labels\.click and features\.user both read the column 'user': "
        r"a label may not be a feature",
    ):
        make_config(
            Path("x"), labels={"click": {"column": "user"}}, tasks={"ctr": {"label": "click"}}
        )


@pytest.mark.parametrize("key", ["id", "time"])
def test_an_event_stream_without_id_or_time(tmp_path, key):
    write_logs(tmp_path, GOOD, [END])
    logs = {
        name: stream.model_dump(exclude_none=True)
        for name, stream in make_config(tmp_path).logs.items()
    }
    del logs["clicks"][key]
    fails(
        tmp_path,
        rf"logs\.clicks\.{key} is missing: events join impressions by id and count windows from "
        r"times",
        logs=logs,
    )


def test_an_empty_split(tmp_path):
    write_logs(tmp_path, [row("a"), row("b", ts=T0 + 40 * 86_400)], [END])
    match = (
        r"the train split is empty: 2 rows read, 0 rejected, 1 immature .*; "
        r"choose another split\.eval or shorter windows"
    )
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


def test_a_job_in_pieces_writes_the_same(tmp_path, monkeypatch):
    write_logs(
        tmp_path,
        [*GOOD, "{", row(None), row("3"), row("ü")],
        [END, {"id": "1", "ts": T0 + 5}, "[]"],
    )
    whole, examples = run(tmp_path)
    assert {r["byte"] for r in rejects_of(tmp_path)} == {None}
    monkeypatch.setattr(formats, "PIECE_BYTES", 100)
    pieces, examples_of_pieces = run(tmp_path)
    assert examples_of_pieces == examples
    assert pieces["rows"] == whole["rows"]
    text = (tmp_path / "impressions.jsonl").read_bytes()
    found = {(text[r["byte"] :].split(b"\n")[0], r["reason"]) for r in rejects_of(tmp_path)}
    lines = text.split(b"\n")
    malformed = {(lines[20], "not a JSON object"), (lines[21], "id is missing")}
    assert found - malformed in (
        {(lines[3], "duplicate")},
        {(lines[22], "duplicate")},
    )  # equal rows: either one stays


def rejects_of(folder):
    return [
        json.loads(line)
        for line in (folder / "data" / "rejects" / "impressions.jsonl").read_text().splitlines()
    ]

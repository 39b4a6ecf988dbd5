"""Rejects, statistics and errors depend on the logs alone: on no runner, worker or size of pieces.
output.max_rejects ends a job while it reads.
"""

import json
import math
from collections import Counter

import pytest
from pipeline_logs import make_config, write_jsonl
from test_pipeline_job import OTHER_RUNNER, PROCESSES, T0, end_of, event, impression

from features.errors import FunnelError
from pipeline.job import preprocess
from pipeline.output.progress import MARKERS, mark_done
from pipeline.output.reject_limit import PieceLimit, StreamLimit, most_rows
from pipeline.output.worker_errors import CUT, READ, any_error, raise_first, record, stopped
from pipeline.sources import pieces
from pipeline.sources.files import find_sources
from pipeline.sources.storage import Source

RUNNERS = [OTHER_RUNNER, pytest.param(PROCESSES, marks=pytest.mark.slow)]
EQUAL = ("rejects/impressions.jsonl", "rejects/clicks.jsonl", "statistics.json", "fitted.json")


def write_some(folder):
    """Three files, in each of which the same rows occur, and lines that cannot be used."""
    rows = [impression(str(i % 40), T0 + i % 40, user=f"u{i % 40}") for i in range(120)]
    for number in range(3):
        lines = [*rows[number * 40 :][:40], "{", {"id": None, "ts": T0}, *rows[:9]]
        write_jsonl(folder / f"impressions-{number}.jsonl", lines)
    clicks = [event(str(i), T0 + 99) for i in range(0, 40, 3)]
    write_jsonl(folder / "clicks.jsonl", [*clicks, "[]", end_of(T0 + 39)])
    write_jsonl(folder / "conversions.jsonl", [])


@pytest.mark.parametrize("beam_args", RUNNERS)
def test_the_same_rejects_and_statistics_on_any_runner(tmp_path, monkeypatch, beam_args):
    write_some(tmp_path)
    found = []
    for number, args in enumerate([[], beam_args]):
        out = tmp_path / f"data-{number}"
        preprocess(make_config(tmp_path), out, args)
        found.append([(out / name).read_bytes() for name in EQUAL])
    assert found[0] == found[1]
    rejects = [json.loads(line) for line in found[0][0].splitlines()]
    assert Counter((r["file"], r["reason"]) for r in rejects) == {
        ("impressions-0.jsonl", "duplicate"): 9,
        ("impressions-1.jsonl", "duplicate"): 49,
        ("impressions-2.jsonl", "duplicate"): 49,
        **{(f"impressions-{n}.jsonl", "not a JSON object"): 1 for n in range(3)},
        **{(f"impressions-{n}.jsonl", "id is missing"): 1 for n in range(3)},
    }
    assert [r["line"] for r in rejects if r["file"] == "impressions-0.jsonl"] == [*range(41, 52)]


def test_pieces_of_any_size_name_the_same_rejects(tmp_path, monkeypatch):
    write_some(tmp_path)
    found = []
    for size in (64 << 20, 300, 1000):
        monkeypatch.setattr(pieces, "PIECE_BYTES", size)
        preprocess(make_config(tmp_path), tmp_path / f"{size}")
        lines = (tmp_path / f"{size}/rejects/impressions.jsonl").read_text().splitlines()
        at = [
            [
                (r["file"], number_of(tmp_path, r), r["reason"], r["value"])
                for r in map(json.loads, lines)
            ]
        ]
        found.append(at)
    assert found[0] == found[1] == found[2]


def number_of(folder, reject):
    """The number of a line, also where its offset is known."""
    if reject["byte"] is None:
        return reject["line"]
    return (folder / reject["file"]).read_bytes()[: reject["byte"]].count(b"\n") + 1


@pytest.mark.parametrize("beam_args", [[], *RUNNERS])
def test_of_two_wrong_files_the_first_is_named(tmp_path, beam_args):
    write_some(tmp_path)
    for name in ("impressions-1.jsonl.gz", "impressions-3.jsonl.gz"):
        path = tmp_path / name
        write_jsonl(path, [impression(f"{name}{i}", T0) for i in range(2000)])
        path.write_bytes(path.read_bytes()[:-20])
    for _ in range(2):
        with pytest.raises(FunnelError, match=r"impressions-1.jsonl.gz: cannot be read as jsonl"):
            preprocess(make_config(tmp_path), tmp_path / "data", beam_args)
    assert not (tmp_path / "data").exists()


def test_the_first_error_by_step_file_and_piece(tmp_path):
    assert not any_error(tmp_path)
    raise_first(tmp_path)
    for place in [(READ, 10, 0), (READ, 2, 1), (READ, 2, 0)]:
        record(tmp_path, place, FunnelError(f"{place}"))
    assert stopped(tmp_path, (READ, 2, 1))
    assert not stopped(tmp_path, (READ, 2, 0))
    with pytest.raises(FunnelError, match=r"^\(1, 2, 0\)$"):
        raise_first(tmp_path)
    record(tmp_path, (CUT, 99, 0), FunnelError("cut"))
    with pytest.raises(FunnelError, match=r"^cut$"):
        raise_first(tmp_path)


def limited(folder, share, sizes, kind="jsonl"):
    """A configuration, and sources of one stream of these sizes."""
    config = make_config(folder, output={"max_rejects": share})
    name = "impressions"
    sources = [
        Source(name, f"{n}.{kind}", f"{n}.{kind}", size, kind.split(".")[0])
        for n, size in enumerate(sizes)
    ]
    return config, sources


def test_one_piece_stops_above_what_its_stream_may_hold(tmp_path):
    config, sources = limited(tmp_path, 0.01, [12_000, 11_999])
    assert most_rows(config, sources, "impressions") == 1001 + 1000
    limit = PieceLimit(config, sources[0], 2001)
    limit.add(20, {"b": 15, "a": 5})
    with pytest.raises(FunnelError) as raised:
        limit.add(2, {"c": 1})
    assert str(raised.value) == (
        "logs.impressions: 21 of the first 22 rows (of 0.jsonl) cannot be used, more than "
        "output.max_rejects = 0.01 allows in all (b: 15, a: 5, c: 1); fix the log or the "
        "declaration, or allow more"
    )
    assert most_rows(*limited(tmp_path, 0.01, [240], "jsonl.gz"), "impressions") == 1001
    assert most_rows(*limited(tmp_path, 0.01, [240], "parquet"), "impressions") == math.inf


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_stream_stops_at_the_same_piece_in_any_order(tmp_path, order):
    config, sources = limited(tmp_path, 0.1, [1, 1, 1])
    (tmp_path / MARKERS).mkdir()
    limit = StreamLimit(config, sources, "impressions", tmp_path)
    for number in range(3):
        mark_done(tmp_path, f"cut-{number}-1", json.dumps([100]))
    for number in order:
        counts = {"rows": 50, "rejected": {"bad": [16, 6, 50][number]}}
        mark_done(tmp_path, f"read-{number}-0", json.dumps(counts))
        limit.check()  # 16 of at most 250 rows, 22 of at most 200
    with pytest.raises(FunnelError, match=r"22 of the first 100 rows \(up to 1.jsonl\) cannot be"):
        raise_first(tmp_path)


def test_a_bad_beginning_ends_no_job_that_its_rest_saves(tmp_path):
    lines = ["[]"] * 50 + [impression(str(i), T0 + i) for i in range(1000)]
    write_jsonl(tmp_path / "impressions.jsonl", lines)
    write_jsonl(tmp_path / "clicks.jsonl", [end_of(T0 + 999)])
    write_jsonl(tmp_path / "conversions.jsonl", [])
    config = make_config(tmp_path, output={"max_rejects": 0.05})
    assert preprocess(config, tmp_path / "data")["rows"]["rejected"] == 50
    config = make_config(tmp_path, output={"max_rejects": 0.047})
    with pytest.raises(FunnelError, match=r"impressions: 50 of 1050 rows cannot be used"):
        preprocess(config, tmp_path / "data")


def test_a_job_stops_while_it_reads(tmp_path, monkeypatch):
    from pipeline.sources.formats import lines as text

    monkeypatch.setattr(text, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(text, "HEAD_BYTES", 4096)
    write_jsonl(tmp_path / "impressions.jsonl", [impression("a", T0), *(["[1, 2, 3, 4]"] * 5000)])
    write_jsonl(tmp_path / "clicks.jsonl", [end_of(T0 + 999)])
    write_jsonl(tmp_path / "conversions.jsonl", [])
    config = make_config(tmp_path, output={"max_rejects": 0.01})
    assert next(source.size for source in find_sources(config)) > 60_000
    with pytest.raises(
        FunnelError, match=r"3[01]\d of the first 3[01]\d rows \(of .*impressions.jsonl\)"
    ):
        preprocess(config, tmp_path / "data")

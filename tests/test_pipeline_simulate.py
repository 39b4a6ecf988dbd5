"""pipeline.simulation.simulate: the truth has the set effects, and the files hold exactly what
simulation.json counts.
"""

import csv
import gzip
import hashlib
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import FunnelError
from pipeline.simulation import files
from pipeline.simulation.config import STREAMS, SimulateConfig
from pipeline.simulation.files import impression_ids
from pipeline.simulation.simulate import simulate
from pipeline.simulation.world import World, logits, nearest_center, solve_intercept

SMALL = {
    "impressions": 6_000,
    "users": 300,
    "items": 100,
    "days": 6,
    "ctr": 0.3,
    "cvr": 0.3,
    "malformed": 0.02,
    "seed": 7,
}
DEFECTS = {"late": 0.05, "duplicates": 0.03, "orphans": 0.04}
COLUMNS = {
    "impression_id": pa.string(),
    "ts": pa.timestamp("us", "UTC"),
    "user_id": pa.string(),
    "user_segment": pa.string(),
    "country": pa.string(),
    "user_age": pa.int64(),
    "item_id": pa.int64(),
    "category": pa.string(),
    "advertiser_id": pa.string(),
    "tags": pa.list_(pa.string()),
    "price": pa.float64(),
    "device_type": pa.string(),
    "position": pa.int64(),
}


def make(path, **options):
    """(counts, truth) of a simulation at path/logs."""
    counts = simulate(SimulateConfig.parse(SMALL | options, "simulate"), path / "logs")
    return counts, pq.read_table(path / "logs/truth.parquet")


def column(table, name):
    return table[name].to_numpy()


def read_rows(path):
    """(rows as dictionaries of text or values, number of rows that cannot be read) of one file,
    without Arrow where it is text.
    """
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        return [r for r in rows if r["impression_id"] and r["ts"]], sum(
            not (r["impression_id"] and r["ts"]) for r in rows
        )
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.split(b"\n")
    assert lines.pop() == b""
    header = lines.pop(0).decode().split(",") if ".csv" in path.name else None
    rows = [parse_line(line, header) for line in lines]
    return [row for row in rows if row], rows.count(None)


def parse_line(line, header):
    """A row with its time parsed, or None if anything at all is wrong with the line."""
    try:
        text = line.decode()
        row = (
            dict(zip(header, next(csv.reader(io.StringIO(text))), strict=True))
            if header
            else json.loads(text)
        )
        assert row["impression_id"]
        assert row["ts"].endswith("Z")
        assert "T" in row["ts"]
        return row | {"ts": datetime.fromisoformat(row["ts"])}
    except (ValueError, AssertionError):
        return None


def read_stream(root, stream):
    """All rows of a stream, and its number of malformed ones. Each row lies in its own day's file,
    ordered by time.
    """
    good, bad = [], 0
    for path in sorted((root / stream).glob("*/*")):
        rows, malformed = read_rows(path)
        times = [row["ts"] for row in rows]
        assert times == sorted(times)
        assert {t.date().isoformat() for t in times} <= {path.parent.name}
        good += rows
        bad += malformed
    return good, bad


def test_logits_golden():
    config = SimulateConfig(correlation=0.6, selection=0.5, signal=2.0)
    values = {
        "a": 1.0,
        "b": -1.0,
        "hidden": 2.0,
        "position": np.exp(2.0),
        "hour": 20.0,
        "log_price": 3.8,
    }
    click = (
        2 * 1 + 0.5 * 2 - 0.5 * 2 + 0.3 * 1
    )  # signal·a + selection·ε − ½·ln(position) + 0.3·cos(0)
    convert = (
        2 * (0.6 * 1 + 0.8 * -1) + 0.5 * 2 - 0.4 * 1
    )  # signal·(ρ·a + √(1 − ρ²)·b) + selection·ε − 0.4·(3.8 − 3)/0.8
    np.testing.assert_allclose(logits(config, **values), [click, convert], rtol=1e-12)


def test_intercept_golden():
    assert solve_intercept(np.zeros(3), 0.2) == pytest.approx(np.log(0.2 / 0.8))  # σ(α) = 0.2
    assert solve_intercept(np.array([-1.0, 1.0]), 0.5) == pytest.approx(0)  # by symmetry


def test_nearest_center_golden():
    centers = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert nearest_center(np.array([[1.0, 1.0], [2.0, 3.0]]), centers).tolist() == [
        0,
        1,
    ]  # 2 < 13 and 13 > 2


def test_ids_are_splitmix64():
    assert impression_ids(np.array([0]), 0).to_pylist() == [
        "e220a8397b1dcdaf"
    ]  # its published first output
    assert len(set(impression_ids(np.arange(10_000), 3).to_pylist())) == 10_000


def test_affinities_are_standard_and_uncorrelated():
    world = World(SimulateConfig())
    rng = np.random.default_rng(0)
    shown = world.show(rng, np.zeros(100_000, np.int64))
    z = (world._raw_affinities(shown) - world.mean) @ world.whiten
    np.testing.assert_allclose(z.mean(0), [0, 0], atol=0.03)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.03)


def test_rates_are_near_their_targets(tmp_path):
    _, truth = make(tmp_path, impressions=40_000, ctr=0.08, cvr=0.15)
    assert column(truth, "p_click").mean() == pytest.approx(0.08, abs=0.003)
    assert column(truth, "p_convert_given_click").mean() == pytest.approx(0.15, abs=0.004)
    assert column(truth, "clicked").mean() == pytest.approx(
        column(truth, "p_click").mean(), abs=0.005
    )  # sd .0014
    assert column(truth, "converts").mean() == pytest.approx(
        column(truth, "p_convert_given_click").mean(), abs=0.007
    )  # sd .0018


@pytest.mark.parametrize(("correlation", "sign"), [(-0.9, -1), (0.0, 0), (0.9, 1)])
def test_correlation(tmp_path, correlation, sign):
    """With neither correlation nor selection, the clicked convert like the rest; else as ρ says."""
    _, truth = make(
        tmp_path, impressions=40_000, users=5_000, items=2_000, correlation=correlation, selection=0
    )
    p, clicked = column(truth, "p_convert_given_click"), column(truth, "clicked") == 1
    gap = p[clicked].mean() - p[~clicked].mean()
    assert abs(gap) < 0.015 if sign == 0 else gap * sign > 0.1


def test_selection_acts_at_fixed_features():
    """E[p(convert | click)·p(click)] / E[p(click)] over ε alone, one user, item, position and hour:
    more than E[p(convert | click)].
    """
    hidden = np.random.default_rng(0).standard_normal(100_000)
    gaps = []
    for selection in (0.0, 0.5, 1.0):
        fixed = {"a": 0.3, "b": 0.1, "position": 2, "hour": 12, "log_price": 3.0}
        click, convert = (
            1
            / (1 + np.exp(1 - logits(SimulateConfig(selection=selection), hidden=hidden, **fixed)))
        ).T
        gaps.append((click * convert).mean() / click.mean() - convert.mean())
    assert gaps[0] == pytest.approx(0, abs=1e-9)
    assert 0.01 < gaps[1] < gaps[2]


def test_selection_shows_in_the_logs(tmp_path):
    _, truth = make(
        tmp_path, impressions=40_000, users=5_000, items=2_000, correlation=0, selection=1
    )
    p, clicked = column(truth, "p_convert_given_click"), column(truth, "clicked") == 1
    assert p[clicked].mean() > p[~clicked].mean() + 0.05


@pytest.mark.parametrize(
    ("name", "compress"),
    [("parquet", False), ("jsonl", False), ("jsonl", True), ("csv", False), ("csv", True)],
)
def test_files_hold_what_is_counted(tmp_path, monkeypatch, name, compress):
    monkeypatch.setattr(
        "pipeline.simulation.simulate.PART_ROWS", 400
    )  # 1000 impressions a day: three parts
    monkeypatch.setattr(files, "PART_ROWS", 200)
    counts, truth = make(tmp_path, format=name, compress=compress, **DEFECTS)
    root = tmp_path / "logs"
    assert json.loads((root / "simulation.json").read_text()) == counts
    assert len(list((root / "impressions/2026-11-01").iterdir())) == 3

    outcomes = {r["impression_id"]: r for r in truth.to_pylist()}
    assert len(outcomes) == len(truth) == 6_000
    rows = {stream: read_stream(root, stream) for stream in STREAMS}
    for stream, (good, bad) in rows.items():
        count = counts[stream]
        orphans = sum(row["impression_id"] not in outcomes for row in good)
        copies = Counter(row["impression_id"] for row in good)
        assert count["malformed"] == bad > 0
        assert count.get("orphans", 0) == orphans
        assert count["duplicates"] == len(good) - len(copies) > 0
        assert count["true"] == len(copies) - orphans
        assert count["rows"] == len(good) + bad
    assert counts["impressions"]["true"] == 6_000
    check_events(counts, outcomes, *(first_times(good) for good, _ in rows.values()))


def first_times(rows):
    return {row["impression_id"]: row["ts"] for row in reversed(rows)}


def check_events(counts, outcomes, shown, clicks, conversions):
    """Clicks after impressions, conversions after clicks, late ones counted, and the truth's
    outcomes where they are logged.
    """
    gaps = {
        "clicks": [t - shown[i] for i, t in clicks.items() if i in outcomes],
        "conversions": [t - clicks[i] for i, t in conversions.items() if i in outcomes],
    }
    for stream, delays in gaps.items():
        assert min(delays) > timedelta(0)
        assert counts[stream]["late"] == sum(delay >= timedelta(days=4) for delay in delays) > 0
        assert counts[stream]["after_the_end"] > 0
    clicked = {i for i, row in outcomes.items() if row["clicked"]}
    converted = {i for i in clicked if outcomes[i]["converts"]}
    assert clicks.keys() & outcomes.keys() <= clicked
    assert conversions.keys() & outcomes.keys() <= converted
    assert len(clicked) == counts["clicks"]["true"] + counts["clicks"]["after_the_end"]
    assert len(converted) == counts["conversions"]["true"] + counts["conversions"]["after_the_end"]


def test_delays_have_their_means(tmp_path):
    make(
        tmp_path,
        late=0,
        click_delay="60s",
        conversion_delay="2h",
        format="jsonl",
        compress=False,
        malformed=0,
        orphans=0,
    )
    shown, clicks, conversions = (
        first_times(read_stream(tmp_path / "logs", stream)[0]) for stream in STREAMS
    )
    assert np.mean([(t - shown[i]).total_seconds() for i, t in clicks.items()]) == pytest.approx(
        60, rel=0.15
    )  # 1800 clicks: sd 2.4 %
    assert np.mean(
        [(t - clicks[i]).total_seconds() for i, t in conversions.items()]
    ) == pytest.approx(7200, rel=0.2)


def test_columns_and_values(tmp_path):
    make(tmp_path, malformed=0)
    root = tmp_path / "logs"
    assert sorted(p.relative_to(root).as_posix() for p in root.glob("*/2026-11-02/*")) == [
        "clicks/2026-11-02/part-00000.jsonl.gz",
        "conversions/2026-11-02/part-00000.csv",
        "impressions/2026-11-02/part-00000.parquet",
    ]
    table = pa.concat_tables([pq.read_table(p) for p in sorted(root.glob("impressions/*/*"))])
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == COLUMNS
    assert any(not name.isascii() for name in table["country"].unique().to_pylist())
    assert {len(tags) for tags in table["tags"].to_pylist()} == {0, 1, 2, 3, 4}
    assert 0 < table["user_age"].null_count < len(table) / 3
    assert set(table["position"].to_pylist()) == set(range(1, 11))
    assert all(table[name].null_count == 0 for name in COLUMNS if name != "user_age")


def test_text_says_the_same_as_parquet(tmp_path):
    for name in ("parquet", "jsonl", "csv"):
        simulate(SimulateConfig(**SMALL | {"malformed": 0}, format=name), tmp_path / name)
    parquet, jsonl, lines = (
        read_stream(tmp_path / name, "impressions")[0] for name in ("parquet", "jsonl", "csv")
    )
    assert jsonl == parquet
    as_text = [
        row | {"tags": "|".join(row["tags"]), "user_age": row["user_age"] or ""} for row in parquet
    ]
    assert [row | {"price": float(row["price"])} for row in lines] == [
        {k: v if k in ("ts", "price") else str(v) for k, v in row.items()} for row in as_text
    ]


def test_malformed_lines_take_turns(tmp_path):
    make(tmp_path, format="csv", duplicates=0, orphans=0)
    lines = b"".join(
        p.read_bytes() for p in sorted((tmp_path / "logs/impressions").glob("*/*"))
    ).splitlines()
    found = {
        "columns": sum(line.count(b",") == 14 for line in lines),
        "utf8": sum(b"\xff" in line for line in lines),
        "time": sum(b"2026-02-30T25:61:00Z" in line for line in lines),
        "id": sum(line.startswith(b",") for line in lines),
    }
    assert max(found.values()) - min(found.values()) <= 1
    assert min(found.values()) > 10


def test_a_day_without_events_has_an_empty_file(tmp_path):
    counts, _ = make(tmp_path, impressions=3, days=2, ctr=1e-9, trailing="12h")
    assert counts["clicks"]["rows"] == counts["conversions"]["rows"] == 0
    assert [read_rows(p) for p in sorted((tmp_path / "logs").glob("c*/*/*"))] == [
        ([], 0)
    ] * 6  # 2.5 days: 3 files each


def digests(root):
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*")
        if p.is_file()
    }


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        simulate(SimulateConfig(**SMALL | {"seed": seed}), tmp_path / name)
    one, two, other = (digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one)
    assert (tmp_path / "one/clicks/2026-11-01/part-00000.jsonl.gz").read_bytes()[4:8] == bytes(
        4
    )  # gzip's own time stamp


def test_progress_ends_at_the_total(tmp_path):
    seen = []
    simulate(
        SimulateConfig(**SMALL), tmp_path / "logs", on_progress=lambda *state: seen.append(state)
    )
    assert seen == [(1000 * day, 6_000) for day in range(1, 7)]


def test_existing_out_is_refused_unless_overwritten(tmp_path):
    config = SimulateConfig(**SMALL)
    simulate(config, tmp_path / "logs")
    with pytest.raises(FunnelError, match=r"logs exists: choose another directory, or overwrite"):
        simulate(config, tmp_path / "logs")
    (tmp_path / "logs/stale").touch()
    simulate(config, tmp_path / "logs", overwrite=True)
    assert not (tmp_path / "logs/stale").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(
        FunnelError, match=r"mine holds no simulation\.json: only a simulation is overwritten"
    ):
        simulate(config, tmp_path / "mine", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs", "mine"]


def test_a_failed_run_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SimulateConfig(**SMALL), tmp_path / "logs", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clik_delay": "3s"}, r"simulate.*unknown key 'clik_delay': did you mean 'click_delay'\?"),
        ({"format": "xml"}, r"simulate\.format = 'xml': .*'parquet', 'jsonl' or 'csv'"),
        (
            {"format": {"click": "csv"}},
            r"simulate\.format.*unknown key 'click': did you mean 'clicks'\?",
        ),
        ({"ctr": 0}, r"simulate\.ctr = 0: .*greater than 0"),
        ({"correlation": 1.5}, r"simulate\.correlation = 1\.5: .*less than or equal to 1"),
        ({"late_by": "soon"}, r"simulate\.late_by = 'soon': must be a whole number and a unit"),
    ],
)
def test_bad_configuration(options, message):
    with pytest.raises(FunnelError, match=message):
        SimulateConfig.parse(options, "simulate")


def test_formats_for_all_or_by_stream():
    assert set(SimulateConfig(format="csv").format.model_dump().values()) == {"csv"}
    assert SimulateConfig(format={"clicks": "csv"}).format.model_dump() == {
        "impressions": "parquet",
        "clicks": "csv",
        "conversions": "csv",
    }


def test_times_start_at_the_given_day(tmp_path):
    make(tmp_path, start="2027-02-27", days=3, malformed=0)
    times = [row["ts"] for row in read_stream(tmp_path / "logs", "impressions")[0]]
    assert datetime(2027, 2, 27, tzinfo=UTC) <= min(times)
    assert max(times) < datetime(2027, 3, 2, tzinfo=UTC)

"""Every option of preprocessing changes a byte of what it writes, or ends the job: spec.json and
manifest.json, which repeat the configuration, do not count.
"""

import json

import pytest
from direct_job import preprocess_directly
from effects import changed, differs, digest

from features.errors import FunnelError
from funnel.config.config import load
from pipeline.output.require import Require, Warned, check_required
from pipeline.plan import make_plan

T0, HOUR = 1_790_000_000, 3600  # 2026-09-21
STREAM = {"id": "id", "time": "ts"}
SECTIONS = {
    "logs": {
        "impressions": STREAM
        | {
            "files": "imp.jsonl",
            "lookups": {"shops": {"files": "shops.data", "key": "shop", "format": "csv"}},
        },
        "clicks": STREAM | {"files": "clicks.jsonl", "key": "click_id"},
        "carts": STREAM | {"files": "carts.jsonl"},
        "orders": STREAM | {"files": "orders.jsonl"},
        "visits": {"files": "visits.jsonl", "id": "ref", "time": "ts", "via": "clicks"},
    },
    "labels": {
        "click": {"event": "clicks", "within": "30m"},
        "cart": {"event": "carts", "within": "1h"},
        "order": {"event": "orders", "within": "20m", "after": "click"},
        "visit": {"event": "visits", "within": "1h", "after": "click"},
        "spent": {"event": "orders", "within": "2h", "value": "amount", "take": "sum"},
        "good": {"column": "grade", "equals": "good"},
        "cost": {"value": "cost"},
    },
    "features": {
        "user": {"kind": "categorical", "buckets": 50},
        "city": {"kind": "categorical", "buckets": 50},
    },
    "tasks": {"ctr": {"label": "click"}},
    "split": {"eval": {"fraction": 0.5}},
    "output": {"shards": 2, "max_rejects": 1.0},
}
IMPRESSIONS, CLICKS = "logs.impressions", "logs.clicks"
SHOPS = f"{IMPRESSIONS}.lookups.shops"
JOB = {
    "Stream.files": {f"{IMPRESSIONS}.files": ["imp.jsonl", "imp2.jsonl"]},
    "Stream.id": {f"{IMPRESSIONS}.id": "id2"},
    "Stream.time": {f"{IMPRESSIONS}.time": "ts2"},
    "Stream.format": {f"{CLICKS}.format": "csv"},
    "Stream.key": {f"{CLICKS}.key": "other_id"},
    "Stream.via": {"logs.visits.via": None, f"{CLICKS}.key": None},
    "Stream.slack": {f"{CLICKS}.slack": "1m"},
    "Stream.touch": {"logs.orders.touch": "last"},
    "Lookup.files": {f"{SHOPS}.files": "shops2.data"},
    "Lookup.key": {f"{SHOPS}.key": "shop2"},
    "Lookup.on": {f"{SHOPS}.on": "other_shop"},
    "Lookup.format": {f"{SHOPS}.format": "jsonl"},
    "Lookup.separator": {f"{SHOPS}.separator": "|"},
    "Lookup.missing": {f"{SHOPS}.missing": ["Paris"]},
    "EventLabel.event": {"labels.click.event": "carts"},
    "EventLabel.within": {"labels.order.within": "2h"},
    "EventLabel.after": {"labels.order.after": "cart"},
    "EventLabel.take": {"labels.spent.take": "max"},
    "EventLabel.value": {"labels.spent.value": "count"},
    "EventLabel.of": {"labels.spent.of": "count"},
    "EventLabel.at_least": {"labels.spent.at_least": 7},
    "EventLabel.clip": {"labels.spent.clip": [0, 3]},
    "EventLabel.transform": {"labels.spent.transform": "log1p"},
    "ColumnLabel.column": {"labels.good.column": "other_grade"},
    "ColumnLabel.equals": {"labels.good.equals": ["good", "fair"]},
    "ValueLabel.value": {"labels.cost.value": "price"},
    "ValueLabel.of": {"labels.cost.of": "price"},
    "ValueLabel.at_least": {"labels.cost.at_least": 2},
    "ValueLabel.clip": {"labels.cost.clip": [0, 2]},
    "ValueLabel.transform": {"labels.cost.transform": "log1p"},
    "Eval.last": {"split.eval": {"last": "6h"}},
    "Eval.fraction": {"split.eval.fraction": 0.2},
    "Eval.files": {"split.eval": {"files": "imp2.jsonl"}},
    "Eval.by": {"split.eval.by": "user"},
    "Split.immature": {"split.immature": "keep"},
    "Split.logs_end": {"split.logs_end": "2026-09-22T00:00:00Z"},
    "Sampling.negatives": {"sampling.negatives": 0.3},
    "Output.layout": {"output.layout": "columns"},
    "Output.compression": {"output.compression": "gzip"},
    "Output.shards": {"output.shards": 3},
    "Output.max_rejects": {"output.max_rejects": 0.001},
    "Require.eval_positives": {"output.require.eval_positives": True},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A counter of folders, so that nothing is written twice to one."""
    root = tmp_path_factory.mktemp("effects")
    return lambda: root / str(sum(1 for _ in root.iterdir()))


def write(path, rows):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two days of impressions, one an hour, and events of every third to sixth."""
    folder = tmp_path_factory.mktemp("logs")
    shown = [
        {
            **{"id": f"i{n}", "id2": f"i{n + n % 2}", "ts": T0 + n * HOUR, "ts2": T0},
            **{"user": f"u{n % 5}", "shop": f"s{n % 2}", "other_shop": "s1"},
            **{"grade": ["good", "fair", "bad"][n % 3], "other_grade": "good"},
            **{"cost": n % 4, "price": 1 + n % 3},
        }
        for n in range(48)
    ]
    write(folder / "imp.jsonl", [*shown, {"id": "none"}])  # without a time: a reject
    write(folder / "imp2.jsonl", [row | {"id": f"j{n}"} for n, row in enumerate(shown[:9])])

    def events(after, every, **columns):
        return [
            {"id": f"i{n}", "ts": T0 + n * HOUR + after} | {k: v + n for k, v in columns.items()}
            for n in range(0, 48, every)
        ]

    clicks = [
        row | {"click_id": f"c{row['id']}", "other_id": f"ci{int(row['id'][1:]) + 3}"}
        for row in [*events(60, 3), *events(1700, 6), *events(-30, 5)]
    ]
    write(folder / "clicks.jsonl", clicks)
    write(folder / "carts.jsonl", events(1000, 4))
    write(
        folder / "orders.jsonl",
        events(1900, 3, amount=1, count=2) + events(1950, 6, amount=2, count=1),
    )
    write(
        folder / "visits.jsonl", [{"ref": f"c{e['id']}", "ts": e["ts"] + 90} for e in events(60, 3)]
    )
    (folder / "shops.data").write_text("shop,shop2,city,city|x\ns0,s1,Paris,1\ns1,s0,Rome,2\n")
    (folder / "shops2.data").write_text("shop,city\ns0,Oslo\ns1,Rome\n")
    for day, name in enumerate(("2026-09-21", "2026-09-22", "2026-09-23")):
        for stream in ("imp", "clicks", "carts", "orders", "visits"):
            (folder / name).mkdir(exist_ok=True)
            rows = [
                json.loads(line) for line in (folder / f"{stream}.jsonl").read_text().splitlines()
            ]
            due = [r for r in rows if "ts" in r and (r["ts"] - T0) // (16 * HOUR) == day]
            write(folder / name / f"{stream}.jsonl", due)
    return folder


def job(made, folder, monkeypatch):
    """Sections → what a job writes, or the error that ends it."""
    monkeypatch.chdir(folder)

    def observe(sections):
        out = made()
        try:
            preprocess_directly(load(sections | {"run": "run"}).preprocess, out)
        except FunnelError as error:
            return str(error)
        fitted = (out / "fitted.json").read_bytes()
        return fitted, digest(out / "train"), digest(out / "eval")

    return observe


@pytest.mark.parametrize("option", JOB)
def test_a_job(made, logs, monkeypatch, option):
    differs(job(made, logs, monkeypatch), SECTIONS, JOB[option])


@pytest.mark.parametrize("kind", Require.model_fields)
def test_a_kind_of_warning_that_is_required(kind):
    def outcome(sections):
        try:
            required = load(sections | {"run": "run"}).preprocess.output.require
            check_required(required, [Warned("line", (kind,))])
        except FunnelError as error:
            return str(error)

    differs(outcome, SECTIONS, {"output.require": {kind: True}})


@pytest.mark.parametrize("dates", ["2026-09-21..2026-09-22", "2026-09-22..2026-09-23"])
def test_dates(made, logs, monkeypatch, dates):
    base = changed(SECTIONS, {"dates": "2026-09-21..2026-09-23"})
    for stream, declared in SECTIONS["logs"].items():
        base = changed(base, {f"logs.{stream}.files": f"*/{declared['files']}"})
    differs(job(made, logs, monkeypatch), base, {"dates": dates})


def test_shard_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "imp.jsonl", [{"id": "x" * 1000, "user": "u"}] * 1100)  # 1.1 MB
    base = {
        "run": "run",
        "logs": {"table": {"files": "imp.jsonl", "id": "id"}},
        "labels": {"good": {"column": "user"}},
        "features": {"user": {"kind": "categorical", "column": "id", "buckets": 50}},
        "tasks": {"good": {"label": "good"}},
    }
    differs(lambda s: make_plan(load(s).preprocess).shards, base, {"output.shard_input": 1 << 20})


def test_where_a_simulation_writes():
    config = {"run": "runs/x", "simulate": {}, **{k: v for k, v in SECTIONS.items() if k != "logs"}}
    differs(lambda sections: load(sections).logs, config, {"simulate.out": "elsewhere"})


OPTIONS = {*JOB, "SimulateConfig.out", "Dates.first", "Dates.last", "Output.shard_input"}
OPTIONS |= {f"Require.{kind}" for kind in Require.model_fields}

"""pipeline.output.label_warnings: one line for each label and task that cannot be learned or
measured, with its cause.
"""

import json

import pyarrow as pa
import pytest
from pipeline_logs import make_config, write_jsonl

from features.fitted import Outcome
from pipeline.job import preprocess
from pipeline.labeling.labels import CUTS, Early
from pipeline.output.label_warnings import fold_early, label_warnings, task_warnings
from pipeline.output.results import PartitionResult
from pipeline.output.warnings import rate_warnings
from pipeline.rows.batch import Batch
from pipeline.statistics.label_texts import LabelTexts, fold_texts, label_texts, shown
from pipeline.statistics.streams import StreamCounts

CUT = (
    'events that were cut to a coarser unit look like this; set logs.clicks.slack = "1s", or log '
    "both times in the same unit"
)
NEITHER = {"positive": 0, "negative": 40, "unknown": 0}
BOTH = {"positive": 20, "negative": 20, "unknown": 0}
KINDS = ("matched", "duplicate", "too_early", "late", "missing", "without_parent", "orphan")


def early_of(longest, *cut):
    """The longest time, and the number of events cut to a second, a minute, an hour and a day; the
    last number goes for all longer units.
    """
    return Early(longest, dict(zip(CUTS, [*cut, *[cut[-1]] * 3][:4], strict=True)))


def lines(label, counts=NEITHER, events=(), early=(0, 0), texts=None):
    """The warnings about one label of clicks or of the rows."""
    config = make_config("x", labels={"click": label}, tasks={"ctr": {"label": "click"}})
    rows = StreamCounts("impressions", texts={"click": texts} if texts else {})
    found = label_warnings(
        config,
        {"click": dict.fromkeys(KINDS, 0) | dict(events)},
        {"click": early_of(*early)},
        {"impressions": rows},
        {"train": {"click": counts}},
    )
    return [one.line for one in found]


CLICK = {"event": "clicks", "within": "30m"}
NONE = "labels.click: no row of the training split is positive (40 negative): "


@pytest.mark.parametrize(
    ("events", "early", "cause"),
    [
        ({}, (0, 0), "logs.clicks has no event that could be read"),
        (
            {"too_early": 7, "orphan": 1},
            (36_000_000_000, 0, 0, 0, 7),
            "none of the 8 events of logs.clicks matched, 7 too_early (by 10 h at most), 1 orphan; "
            + CUT.replace("1s", "1d"),
        ),
        (
            {"too_early": 20},
            (456, 20),
            "none of the 20 events of logs.clicks matched, 20 too_early (by 0.456 ms at most); "
            + CUT,
        ),
        (
            {"too_early": 1020, "orphan": 3},
            (32_400_000_000, 0),
            "none of the 1,023 events of logs.clicks matched, 1,020 too_early (by 9 h at most), "
            "3 orphan; compare the clocks and time zones of both logs",
        ),
        (
            {"orphan": 5},
            (0, 0),
            "none of the 5 events of logs.clicks matched, 5 orphan; compare the id columns of both "
            "logs",
        ),
        ({"matched": 2}, (0, 0), "the rows of the 2 events that matched are not in that split"),
    ],
)
def test_a_label_from_events_without_a_positive(events, early, cause):
    assert lines(CLICK, events=events, early=early) == [NONE + cause]


@pytest.mark.parametrize(
    ("label", "texts", "cause"),
    [
        (
            {"column": "liked"},
            LabelTexts(0, ("0.0", "1.0")),
            "no row's `liked` equals '1'; its values are '0.0', '1.0'",
        ),
        (
            {"column": "liked", "equals": ["yes", "y"]},
            LabelTexts(0, ()),
            "no row's `liked` equals 'yes' or 'y'; it has no value",
        ),
        ({"column": "liked"}, LabelTexts(3, ()), "all rows whose `liked` equals '1' are elsewhere"),
        ({"value": "seen", "at_least": 5}, None, "no number of column 'seen' reaches 5 there"),
        (
            CLICK | {"value": "s", "at_least": 9},
            None,
            "no number of its events reaches at_least = 9",
        ),
    ],
)
def test_a_label_from_a_column_or_a_number_without_a_positive(label, texts, cause):
    assert lines(label, texts=texts, events={"matched": 1}) == [NONE + cause]


def test_a_label_with_one_class():
    only = {"positive": 1200, "negative": 0, "unknown": 3}
    assert lines(CLICK, only, {"matched": 1200}) == [
        "labels.click: no row of the training split is negative (1,200 positive, 3 unknown): "
        "nothing can be learned from it; check its declaration and that the log has all impressions"
    ]
    number = {"value": "seen"}
    assert lines(number, only) == []  # no number is 0
    assert lines(number) == [
        "labels.click: no row of the training split is above 0 (40 negative): no number of column "
        "'seen' is above 0 there"
    ]
    assert lines(CLICK, BOTH, {"matched": 20}) == []


def test_events_that_are_cut_to_a_coarser_unit():
    some = {"matched": 95, "too_early": 5}
    assert lines(CLICK, BOTH, some, (900_000, 3)) == [
        "labels.click: 3 of the 100 events of logs.clicks are too_early by less than a second: "
        + CUT
    ]
    assert lines(CLICK, BOTH, some, (900_000_000, 2)) == []  # most are earlier than that
    assert lines(CLICK, BOTH, {"matched": 997, "too_early": 3}, (9, 3)) == []  # below 1 %
    assert lines(CLICK, BOTH, some, (80_000_000_000, 0, 0, 2, 5)) == [
        "labels.click: 5 of the 100 events of logs.clicks are too_early by less than a day, at "
        "whole days: " + CUT.replace("1s", "1d")
    ]
    assert lines(CLICK, BOTH, some, (3_000_000_000, 0, 2, 3))[0].count('slack = "1h"') == 1
    assert "less than an hour, at whole hours: " in lines(CLICK, BOTH, some, (9, 0, 2, 3))[0]


def test_how_early_events_are_is_folded_over_partitions():
    parts = [
        PartitionResult(n, {}, {"click": early_of(*early)}, {}, None)
        for n, early in enumerate([(5, 1, 2, 3, 4), (900, 2, 2, 2, 2), (0, 0)])
    ]
    assert fold_early(parts) == {"click": early_of(900, 3, 4, 5, 6)}


def test_the_texts_of_a_column():
    label = {"column": "r", "equals": "1"}
    spec = make_config("x", labels={"like": label}, tasks={"t": {"label": "like"}}).spec
    batches = [["1", "b", None, "a", "a"], ["g", "f", "e", "d", "c", "1"], [None]]
    parts = [
        label_texts(spec, Batch({"text:r": pa.array(own, pa.string())}, pa.nulls(0), len(own)))[
            "like"
        ]
        for own in batches
    ]
    assert parts[0] == LabelTexts(1, ("a", "b"))
    assert fold_texts(parts) == LabelTexts(2, ("a", "b", "c", "d", "e", "f"))
    assert shown(fold_texts(parts)) == "'a', 'b', 'c', 'd', 'e', …"
    assert shown(LabelTexts(0, ("\x1b[2J", "x" * 41))) == r"'\x1b[2J', '" + "x" * 40 + "…'"


def test_tasks_without_a_sample_space_or_positives():
    spec = make_config("x").spec  # ctr, and cvr given click
    labels = {"train": {"click": NEITHER, "convert": NEITHER}}
    labels["eval"] = {"click": {"positive": 20}, "convert": {"positive": 19}}
    few = (
        "tasks.cvr: the evaluation split has 19 rows with convert = 1, fewer than 20: its metrics "
        "are left to chance; evaluate on more rows"
    )
    states = [Outcome(states={"click": 0, "convert": 0}, rows=40, weight=40)]
    states += [Outcome(states={"click": 1, "convert": -1}, rows=2, weight=2)]
    assert [one.line for one in task_warnings(spec, labels, states)] == [
        "tasks.cvr: its sample space is empty: no row of the training split has click = 1 and a "
        "known convert",
        few,
    ]
    labels["train"] = {"click": BOTH, "convert": BOTH}
    states[1] = Outcome(states={"click": 1, "convert": 1}, rows=20, weight=20)
    assert [one.line for one in task_warnings(spec, labels, states)] == [
        "tasks.cvr: no row of its sample space in the training split is negative (20 rows have "
        "click = 1)",
        few,
    ]


def test_the_job_names_them_in_its_manifest(tmp_path):
    shown = [
        {
            "id": f"i{n}",
            "ts": f"2026-06-01T00:00:{n:02}.123456Z",
            "liked": f"{n % 2}.0",
            "user": "u",
        }
        for n in range(60)
    ]
    write_jsonl(tmp_path / "impressions.jsonl", shown)
    clicks = [{"id": row["id"], "ts": row["ts"].replace("456Z", "Z")} for row in shown[::3]]
    write_jsonl(tmp_path / "clicks.jsonl", clicks)
    logs = {
        stream: {"files": f"{tmp_path}/{stream}.jsonl", "id": "id", "time": "ts"}
        for stream in ("impressions", "clicks")
    }
    config = make_config(
        tmp_path,
        logs=logs,
        features={"user": {"kind": "categorical", "buckets": 10}},
        labels={"click": {"event": "clicks", "within": "10s"}, "like": {"column": "liked"}},
        tasks={"ctr": {"label": "click"}},
    )
    manifest = preprocess(config, tmp_path / "data")
    train = json.loads((tmp_path / "data" / "statistics.json").read_text())["rows"]["train"]
    assert manifest["warnings"] == [
        f"labels.click: no row of the training split is positive ({train} negative): none of the "
        f"20 events of logs.clicks matched, 20 too_early (by 0.456 ms at most); {CUT}",
        f"labels.like: no row of the training split is positive ({train} negative): no row's "
        "`liked` equals '1'; its values are '0.0', '1.0'",
        "tasks.ctr: the evaluation split has 0 rows with click = 1, fewer than 20: its metrics are "
        "left to chance; evaluate on more rows",
    ]


def day(rows, clicks, converted):
    """A day of statistics.json."""
    return {
        "labels": {
            "click": {"positive": clicks, "negative": rows - clicks, "unknown": 0},
            "convert": {"positive": converted, "negative": rows - converted, "unknown": 0},
        },
        "rates": {"click": clicks / rows, "convert": converted / clicks if clicks else None},
    }


@pytest.mark.parametrize(
    ("days", "warned"),
    [
        ([(1000, 30, 3), (1000, 90, 9)], ""),  # exactly a factor of 3
        ([(1000, 30, 3), (1000, 91, 9)], "click: its rate is 3 % on 06-01 and 9.1 % on 06-02"),
        ([(1000, 100, 9), (200, 0, 0)], "click: its rate is 10 % on 06-01 and 0 % on 06-02"),
        ([(1000, 100, 9), (199, 0, 0)], ""),  # 19.9 clicks would be usual
        ([(9000, 900, 90), (900, 90, 0)], ""),  # 9 conversions would be usual
        ([(9000, 900, 90), (9000, 900, 9)], "convert: its rate is 10 % on 06-01 and 1 % on 06-02"),
        (
            [(1000, 30, 3), (1000, 100, 9), (1000, 20, 2)],
            "click: its rate is 10 % on 06-02 and 2 % on 06-03",
        ),
        ([(1000, 30, 3)], ""),
        ([], ""),
    ],
)
def test_a_rate_that_moves_from_one_day_to_the_next(days, warned):
    spec = make_config("x").spec
    found = list(rate_warnings(spec, {f"06-{n + 1:02}": day(*own) for n, own in enumerate(days)}))
    remedy = (
        ", more than a factor of 3 apart; check that the logs of both days are whole and that the "
        "label means the same on both"
    )
    assert found == ([f"labels.{warned}{remedy}"] if warned else [])

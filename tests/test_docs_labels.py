"""docs/labels.md: every configuration on it runs on the same literal logs; its picture is computed
from the rows that it draws.
"""

import re
import runpy
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pipeline_logs import make_config, read_examples, write_jsonl

from pipeline.job import preprocess
from pipeline.labeling.join import Events
from pipeline.labeling.labels import DISPOSITIONS, label_events

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```toml\n(.*?)```", re.DOTALL)
T0, HOUR = 1_790_000_000, 3600
END = T0 + 30 * 24 * HOUR  # every window has closed
IMPRESSIONS = [
    # id, watched, reaction
    ("a", 57.0, "like"),
    ("b", 10.0, None),
    ("c", None, "share"),
    ("d", 0.0, "like"),
]
CLICKS = [
    # impression, seconds after it, click, seconds, length, user
    ("a", 60, "k1", 12.0, 60.0, "u1"),
    ("a", 120, "k2", 3.0, 6.0, "u1"),
    ("b", 2000, "k3", 40.0, 60.0, "u2"),
    ("c", 30, "k4", None, 60.0, "u1"),
]
CONVERSIONS = [
    # impression, seconds after it, click, amount, user
    ("a", 24 * HOUR + 100, "k2", 20.0, "u1"),
    ("a", 2 * HOUR, "k3", 5.0, "u2"),
    ("d", 100, "k9", 7.0, "u9"),
]
# What the page's configurations make of them: by the first label or key of each block, the labels
# of a, b, c, d.
EXPECTED = {
    "click, convert": [(1, 1), (0, 0), (1, 0), (0, 0)],
    "spent": [np.log1p(25), 0, 0, np.log1p(7)],
    "click, dwell": [(1, 12), (0, 0), (1, -1), (0, 0)],
    "read, half": [(1, 1), (0, 0), None, (0, 0)],  # both of c are unknown, so it is left out
    "finished, watched, liked": [
        (1, np.log1p(57), 1),
        (0, np.log1p(10), -1),
        (-1, -1, 0),
        (0, 0, 1),
    ],
    "click": [1, 0, 1, 0],
    "click, convert via click_id": [(1, 1), (0, 0), (1, 0), (0, 0)],
    "click, convert via user_id": [(1, 1), (0, 0), (1, 0), (0, 0)],
}


def blocks():
    return [tomllib.loads(block) for block in BLOCK.findall((DOCS / "labels.md").read_text())]


def title(block):
    via = block.get("logs", {}).get("conversions", {})
    return ", ".join(block["labels"]) + (f" via {via['id']}" if via else "")


def write_all(folder):
    times = {id_: T0 for id_, *_ in IMPRESSIONS}
    common = {"length": 60.0, "user": "u", "tags": [], "price": 1.0}
    rows = [
        {"impression_id": i, "ts": T0, "watched": w, "reaction": r, "user_id": f"u{i}"} | common
        for i, w, r in IMPRESSIONS
    ]
    fill = [rows[0] | {"impression_id": f"filler-{n}", "user_id": f"f{n}"} for n in range(20)]
    write_jsonl(folder / "logs/impressions.jsonl", rows + fill)
    names = ("click_id", "seconds", "length", "user_id")
    clicks = [
        {"impression_id": i, "ts": times[i] + t} | dict(zip(names, rest, strict=True))
        for i, t, *rest in CLICKS
    ]
    end = {"impression_id": "nobody", "ts": END, "amount": 1.0} | dict(
        zip(names, ("k0", 1.0, 1.0, "u0"), strict=True)
    )
    write_jsonl(folder / "logs/clicks.jsonl", [*clicks, end])
    names = ("click_id", "amount", "user_id")
    bought = [
        {"impression_id": i, "ts": times[i] + t} | dict(zip(names, rest, strict=True))
        for i, t, *rest in CONVERSIONS
    ]
    write_jsonl(folder / "logs/conversions.jsonl", [*bought, end])


def run_block(folder, block):
    """Every example of the job with the block's sections in place of the usual ones."""
    labels = block.get("labels", {"click": {"event": "clicks", "within": "30m"}})
    read = {"impressions"} | {label["event"] for label in labels.values() if "event" in label}
    streams = {
        n: {"files": f"logs/{n}.jsonl", "id": "impression_id", "time": "ts"}
        for n in ("impressions", "clicks", "conversions")
    }
    logs = block.get("logs", {n: s for n, s in streams.items() if n in read})
    binary = [n for n, label in labels.items() if "value" not in label or "at_least" in label]
    extra = {"numeric": {"kind": "numeric", "column": "price"}}
    tasks = {"t": {"label": binary[0]}} if binary else {"t": {"label": "anything"}}
    if not binary:
        labels = labels | {"anything": {"column": "reaction", "equals": "like"}}
    split = {"eval": {"fraction": 0.5}}
    if any("event" in label for label in labels.values()):
        split["logs_end"] = datetime.fromtimestamp(END, UTC).isoformat()
    sections = {"split": split | block.get("split", {})}
    sections |= {"sampling": block["sampling"]} if "sampling" in block else {}
    preprocess(
        make_config(folder, logs=logs, labels=labels, tasks=tasks, features=extra, **sections),
        folder / "data",
    )
    return read_examples(folder / "data")


@pytest.fixture
def logs(tmp_path, monkeypatch):
    write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", [b for b in blocks() if "labels" in b], ids=title)
def test_every_label_of_the_page(logs, block):
    rows = run_block(logs, block)
    for (id_, *_), expected in zip(IMPRESSIONS, EXPECTED[title(block)], strict=True):
        found = [float(rows[id_][name]) for name in block["labels"]] if id_ in rows else None
        assert found == (
            expected if expected is None else pytest.approx(list(np.ravel(expected)))
        ), id_


@pytest.mark.parametrize(
    "block", [b for b in blocks() if "labels" not in b], ids=lambda b: ", ".join(b)
)
def test_every_other_section_of_the_page(logs, block):
    rows = run_block(logs, block)
    assert {row["split"] for row in rows.values()} == {"train", "eval"}
    assert {row.get("weight", 1) for row in rows.values()} <= {1, 10}


def test_the_page_tells_every_disposition_and_nothing_that_is_not_run():
    assert all(f"`{kind}`" in (DOCS / "labels.md").read_text() for kind in DISPOSITIONS)
    assert {title(b) for b in blocks() if "labels" in b} == set(EXPECTED)


def test_the_picture_shows_what_the_program_computes(tmp_path):
    drawing = runpy.run_path(str(DOCS / "draw_timeline.py"))
    assert (DOCS / "timeline.svg").read_text() == drawing["draw"](), (
        "docs/timeline.svg is stale: python docs/draw_timeline.py"
    )
    minute, rows = 60_000_000, drawing["ROWS"]
    labels = {
        "click": {"event": "clicks", "within": f"{drawing['CLICK']}m"},
        "convert": {"event": "conversions", "within": f"{drawing['CONVERT']}m", "after": "click"},
    }
    drawn = {
        name: [(row, *event) for row, shown in enumerate(rows) for event in getattr(shown, name)]
        for name in ("clicks", "conversions")
    }
    events = {
        name: Events(np.array([e[0] for e in some]), np.array([e[1] for e in some]) * minute)
        for name, some in drawn.items()
    }
    times = np.array([row.time for row in rows]) * minute
    outcomes = label_events(
        make_config(tmp_path, labels=labels), times, events, drawing["LOGS_END"] * minute
    )
    for name, stream in (("click", "clicks"), ("convert", "conversions")):
        assert outcomes[name].value.tolist() == [getattr(row, name) for row in rows]
        kinds = [kind for _, _, kind in drawn[stream]]
        assert {kind: count for kind, count in outcomes[name].counts.items() if count} == {
            kind: kinds.count(kind) for kind in kinds
        }

"""Seeded random logs and configurations: cases for tests/naive_labels.py, written as files.

A case holds `logs` and `labels` with all their keys, the keys of [split] and [sampling], and `rows`
by stream. Times and durations are in µs. A row has its `file`; where it cannot be used, `fault` is
the column and the reason. The row is rejected if a label reads that column.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

Case = dict[str, Any]
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
T0 = 1_790_000_000 * SECOND
LABEL = {
    "stream": None, "within": 0, "after": None, "value": None, "of": None, "take": "first",
    "at_least": 0, "clip": (0, float("inf")), "transform": "none", "column": None, "equals": ["1"],
}  # fmt: skip
TAKES, TEXTS = ("first", "last", "sum", "max"), (None, "", "1", "like", "日本", "a,b")
USERS = (None, "", "u1", "u2", "ü3", "u4")
OUTPUT = {"shards": 1, "layout": "packed", "compression": "none", "max_rejects": 1.0}
EVAL = {"last": 0, "fraction": 0.5, "by": "id", "files": False}
PLAIN = {
    "eval": EVAL, "immature": "drop", "negatives": 1, "logs_end": None, "output": OUTPUT,
}  # fmt: skip
PLAIN_STREAM = {"via": None, "touch": "first", "slack": 0, "format": "jsonl", "time": "us"}
FORMATS = ("jsonl", "jsonl.gz", "csv", "parquet")


def make_case(seed: int) -> Case:
    """The case of a seed."""
    r = random.Random(seed)
    unit = r.choice((SECOND, 60 * SECOND, HOUR))
    own = "table" if r.random() < 0.1 else "impressions"
    case: Case = {"logs": _streams(r, own, unit), "labels": {}}
    for number in range(r.randint(1, 4)):
        case["labels"][f"l{number}"] = _label(r, case, own, unit)
    _drop_unread(case)
    case |= _options(r, unit)
    case["rows"] = _rows(r, case, own, unit)
    if r.random() < 0.2:
        case["logs_end"] = T0 + unit * r.randint(20, 200)
    if all(label["stream"] == own for label in case["labels"].values()):  # there is no window
        case["immature"] = "drop"
        case["logs_end"] = case["logs_end"] if case["eval"]["last"] else None
    return case


def _streams(r: random.Random, own: str, unit: int) -> dict[str, Any]:
    """All streams that a case may have, first that of the rows."""
    logs = {name: dict(PLAIN_STREAM) for name in (own, "clicks", "conversions", "carts")}
    for stream in logs.values():
        stream |= {"format": r.choice(FORMATS), "touch": r.choice(("first", "last"))}
        stream["time"] = r.choice(("s", "ms", "us", "iso", "zone"))
        stream["slack"] = r.choice((0, 0, SECOND, 2 * unit))
    if r.random() < 0.5:
        logs["conversions"]["via"] = "clicks"
    return logs


def _label(r: random.Random, case: Case, own: str, unit: int) -> dict[str, Any]:
    label, (_, *streams) = dict(LABEL), case["logs"]
    label["stream"] = own if r.random() < 0.2 else r.choice((*streams, "conversions"))
    label["stream"] = "clicks" if not case["labels"] and r.random() < 0.7 else label["stream"]
    if label["stream"] == own and r.random() < 0.5:
        equals = r.choice((["1"], ["like", "1"], ["日本"], ["no such text"]))
        return label | {"column": "text", "equals": equals}
    if label["stream"] != own:
        earlier = [n for n, one in case["labels"].items() if one["stream"] != own]
        via = case["logs"][label["stream"]]["via"]
        touched = [n for n in earlier if case["labels"][n]["stream"] == via]
        label["after"] = r.choice((None, *earlier, *touched, *touched))
        label["within"] = unit * r.choice((0, 1, 2, 3, 5, 8)) or unit
        label["within"] = 40 * DAY if r.random() < 0.03 else label["within"]
        parent = case["labels"].get(label["after"])
        if parent and parent["stream"] == label["stream"] and r.random() < 0.5:
            label["within"] = 0
    if label["stream"] == own or r.random() < 0.6:
        label |= {"value": "v", "of": r.choice((None, None, "of"))}
        label["take"] = r.choice(TAKES) if label["stream"] != own else "first"
        if r.random() < 0.4:
            label["at_least"] = r.choice((0.25, 1.0, 2.0, 5.0))
        else:
            label["clip"] = r.choice((LABEL["clip"], LABEL["clip"], (0, 2), (1, 3.5)))
            label["transform"] = r.choice(("none", "log1p"))
    return label


def _drop_unread(case: Case) -> None:
    """Removes streams that nothing reads, and options without effect."""
    logs, (own, *streams) = case["logs"], case["logs"]
    read = {label["stream"] for label in case["labels"].values()}
    for name in streams[::-1]:
        if name not in read and name not in {stream["via"] for stream in logs.values()}:
            del logs[name]
    for name in logs:
        after = any(x["after"] for x in case["labels"].values() if x["stream"] == name)
        if name == own or not (after or logs[name]["via"]):
            logs[name]["touch"] = "first"
        logs[name]["slack"] *= name != own


def _options(r: random.Random, unit: int) -> dict[str, Any]:
    evaluation = EVAL | {"fraction": 0}
    kind = r.choice(("last", "fraction", "by", "files"))
    if kind == "last":
        evaluation["last"] = unit * r.choice((2, 10, 30))
    elif kind == "files":
        evaluation["files"] = True
    else:
        evaluation |= {
            "fraction": r.choice((0.3, 0.5)),
            "by": "id" if kind == "fraction" else "user",
        }
    return {
        "eval": evaluation,
        "immature": r.choice(("drop", "keep")),
        "negatives": r.choice((1, 1, 0.5, 0.25)),
        "logs_end": None,
        "output": OUTPUT
        | {
            "shards": r.choice((1, 1, 2, 3)),
            "layout": r.choice(("packed", "columns")),
            "compression": r.choice(("none", "none", "gzip")),
        },
    }


def _rows(r: random.Random, case: Case, own: str, unit: int) -> dict[str, list[dict[str, Any]]]:
    units = r.choice((20, 60, 200))
    ids = [f"i{n}" for n in range(r.choice((6, 12, 12, 25, 70)))] + ["日本", 'a "b", c']
    rows: dict[str, list[dict[str, Any]]] = {own: []}
    for number, id_ in enumerate(r.sample(ids, r.randint(4, len(ids)))):
        row = {"id": id_, "ts": T0 + unit * r.randint(0, units), "bytes": number, "evaluate": 0}
        row |= {"user": r.choice(USERS), "text": r.choice(TEXTS), **_numbers(r)}
        row["evaluate"] = int(case["eval"]["files"] and r.random() < 0.4)
        rows[own].append(row)
        if r.random() < 0.15:
            changes = r.choice(({}, {"bytes": 100 + number}, {"ts": row["ts"] + unit}))
            flipped = int(case["eval"]["files"] and r.random() < 0.5)
            again = {"text": r.choice(TEXTS)} if changes else {}
            rows[own].append(row | changes | again | {"evaluate": flipped})
    if len(rows[own]) > 50 and r.random() < 0.7:
        late = r.choice((30 * DAY, 30 * DAY + 1, 50 * DAY, 2000 * DAY))
        rows[own][-1]["ts"] = max(row["ts"] for row in rows[own]) + late
    for name in list(case["logs"])[1:]:
        rows[name] = _events(r, case, rows, name, unit)
    for name, some in rows.items():
        quantum = 1000 if case["logs"][name]["time"] == "ms" else 1
        files = r.choice((1, 1, 2, 3))
        for row in some:
            row["file"], row["ts"] = r.randrange(files), row["ts"] // quantum * quantum
            row["fault"] = ["", ""]
            if r.random() < 0.03:
                _spoil(r, row, case["logs"][name]["format"] == "parquet")
        r.shuffle(some)
    return rows


def _events(
    r: random.Random, case: Case, rows: dict[str, list[dict[str, Any]]], name: str, unit: int
) -> list[dict[str, Any]]:
    own, *_ = rows
    via, labels = case["logs"][name]["via"], case["labels"]
    gap = max(HOUR, *(longest(labels, label) for label in labels))
    windows = [label["within"] for label in labels.values()]
    events: list[dict[str, Any]] = []
    for number in range(r.randint(0, 2 * len(rows[own]) + 4)):
        before = r.choice([r.choice(some) for some in rows.values() if some])
        before = r.choice(rows[via]) if via and rows[via] and r.random() < 0.8 else before
        near = r.choice(windows) + r.choice((-1, 0, 0, 1))
        time = before["ts"] + r.choice((near, near, unit * r.randint(-2, 12), r.choice((-1, 0))))
        event = {"id": before["id"], "ts": time, **_numbers(r)}
        event["key"] = r.choice((f"k{number}", f"k{number}", *USERS))
        if via:
            event["id"] = before.get("key") or r.choice(("no click", "u1", "u2"))
        if r.random() < 0.08:
            event["id"] = "nobody"
        events.append(event)
        if r.random() < 0.1:
            events.append(event | r.choice(({}, {}, {"v": 2.5}, {"ts": time + unit})))
    if r.random() < 0.3:
        last = max(row["ts"] for some in (*rows.values(), events) for row in some)
        far = r.choice((gap, gap, gap + 1, 400 * DAY, 2000 * DAY))
        events.append({"id": "nobody", "ts": last + far, "key": None, **_numbers(r)})
    return events


def longest(labels: dict[str, Any], name: str) -> int:
    """The longest time from an impression until a label is known."""
    after = labels[name]["after"]
    return labels[name]["within"] + (longest(labels, after) if after else 0)


def _numbers(r: random.Random) -> dict[str, float | None]:
    value = 3e38 if r.random() < 0.01 else r.choice((None, 0.0, 0.25, 1.0, 1.0, 2.0, 3.0, 7.5))
    return {"v": value, "of": r.choice((None, 0.0, 2.0, 4.0, 4.0))}


def _spoil(r: random.Random, row: dict[str, Any], typed: bool) -> None:
    """Makes a row unusable; `typed` files hold no text in a column of numbers."""
    faults: list[tuple[str, Any, str]] = [
        ("id", None, "missing"), ("ts", None, "missing"), ("v", -0.5, "below 0"),
        ("of", -1.0, "below 0"), ("v", 1e39, "not a number"),
    ]  # fmt: skip
    if not typed:
        faults += [("ts", "soon", "not a time"), ("v", "many", "not a number"), ("", "", "")]
    column, value, what = r.choice(faults)
    if column:
        row |= {column: value, "fault": [column, f"{column} is {what}"]}
    else:
        row["fault"] = ["id", "unparsed"]


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """A small case that fails as the given one does: without rows, labels and options that do not
    matter.
    """
    found: Case | None = case
    while found is not None:
        case, found = found, next((c for c in _smaller(found) if fails(c)), None)
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for name, rows in case["rows"].items():
        size = len(rows)
        while size := size // 2:
            for at in range(0, len(rows), size):
                yield case | {"rows": case["rows"] | {name: rows[:at] + rows[at + size :]}}
    for name in case["labels"]:
        others = {n: label for n, label in case["labels"].items() if n != name}
        if others and not any(label["after"] == name for label in others.values()):
            fewer = case | {"labels": others, "logs": copy.deepcopy(case["logs"])}
            _drop_unread(fewer)
            yield fewer | {"rows": {n: fewer["rows"][n] for n in fewer["logs"]}}
    for key, value in PLAIN.items():
        if case[key] != value:
            yield case | {key: value}
    for part, plain in (("labels", LABEL), ("logs", PLAIN_STREAM)):
        for name, keys in case[part].items():
            for key, value in plain.items():
                if keys[key] != value:
                    yield case | {part: case[part] | {name: keys | {key: value}}}

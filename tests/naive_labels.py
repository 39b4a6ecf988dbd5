"""A second implementation of docs/labels.md, as slow and as plain as the page; it shares no code
with the pipeline. tests/random_logs.py makes its cases. Rows are dicts, times are in µs.
"""

import math
import struct
from collections import Counter

import farmhash

HOUR, MONTH, LARGEST = 3_600_000_000, 30 * 86_400_000_000, 3.4028234663852886e38
SPLIT, NEGATIVES = 3, 5  # the uses of a hash
TAKES = {"first": lambda some: some[0], "last": lambda some: some[-1], "sum": sum, "max": max}


def draw(text, use):
    """A number of [0, 1) by FarmHash and splitmix64."""
    z = (farmhash.fingerprint64(text) + 0x9E3779B97F4A7C15 * use) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        z = (z ^ (z >> shift)) * factor % 2**64
    return (z >> 11) / 2**53


def number_of(label, row):
    value, of = (row[label[key]] if label[key] else 1.0 for key in ("value", "of"))
    return None if value is None or of is None else value / of if of else 0.0


def shaped(label, number):
    number = min(max(number, label["clip"][0]), label["clip"][1])
    number = math.log1p(number) if label["transform"] == "log1p" else number
    return struct.unpack("f", struct.pack("f", min(number, LARGEST)))[0]


def own_label(label, row):
    """A label from the impression's own columns."""
    if label["column"]:
        value = int(row[label["column"]] in label["equals"]) if row[label["column"]] else -1
    elif (value := number_of(label, row)) is not None:
        value = int(value >= label["at_least"]) if label["at_least"] else shaped(label, value)
    return {"value": -1 if value is None else value, "kinds": {}}


def disposition(label, shown, event, parent, counting):
    """What becomes of an event of an impression; "inside" where it is inside the window."""
    start, time, touched = shown, event["ts"], event.get("touched", 0)
    if parent:
        if parent["time"] is None or (counting == "touched" and touched not in parent["valid"]):
            return "without_parent"
        since = [t for t in parent["valid"] if counting == "last" and t <= time + label["slack"]]
        start = touched if counting == "touched" else max(since, default=parent["time"])
    if time + label["slack"] < max(start, touched):
        return "too_early"
    if time - start > label["within"]:
        return "late"
    return "missing" if number_of(label, event) is None else "inside"


def event_label(label, shown, events, end, parent=None, counting="first"):
    """The label of one impression, its events by kind, and what a label after it needs."""
    judged = [(disposition(label, shown, event, parent, counting), event) for event in events]
    inside = [(event["ts"], number_of(label, event)) for kind, event in judged if kind == "inside"]
    kinds = Counter(kind for kind, _ in judged if kind != "inside")
    counted, take, at_least = sorted(set(inside)), label["take"], label["at_least"]
    if not parent or parent["time"] is None:
        closed = parent["value"] >= 0 if parent else shown + label["within"] <= end
    else:
        latest = parent["time"] if counting == "first" else max(parent["valid"])
        closed = latest + label["within"] <= end and (counting == "first" or parent["closed"])
    so_far = [TAKES[take]([n for _, n in counted[: i + 1]]) for i in range(len(counted))]
    reached = [time for (time, _), n in zip(counted, so_far, strict=True) if n >= at_least]
    if take == "last" and at_least:  # another event could still change it
        reached = reached[-1:] if closed and so_far[-1:] >= [at_least] else []
    known = closed or take == "first" if counted else closed and not kinds["missing"]
    value = 1 if reached else 0 if known else -1
    if label["value"] and not at_least:
        value = -1 if not known else shaped(label, so_far[-1]) if counted else 0
    kinds["matched"] = min(1, len(counted)) if take == "first" else len(counted)
    kinds["duplicate"] = len(inside) - kinds["matched"]
    valid = [time for time, _ in counted if reached and time >= reached[0]]
    time = min(reached, default=None)
    return {"value": value, "kinds": kinds, "time": time, "valid": valid, "closed": closed}


def led(event, touches, touch, lookback, slack):
    """The event with the impression of the event that led to it."""
    own = [t for t in touches if t["key"] == event["id"]]
    own.sort(key=lambda t: (t["ts"], farmhash.fingerprint64(t["id"])))
    before = [t for t in own if t["ts"] <= event["ts"] + slack]
    near = [t for t in before if t["ts"] >= event["ts"] - lookback]
    found = (near or before[-1:] or own[:1] or [{"id": None, "ts": 0}])[-(touch == "last")]
    return event | {"id": found["id"], "touched": found["ts"]}


def last_times(rows, own, gap):
    """The latest plausible time of each stream that has one."""
    shown = sorted(row["ts"] for row in rows[own])
    few = range(len(shown) * 49 // 50 + 1, len(shown))  # the last ones, fewer than 2 %
    far = [i for i in few if shown[i] - shown[i - 1] > max(MONTH, gap)]
    shown = shown[: far[0]] if far else shown
    last = {own: shown[-1]} if shown else {}
    for time, stream in sorted((row["ts"], s) for s in rows if s != own for row in rows[s]):
        if not shown or time - max(last.values()) <= gap:
            last[stream] = time
    return last


def expected(case):
    """(fate, weight and labels of each impression; its events by label and kind; the calendar)."""
    logs, rows, (own, *streams) = case["logs"], {**case["rows"]}, case["logs"]
    labels = {name: logs[label["stream"]] | label for name, label in case["labels"].items()}
    windows, counting, lookback, fates = {None: 0}, {}, dict.fromkeys(logs, 0), {}
    for name, label in labels.items():
        touched = label["after"] and labels[label["after"]]["stream"] == label["via"]
        counting[name] = "touched" if touched else label["touch"]
        windows[name] = label["within"] + windows[label["after"]]
        far = label["within"] if touched else windows[name] + logs[label["via"] or own]["slack"]
        lookback[label["stream"]] = max(far, lookback[label["stream"]])
    last = last_times(rows, own, max(HOUR, *windows.values()))
    end = case["logs_end"] or max(last.values(), default=0)
    mature = end - max(windows.values())
    since = min(mature, last.get(own, 0)) - case["eval"]["last"]
    for name in streams:
        if via := logs[name]["via"]:
            how = logs[name]["touch"], lookback[name], logs[name]["slack"]
            rows[name] = [led(event, rows[via], *how) for event in rows[name]]
    order = sorted(rows[own], key=lambda row: (row["ts"], row["evaluate"], row["bytes"]))
    kept = {row["id"]: row for row in order[::-1]}
    lost = {name: sum(event["id"] not in kept for event in rows[name]) for name in logs}
    kinds = {name: Counter(orphan=lost[label["stream"]]) for name, label in labels.items()}
    for id_, row in kept.items():
        found = {}
        for name, label in labels.items():
            events = [event for event in rows[label["stream"]] if event["id"] == id_]
            after = found.get(label["after"]), counting[name]
            one = event_label(label, row["ts"], events, end, *after)
            found[name] = one if label["stream"] != own else own_label(label, row)
            kinds[name].update(found[name]["kinds"])
        values = [one["value"] for one in found.values()]
        evaluate = row["evaluate"] if case["eval"]["files"] else since < row["ts"] <= mature
        if case["eval"]["fraction"]:
            evaluate = draw(row[case["eval"]["by"]] or id_, SPLIT) < case["eval"]["fraction"]
        share = 1 if evaluate or any(values) else case["negatives"]
        out = streams and row["ts"] > mature and (evaluate or case["immature"] == "drop")
        fate = "sampled_out" if draw(id_, NEGATIVES) >= share else ("train", "eval")[evaluate]
        fates[id_] = ("dropped" if out or max(values) < 0 else fate, 1 / share, *values)
    return fates, kinds, (end, mature, since)

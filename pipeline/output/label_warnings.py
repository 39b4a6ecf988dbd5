"""Warnings about labels and tasks that cannot be learned or measured, and about wrong clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from features.fitted import Outcome
from features.labels import ColumnLabel, EventLabel, Label
from features.settings import format_duration
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.labeling.clocks import FAR, FEW, judge_clocks
from pipeline.labeling.labels import CUTS, Early
from pipeline.output.require import Warned
from pipeline.output.results import PartitionResult
from pipeline.spans import Spans, longest_gap
from pipeline.statistics.label_texts import shown
from pipeline.statistics.streams import StreamCounts

Counts = Mapping[str, int]
ENOUGH = 20  # positive rows, below which a metric of the evaluation split says little
COARSE = 0.01  # of a stream's events, too early and cut to a coarser unit
UNITS = {"d": 86_400e6, "h": 3_600e6, "min": 60e6, "s": 1e6, "ms": 1e3}  # µs, longest first
ADVICE = {
    "orphan": "compare the id columns of both logs",
    "too_early": "compare the clocks and time zones of both logs",
    "late": "lengthen `within`, or compare the clocks of both logs",
    "without_parent": "check the label that it is `after`",
    "missing": "check the column of its number",
}
UNIT_NAMES = {"1s": "second", "1m": "minute", "1h": "hour", "1d": "day"}  # of a slack


def clock_warnings(config: PreprocessConfig, spans: Mapping[str, Spans | None]) -> Iterator[str]:
    """A line for each stream with times that do not count for the end of the logs."""
    if config.split.logs_end is not None:
        return
    last, implausible = judge_clocks(config, spans)
    end = _iso(max((time for time in last.values() if time is not None), default=0))
    after = format_duration(timedelta(microseconds=longest_gap(config)))
    for name, found in implausible.items():
        rule = f"more than {after} after the end of the logs, {end}"
        if name == config.rows:
            few = f"fewer than {FEW:.0%} of them"
            rule = f"more than {FAR // 86_400_000_000} days after the other impressions, and {few}"
        yield (
            f"logs.{name}: {found.count:,} of its times do not count for the end of the logs (the "
            f"latest is {_iso(found.latest)}): {rule}; check the clocks, or set split.logs_end"
        )


def fold_early(results: Iterable[PartitionResult]) -> dict[str, Early]:
    """How early the events of each event label are that are too early, over all partitions."""
    whole: dict[str, Early] = {}
    for result in results:
        for name, own in result.early.items():
            one = whole.get(name, Early(0, dict.fromkeys(CUTS, 0)))
            cut = {slack: one.cut[slack] + own.cut[slack] for slack in CUTS}
            whole[name] = Early(max(one.longest, own.longest), cut)
    return whole


def label_warnings(
    config: PreprocessConfig,
    events: Mapping[str, Counts],
    early: Mapping[str, Early],
    totals: Mapping[str, StreamCounts],
    labels: Mapping[str, Mapping[str, Counts]],
) -> Iterator[Warned]:
    """A line for each label that has one class in the training split, with the cause where it is
    known, and for event streams that look cut to a coarser unit.

    Args:
        config: the configuration.
        events: the events of each event label by disposition.
        early: how early they are where they are too early.
        totals: the counts of each stream.
        labels: by split and label, the numbers of positive, negative and unknown rows.
    """
    for name, label in config.spec.labels.items():
        counts = labels["train"][name]
        known = f"({_listed(counts, 'positive', 'negative', 'unknown')})"
        if not counts["positive"]:
            if isinstance(label, EventLabel):
                cause = _cause_of_events(label, events[name], early[name])
                other = "matched_events" if not events[name]["matched"] else None
            else:
                cause = _cause_of_column(name, label, totals[config.rows])
                texts = totals[config.rows].texts.get(name)
                other = "equals" if texts is not None and not texts.equal else None
            number = "above 0" if label.is_number else "positive"
            yield Warned(
                f"labels.{name}: no row of the training split is {number} {known}: {cause}",
                ("positives", *([other] if other else [])),
            )
        elif not counts["negative"] and not label.is_number:
            yield Warned(
                f"labels.{name}: no row of the training split is negative {known}: nothing can be "
                "learned from it; check its declaration and that the log has all impressions",
                ("negatives",),
            )
        if isinstance(label, EventLabel) and events[name]["matched"]:
            total, slack = sum(events[name].values()), _slack(early[name], events[name])
            if slack is not None and early[name].cut[slack] >= max(COARSE * total, 2):
                unit = UNIT_NAMES[slack]
                whole = "" if unit == "second" else f", at whole {unit}s"
                yield Warned(
                    f"labels.{name}: {early[name].cut[slack]:,} of the {total:,} events of "
                    f"logs.{label.event} are too_early by less than a{'n' * (unit == 'hour')} "
                    f"{unit}{whole}: {_cut(label.event, slack)}",
                    ("precise_times",),
                )


def task_warnings(
    spec: Spec, labels: Mapping[str, Mapping[str, Counts]], outcomes: Sequence[Outcome]
) -> Iterator[Warned]:
    """A line for each task whose sample space is empty or has one class in the training split, and
    for each with fewer than ENOUGH positive rows to evaluate on.

    Args:
        spec: the labels and tasks.
        labels: by split and label, the numbers of positive, negative and unknown rows.
        outcomes: the training rows by their labels.
    """
    for name, task in spec.tasks.items():
        rows = {-1: 0, 0: 0, 1: 0}
        for outcome in outcomes:
            if task.given is None or outcome.states[task.given] == 1:
                rows[outcome.states[task.label]] += outcome.rows
        train, number = labels["train"][task.label], spec.labels[task.label].is_number
        if task.given is not None and not rows[0] + rows[1]:
            yield Warned(
                f"tasks.{name}: its sample space is empty: no row of the training split has "
                f"{task.given} = 1 and a known {task.label}",
                ("sample_spaces",),
            )
        elif task.given is not None and not number:
            for value, kind in ((1, "positive"), (0, "negative")):
                if train[kind] and not rows[value]:
                    yield Warned(
                        f"tasks.{name}: no row of its sample space in the training split is "
                        f"{kind} ({rows[0] + rows[1]:,} rows have {task.given} = 1)",
                        ("sample_spaces",),
                    )
        positive = labels["eval"][task.label]["positive"]
        if not number and positive < ENOUGH:
            yield Warned(
                f"tasks.{name}: the evaluation split has {positive} rows with {task.label} = 1, "
                f"fewer than {ENOUGH}: its metrics are left to chance; evaluate on more rows",
                ("eval_positives",),
            )


def _cause_of_events(label: EventLabel, counts: Counts, early: Early) -> str:
    total, stream = sum(counts.values()), f"logs.{label.event}"
    if not total:
        return f"{stream} has no event that could be read"
    if not counts["matched"]:
        leading = max(ADVICE, key=lambda disposition: counts[disposition])
        advice = ADVICE[leading]
        slack = _slack(early, counts)
        if leading == "too_early" and slack is not None:
            advice = _cut(label.event, slack)
        by = f" (by {_duration(early.longest)} at most)" if counts["too_early"] else ""
        named = _listed(counts, *counts).replace(" too_early", f" too_early{by}")
        return f"none of the {total:,} events of {stream} matched, {named}; {advice}"
    if label.at_least is not None:
        return f"no number of its events reaches at_least = {label.at_least:g}"
    return f"the rows of the {counts['matched']:,} events that matched are not in that split"


def _slack(early: Early, counts: Counts) -> str | None:
    """The shortest slack by which most of the events that are too early would count, if they look
    cut to a coarser unit.
    """
    return next((slack for slack in CUTS if 2 * early.cut[slack] > counts["too_early"]), None)


def _cut(stream: str, slack: str) -> str:
    return (
        "events that were cut to a coarser unit look like this; set "
        f'logs.{stream}.slack = "{slack}", or log both times in the same unit'
    )


def _cause_of_column(name: str, label: Label, rows: StreamCounts) -> str:
    if not isinstance(label, ColumnLabel):
        reached = "is above 0" if label.is_number else f"reaches {label.at_least:g}"
        return f"no number of column '{label.value}' {reached} there"
    equals = [label.equals] if isinstance(label.equals, str) else label.equals
    accepted = " or ".join(repr(text) for text in equals)
    texts = rows.texts.get(name)
    if texts is None or texts.equal:
        return f"all rows whose `{label.column}` equals {accepted} are elsewhere"
    values = f"its values are {shown(texts)}" if texts.others else "it has no value"
    return f"no row's `{label.column}` equals {accepted}; {values}"


def _listed(counts: Counts, *keys: str) -> str:
    return ", ".join(f"{counts[key]:,} {key}" for key in keys if counts[key])


def _duration(time: int) -> str:
    """A time in µs, in its largest unit that fits."""
    unit = next((unit for unit, size in UNITS.items() if time >= size), "ms")
    return f"{time / UNITS[unit]:.3g} {unit}"


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat()

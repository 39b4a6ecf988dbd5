"""A proposed configuration → its sections, with the evidence for each line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from funnel.init.features import Features
from funnel.init.keys import Stream
from funnel.init.labels import Label
from funnel.init.reading.sample import LIMITS
from funnel.init.toml import Line, Section, render
from pipeline.config import Output

MOST_REJECTS = 0.2  # the largest share of unusable rows that a proposal allows
CHECK = (
    "Check by hand: that every column is known when the impression is shown; the windows of the",
    "labels; the columns that are left out, at the end of [features].",
)


@dataclass
class Proposed:
    """A proposed configuration."""

    rows: Stream
    events: list[Stream]
    labels: list[Label]
    features: Features
    split: tuple[dict[str, Any], str]
    command: str

    @property
    def streams(self) -> list[Stream]:
        return [self.rows, *self.events]


def text(proposed: Proposed) -> str:
    """The configuration file."""
    head = [
        f"Written by `{proposed.command}`.",
        f"It read at most {LIMITS} of each stream.",
        *CHECK,
    ]
    suspects = proposed.features.suspects
    if suspects:
        head.append(f"Possible leaks, marked CHECK: {', '.join(suspects)}.")
    sections = [
        *_logs(proposed),
        _labels(proposed.labels),
        Section("features", proposed.features.lines, notes=proposed.features.notes),
        Section("split", [Line("eval", *proposed.split)]),
        *_output(proposed.streams),
        _tasks(proposed.labels),
        _model(proposed.labels),
    ]
    return render(head, sections)


def _logs(proposed: Proposed) -> list[Section]:
    if not proposed.events:
        stream = proposed.rows
        declared = _declared(stream)
        lines = [Line(name, content) for name, content in declared.items()]
        return [Section(f"logs.{stream.name}", lines, _read(stream), notes=stream.notes)]
    lines = [Line(s.name, _declared(s), _read(s)) for s in proposed.streams]
    notes = [f"{s.name}: {note}" for s in proposed.streams for note in s.notes]
    return [Section("logs", lines, notes=notes)]


def _declared(stream: Stream) -> dict[str, Any]:
    log = stream.sample.log
    patterns = log.patterns
    found: dict[str, Any] = {"files": patterns[0] if len(patterns) == 1 else patterns}
    optional = {
        "id": stream.id,
        "time": stream.time,
        "key": stream.key,
        "via": stream.via,
        "format": log.format if log.names_its_format else None,
        "separator": log.separator if log.separator != "," else None,
        "missing": stream.missing or None,
        "columns": log.columns,
    }
    return found | {name: value for name, value in optional.items() if value is not None}


def _read(stream: Stream) -> str:
    sample = stream.sample
    read = f"{sample.rows:,} rows read" + (
        ", all" if sample.whole else f" of about {sample.total:,}"
    )
    if sample.malformed:
        read += f"; {sample.malformed:,} lines cannot be read"
    if stream.joined is not None:
        read += f"; {100 * stream.joined:.1f} % join"
    return read


def _labels(labels: list[Label]) -> Section:
    lines = [Line(label.name, label.declaration, label.why) for label in labels]
    return Section("labels", lines, notes=[note for label in labels for note in label.notes])


def _output(streams: list[Stream]) -> list[Section]:
    """A higher output.max_rejects where the sample holds more unusable rows than it allows."""
    worst = max(streams, key=lambda stream: stream.rejected)
    if worst.rejected <= Output().max_rejects:
        return []
    why = f"CHECK: {100 * worst.rejected:.1f} % of {worst.name} cannot be used; a run stops above"
    allowed = math.ceil(200 * worst.rejected) / 100
    return [Section("output", [Line("max_rejects", min(allowed, MOST_REJECTS), why)])]


def _tasks(labels: list[Label]) -> Section:
    lines = []
    for label in labels:
        task = {"label": label.name} | ({"given": label.given} if label.given else {})
        rate = "" if label.is_number else f"{100 * label.rate:.3g} % of rows"
        lines.append(Line(label.task, task, rate + (f" with {label.given}" if label.given else "")))
    return Section("tasks", lines)


def _model(labels: list[Label]) -> Section:
    parents = [label.given for label in labels]
    chain = len(labels) > 1 and parents == [None, *(label.name for label in labels[:-1])]
    return Section(
        "model",
        [
            Line("sharing", "mmoe" if len(labels) > 1 else "shared_bottom"),
            Line("funnel", "esmm" if chain else "independent"),
        ],
    )

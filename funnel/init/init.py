"""The whole of `funnel init`: paths → the text of a configuration, and what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from features import files
from features.errors import FunnelError, nearest
from funnel.config.config import load
from funnel.examples import EXAMPLES
from funnel.init import joins, keys
from funnel.init.features import Features, propose_features
from funnel.init.keys import Stream
from funnel.init.labels import Label, event_labels
from funnel.init.reading.columns import missing_texts, profiles
from funnel.init.reading.headers import check_header, check_names, given_columns
from funnel.init.reading.sample import Sample, read_sample
from funnel.init.reading.streams import Log, find_logs
from funnel.init.sections import Proposed
from funnel.init.split import propose_split, span_of
from funnel.init.table_labels import table_labels
from pipeline.sources.storage import connect


@dataclass
class Request:
    """What the user gives.

    Attributes:
        logs: files, folders or globs, each perhaps after `name=`.
        labels: of a wide table: COLUMN, COLUMN=VALUE or NAME:COLUMN=VALUE.
        evaluation: the file of evaluation rows of a wide table.
        columns: names of the columns of CSV files without header, or a file of them.
        id, time, group: columns that replace what would be guessed.
        dropped: columns that must not be features.
        beam_args: options of Beam's filesystems, for logs on s3:// or gs://.
    """

    logs: list[str]
    labels: list[str] = field(default_factory=list)
    evaluation: str | None = None
    columns: str | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    dropped: list[str] = field(default_factory=list)
    beam_args: list[str] = field(default_factory=list)


def propose_config(
    request: Request,
    command: str = "funnel init",
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Proposed:
    """Reads samples of the logs and proposes a configuration.

    Args:
        request: what the user gives.
        command: the command as the file's first line repeats it.
        on_progress: called with (streams read, streams).

    Raises:
        FunnelError: what is missing, after what was seen and what was guessed.
    """
    columns = given_columns(request.columns)
    if any("://" in path for path in [*request.logs, request.evaluation or ""]):
        connect(request.beam_args)
    logs = find_logs(request.logs, columns)
    if columns and all(log.format != "csv" for log in logs):
        raise FunnelError(
            f"--columns names the columns of CSV files, and {request.logs[0]} is "
            f"{logs[0].format}; leave it out"
        )
    streams: list[Stream] = []
    for log in logs:
        on_progress(len(streams), len(logs))
        streams.append(_stream(log, request.time))
    if request.time is not None and all(s.time != request.time for s in streams):
        known = {name for stream in streams for name in stream.profiles}
        raise FunnelError(
            f"--time: '{request.time}' is a column of no stream: {nearest(request.time, known)}"
        )
    if len(streams) == 1:
        return _table(request, streams[0], command)
    if request.labels or request.evaluation:
        option = "--label" if request.labels else "--eval"
        raise FunnelError(
            f"{option} is for one wide table, and these are {len(streams)} streams: "
            f"{', '.join(s.name for s in streams)}; leave it out, or name one file"
        )
    return _event_logs(request, streams, command)


def write(path: Path, text: str) -> None:
    """Writes a configuration that is valid, to a path that does not exist.

    Raises:
        FunnelError: the path exists, its folder does not, or a command would refuse the file.
    """
    check_output(path)
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            load(temporary).check()
        except FunnelError as error:
            raise FunnelError(
                f"{path}: was not written, since the proposed configuration is refused: {error}"
            ) from None


def check_output(path: Path) -> None:
    """Raises FunnelError unless a file can be written to a path without overwriting any."""
    if path.exists():
        raise FunnelError(f"{path}: exists, and is not overwritten; give --output another name")
    if not path.parent.is_dir():
        raise FunnelError(
            f"{path}: the folder {path.parent} does not exist; create it, or give --output another"
        )


def example(name: str) -> str:
    """The text of a shipped example. Raises FunnelError where there is none of this name."""
    known = {path.stem: path for path in EXAMPLES.glob("*.toml")}
    if name not in known:
        raise FunnelError(f"--example {name}: {nearest(name, known, listed=True)}")
    return known[name].read_text(encoding="utf-8")


def _stream(log: Log, time: str | None) -> Stream:
    check_header(log)
    sample = read_sample(log)
    check_names(sample)
    missing = missing_texts(sample)
    stream = Stream(log.name, sample, profiles(sample, missing), missing)
    keys.find_time(stream, time)
    return stream


def _event_logs(request: Request, streams: list[Stream], command: str) -> Proposed:
    rows = joins.rows_stream(streams)
    events = [s for s in streams if s is not rows]
    _need_times(streams)
    rows.name = "impressions"
    joins.find_join(rows, events, request.id)
    span = span_of(rows, events)
    labels = event_labels(rows, events, span[2] - span[0])
    group = keys.find_group(rows, request.group)
    features = _features(request, rows, labels)
    split = propose_split(span, labels, group)
    return Proposed(rows, events, labels, features, split, command)


def _table(request: Request, rows: Stream, command: str) -> Proposed:
    if len(rows.sample.columns) < 2:
        raise FunnelError(
            f"{rows.sample.log.sources[0].path}: has one column, '{next(iter(rows.profiles))}'. "
            "Missing: at least one column to predict from, and one to predict"
        )
    evaluation = None
    if request.evaluation is not None:
        evaluation = _evaluation(request.evaluation, rows)
    rows.name = "table"
    if request.id is not None:
        rows.id = rows.column(request.id, "--id").name
    else:
        named = [n for n in joins.id_candidates(rows) if keys.ID_WORDS & set(keys.words(n))]
        rows.id = next((n for n in named if rows.profiles[n].unique == 1), None)
    spelled = profiles(evaluation, rows.missing) if evaluation else None
    labels = table_labels(rows, request.labels, spelled)
    span = span_of(rows, [])
    group = keys.find_group(rows, request.group)
    features = _features(request, rows, labels)
    split = propose_split(span, labels, group)
    if evaluation is not None:
        patterns = evaluation.log.patterns
        read = f"{evaluation.total:,} rows"
        split = {"files": patterns[0] if len(patterns) == 1 else patterns}, read
    return Proposed(rows, [], labels, features, split, command)


def _evaluation(path: str, rows: Stream) -> Sample:
    """The sample of the evaluation file, read as the table is."""
    log, *more = find_logs([f"evaluation={path}"], rows.sample.log.columns)
    if more or log.format != rows.sample.log.format:
        raise FunnelError(
            f"--eval {path}: is {log.format}, and {rows.name} is {rows.sample.log.format}; give "
            "rows of the same format and columns"
        )
    trained = {os.path.abspath(source.path) for source in rows.sample.log.sources}
    both = [s.path for s in log.sources if os.path.abspath(s.path) in trained]
    if both:
        raise FunnelError(
            f"--eval {path}: {both[0]} is among the files to train on, too; a row trains or "
            "evaluates, so name the others by a glob in quotes"
        )
    log.separator = rows.sample.log.separator
    sample = read_sample(log)
    lacking = [name for name in rows.profiles if name not in sample.columns]
    if lacking:
        raise FunnelError(
            f"--eval {path}: lacks the columns {', '.join(lacking[:5])} of {rows.name}; give rows "
            "of the same columns"
        )
    return sample


def _features(request: Request, rows: Stream, labels: list[Label]) -> Features:
    for name in request.dropped:
        rows.column(name, "--drop")
    features = propose_features(rows, labels, request.dropped)
    if not features.lines:
        left = "; ".join(f"{name}: {why}" for name, why in features.left_out.items())
        raise FunnelError(
            f"{rows.name}: no column is left to predict from ({left or 'it has no others'}). "
            "Missing: a column that is known when the row is shown"
        )
    return features


def _need_times(streams: list[Stream]) -> None:
    for stream in streams:
        if stream.times is None:
            shown = ", ".join(f"{p.name} ({p.type})" for p in list(stream.profiles.values())[:8])
            raise FunnelError(
                f"{stream.name}: no column holds times; it has {shown}. Missing: when each row "
                "happened, as ISO-8601, a timestamp or an epoch in a column named like ts or "
                "time; --time COLUMN names it"
            )

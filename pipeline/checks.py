"""Checks that the sections of a preprocessing configuration fit together."""

from __future__ import annotations

import re

from features.errors import FunnelError, nearest, one_line
from pipeline.config import ROWS, PreprocessConfig, Stream
from pipeline.sources.files import check_options
from pipeline.sources.formats import FORMATS

LONGEST = 100  # characters of a name: file systems allow 255 bytes, endings included
NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST - 1}}}")


def check_config(config: PreprocessConfig) -> PreprocessConfig:
    """Returns the configuration. Raises FunnelError where its sections do not fit together."""
    if sum(name in ROWS for name in config.logs) != 1:
        raise FunnelError(
            f"logs holds {', '.join(config.logs) or 'nothing'}: declare either impressions or table"
        )
    for name, stream in config.logs.items():
        for known in (name, *stream.lookups):
            _check_name(name, known)
        _check_format(config, name)
    _check_rows(config)
    for name in config.event_labels:
        _check_event(config, name)
    for name in config.logs:
        if name != config.rows:
            _check_stream(config, name)
    if config.split.eval.last is not None and config.logs[config.rows].time is None:
        raise FunnelError(
            f"split.eval.last splits by time: name the time column in logs.{config.rows}.time, or "
            "give a fraction"
        )
    _check_windows(config)
    if config.output.shards is not None and config.output.changed("shard_input"):
        raise FunnelError(
            f"output.shard_input = {config.output.shard_input} decides the number of shards, and "
            f"shards = {config.output.shards} gives it: leave one of them out"
        )
    return config


def _check_name(stream: str, name: str) -> None:
    """A stream's name is that of a file, too: rejects/<stream>.jsonl."""
    if not NAME.fullmatch(name):
        where = "logs" if name == stream else f"logs.{stream}.lookups"
        raise FunnelError(
            f"{where}: '{one_line(name)}' is not a name: a letter, then letters, digits and _ "
            f"(at most {LONGEST} characters); rename it"
        )


def _check_windows(config: PreprocessConfig) -> None:
    """Options of times and windows have something to decide."""
    split, rows = config.split, config.logs[config.rows]
    unread = split.changed("immature", *([] if split.eval.last else ["logs_end"]))
    if unread and not config.event_labels:
        raise FunnelError(
            f"split.{unread[0]} = {str(getattr(split, unread[0]))!r} is for labels from events, "
            "whose windows may be open when the logs end, and there is none: leave it out"
        )
    if (
        rows.time_unit is not None
        and rows.time is None
        and "time" not in config.spec.columns.values()
    ):
        raise FunnelError(
            f"logs.{config.rows}.time_unit = '{rows.time_unit}' is the unit of times, and no "
            "column is read as one: leave it out"
        )


def _check_format(config: PreprocessConfig, name: str) -> None:
    stream = config.logs[name]
    _check_known(f"logs.{name}.format", stream.format, list(FORMATS))
    for table, lookup in stream.lookups.items():
        known = [format_ for format_, file in FORMATS.items() if file.for_lookups]
        _check_known(f"logs.{name}.lookups.{table}.format", lookup.format, known)
    if stream.multiline and not stream.quote:
        raise FunnelError(
            f'logs.{name}.multiline = true is for quoted values, and quote = "" has none: give '
            "quote, or leave multiline out"
        )
    if stream.format is not None:
        check_options(f"logs.{name}", stream, {stream.format})
    needs_common = stream.format is not None and FORMATS[stream.format].needs_common
    if needs_common and stream.common is None:
        raise FunnelError(
            f"logs.{name}.common is missing: format = '{stream.format}' has a second file of "
            "common features, so name it"
        )
    if not needs_common and stream.common is not None:
        raise FunnelError(
            f"logs.{name}.common is read only with format = 'aliccp': "
            "remove it, or declare a lookup"
        )


def _check_known(key: str, format_: str | None, known: list[str]) -> None:
    if format_ is not None and format_ not in known:
        raise FunnelError(
            f"{key} = '{format_}' is not a format; {nearest(format_, known, listed=True)}"
        )


def _check_rows(config: PreprocessConfig) -> None:
    rows = config.logs[config.rows]
    of_events = ("key", "via", "touch", "slack")
    given = [key for key in of_events if getattr(rows, key) != Stream.model_fields[key].default]
    if given:
        raise FunnelError(
            f"logs.{config.rows}.{given[0]} is for event streams: rows have an id of their own; "
            "remove it"
        )
    if config.event_labels:
        _check_joinable(config, config.rows)


def _check_event(config: PreprocessConfig, name: str) -> None:
    event, streams = config.event_labels[name].event, [s for s in config.logs if s != config.rows]
    if event not in streams:
        raise FunnelError(
            f"labels.{name}.event = '{event}' is not a stream of logs: {nearest(event, streams)}"
        )


def _check_stream(config: PreprocessConfig, name: str) -> None:
    """An event stream: read by something, joinable, and its keys lead somewhere."""
    stream = config.logs[name]
    labels = [label for label in config.event_labels.values() if label.event == name]
    users = [n for n, via in config.vias.items() if via == name]
    if not labels and not users:
        raise FunnelError(
            f"logs.{name}: no label reads this stream; declare a label with event = '{name}', or "
            "remove it"
        )
    _check_joinable(config, name)
    if stream.key is not None and not users:
        raise FunnelError(
            f"logs.{name}.key = '{stream.key}': no stream goes via {name}; give one via = "
            f"'{name}', or remove the key"
        )
    if stream.via is not None:
        _check_via(config, name, stream.via, used=bool(labels))
    if stream.touch == "last" and stream.via is None and not any(label.after for label in labels):
        raise FunnelError(
            f"logs.{name}.touch = 'last' chooses nothing: no label of {name} is `after` another, "
            "and it goes via no stream; remove it"
        )


def _check_via(config: PreprocessConfig, name: str, via: str, *, used: bool) -> None:
    streams = [stream for stream in config.logs if stream not in (config.rows, name)]
    where = f"logs.{name}.via = '{via}'"
    if via not in streams:
        raise FunnelError(f"{where} is not another event stream of logs: {nearest(via, streams)}")
    if config.logs[via].via is not None:
        raise FunnelError(
            f"{where}, which itself goes via '{config.logs[via].via}': only one step leads to the "
            "impression"
        )
    if config.logs[via].key is None:
        raise FunnelError(
            f"{where}: logs.{via}.key is missing: the column of {via} that logs.{name}.id refers to"
        )
    if not used:
        raise FunnelError(
            f"logs.{name}: no label reads this stream; declare a label with event = '{name}', or "
            "remove it"
        )


def _check_joinable(config: PreprocessConfig, stream: str) -> None:
    for key in ("id", "time"):
        if getattr(config.logs[stream], key) is None:
            raise FunnelError(
                f"logs.{stream}.{key} is missing: events join impressions by id and count windows "
                "from times"
            )

"""Pipeline configuration: the log streams, the split and the output."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_serializer, model_validator

from features.labels import EventLabel, Valued
from features.layouts import known_layout
from features.settings import Duration, PathTexts, Settings, microseconds
from features.spec import Spec
from pipeline.labeling.config import Sampling, Split
from pipeline.output.require import Require

# The streams whose rows become examples. Every other stream holds events.
ROWS = ("impressions", "table")
Counting = Literal["first", "last", "touched"]


def _check_char(value: str) -> str:
    if len(value) > 1 or not value.isascii() or value in ("\r", "\n", "\0"):
        raise ValueError("must be one ASCII character, and not the end of a line")
    return value


CsvChar = Annotated[str, AfterValidator(_check_char)]  # separates or quotes values of a CSV file
LINE_BYTES = 1 << 20
LineBytes = Annotated[int, Field(ge=64, le=1 << 30)]


class Lookup(Settings):
    """A table joined to a stream before encoding: one row for each value of its column `key`.

    The columns that features and labels read, and the stream's own files lack, are taken from the
    table. Where it lacks a key they are missing, and the row is counted.

    Attributes:
        files: a glob or a list of globs.
        key: the table's column of keys.
        on: the stream's column that holds the key (default: `key`).
        format: inferred from the file extension unless given.
        separator: between CSV values.
        max_line_bytes: of a text file; a table with a longer line is refused.
        missing: texts that mean "no value", besides the empty one.
    """

    files: PathTexts
    key: str
    on: str | None = None
    format: str | None = None
    separator: CsvChar = Field(",", min_length=1)
    max_line_bytes: LineBytes = LINE_BYTES
    missing: list[str] = Field([])


class Stream(Settings):
    """Where a log lies and how it is read. Times without a zone are UTC.

    Attributes:
        files: a glob or a list of globs.
        id: the column of impression ids. With `via` an event's id is the key of another event.
        time: the column of times.
        format: parquet, csv, jsonl or aliccp; inferred from the file extension unless given.
        columns: the names of the columns of a CSV file without header.
        separator: between CSV values.
        quote: the CSV quote character, "" for none.
        multiline: a quoted CSV value may hold newlines. The file is then read in one piece.
        max_line_bytes: a longer line of a text file, or record of several lines, is rejected.
        missing: texts that mean "no value", besides the empty one.
        strip: remove spaces around CSV values.
        time_unit: the unit of numeric times; inferred from their size unless given.
        common: the files of Ali-CCP's common features.
        lookups: tables joined to the stream, by name.
        key: the column of keys by which events of another stream name an event of this one.
        via: the stream whose events this stream's ids name, as a conversion names its click.
        touch: which event leads to an event of this stream, where several could.
        slack: how long before its window opens an event still counts, as where its time was cut
            to a whole second or day.
    """

    files: PathTexts
    id: str | None = None
    time: str | None = None
    format: str | None = None
    columns: list[str] | None = None
    separator: CsvChar = Field(",", min_length=1)
    quote: CsvChar = '"'
    multiline: bool = False
    max_line_bytes: LineBytes = LINE_BYTES
    missing: list[str] = Field([])
    strip: bool = True
    time_unit: Literal["s", "ms", "us"] | None = None
    common: PathTexts | None = None
    lookups: dict[str, Lookup] = Field(default={})
    key: str | None = None
    via: str | None = None
    touch: Literal["first", "last"] = "first"
    slack: Duration = timedelta(0)

    @model_validator(mode="after")
    def _check_chars(self) -> Self:
        if self.separator == self.quote:
            raise ValueError(
                f"separator and quote are both {self.quote!r}: "
                'give two characters, or quote = "" for none'
            )
        return self


class Output(Settings):
    """The files to write.

    Attributes:
        layout: packed (few wide keys of the tf.Example, which parse fastest) or columns (one key
            for each feature).
        compression: of the shards.
        shards: shards of each split; by default one for each `shard_input` bytes of input.
        shard_input: bytes of input.
        max_rejects: the job fails above this share of unusable rows in a stream.
        require: kinds of warnings that are errors.
    """

    layout: Annotated[str, AfterValidator(known_layout)] = "packed"
    compression: Literal["none", "gzip"] = "none"
    shards: int | None = Field(default=None, ge=1)
    shard_input: int = Field(default=128 << 20, ge=1 << 20)
    max_rejects: float = Field(default=0.01, ge=0, le=1)
    require: Require = Require()


class Dates(Settings):
    """The days, from `first` to `last`, whose dated folders are read."""

    first: date
    last: date

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        """'2026-11-01..2026-11-07', or one day."""
        if isinstance(value, str):
            first, _, last = value.partition("..")
            return {"first": first, "last": last or first}
        return value

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"the last day {self.last} is before the first {self.first}")
        return self

    @model_serializer
    def _text(self) -> str:
        return f"{self.first}..{self.last}"


class PreprocessConfig(Settings):
    """Everything that decides what preprocessing writes. `pipeline.checks` checks that its sections
    fit together.
    """

    logs: dict[str, Stream]
    spec: Spec
    dates: Dates | None = None
    split: Split = Split()
    sampling: Sampling = Sampling()
    output: Output = Output()

    @property
    def rows(self) -> str:
        """The stream whose rows become examples."""
        return next(name for name in self.logs if name in ROWS)

    @property
    def event_labels(self) -> dict[str, EventLabel]:
        return {n: label for n, label in self.spec.labels.items() if isinstance(label, EventLabel)}

    @property
    def vias(self) -> dict[str, str]:
        """By event stream whose ids are keys of another stream: that other stream."""
        return {name: stream.via for name, stream in self.logs.items() if stream.via is not None}

    def value_columns(self, stream: str) -> list[str]:
        """The number columns of a stream that labels read, each once."""
        columns: dict[str, None] = {}
        for label in self.spec.labels.values():
            if isinstance(label, Valued) and getattr(label, "event", self.rows) == stream:
                columns |= dict.fromkeys(c for c in (label.value, label.of) if c is not None)
        return list(columns)

    def counting(self, label: EventLabel) -> Counting:
        """Which event of its parent label a window counts from: the one that led to this event,
        where the logs say which.
        """
        stream = self.logs[label.event]
        if label.after is not None and stream.via == self.event_labels[label.after].event:
            return "touched"
        return stream.touch

    def window(self, label: str) -> int:
        """The longest time from an impression until the label is known, in µs: its window and those
        of the labels that it is `after`.
        """
        declared = self.event_labels[label]
        return microseconds(declared.window) + (
            self.window(declared.after) if declared.after else 0
        )

    @property
    def longest_window(self) -> int:
        return max(map(self.window, self.event_labels), default=0)

    def slack(self, stream: str) -> int:
        """How long, in µs, before its window opens an event of the stream still counts."""
        return microseconds(self.logs[stream].slack)

    def lookback(self, stream: str) -> int:
        """How long, in µs, a touch may precede an event of the stream: the longest window of the
        stream's labels. One that opens at the impression may follow the touch by the touch's slack.
        """
        labels = {n: label for n, label in self.event_labels.items() if label.event == stream}
        via = self.vias.get(stream)
        before = self.slack(via) if via is not None else 0
        return max(
            microseconds(v.window) if self.counting(v) == "touched" else self.window(n) + before
            for n, v in labels.items()
        )

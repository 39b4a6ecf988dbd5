"""What the pipeline is told: the log streams, the split and the output."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_serializer, model_validator

from features.labels import EventLabel, Valued
from features.settings import Duration, Settings, microseconds
from features.spec import Spec

ROWS = (
    "impressions",
    "table",
)  # the streams whose rows become examples; every other stream holds events
Counting = Literal["first", "last", "touched"]


def _check_mark(value: str) -> str:
    if len(value) > 1 or not value.isascii() or value in ("\r", "\n", "\0"):
        raise ValueError("must be one ASCII character, and not the end of a line")
    return value


Mark = Annotated[
    str, AfterValidator(_check_mark)
]  # what separates or quotes the values of a CSV file


class Lookup(Settings):
    """A table joined to a stream before encoding: one row for each value of its column `key`.

    `on` is the stream's column that holds the key (default: of the same name). Of the columns that
    features and labels read, those that the stream's own files lack are taken from here. A key that
    is not in the table leaves them missing, and counts.
    """

    files: str | list[str]
    key: str
    on: str | None = None
    format: Literal["parquet", "csv", "jsonl"] | None = None
    separator: Mark = Field(",", min_length=1)
    missing: list[str] = Field([])


class Stream(Settings):
    """Where a log lies and how it is read. Times are UTC unless they say otherwise.

    `files` is a glob or a list of globs; `format` is told by the files' ending unless given;
    `columns` names the columns of a CSV file without header; `missing` lists the texts that mean
    "no value", besides the empty one; `strip` cuts the spaces around CSV values; `quote` is the CSV
    quote character ("" for none), and with `multiline` a quoted value may hold newlines, so that
    the file cannot be read in pieces; `time_unit` is that of numeric times (told by their size
    unless given); `common` is Ali-CCP's second file.

    An event's `id` is that of its impression; with `via` it is the `key` of an event of that other
    stream (a click's id), which leads to the impression. `touch` chooses among several earlier
    events that could have led to it.
    """

    files: str | list[str]
    id: str | None = None
    time: str | None = None
    format: Literal["parquet", "csv", "jsonl", "aliccp"] | None = None
    columns: list[str] | None = None
    separator: Mark = Field(",", min_length=1)
    quote: Mark = '"'
    multiline: bool = False
    missing: list[str] = Field([])
    strip: bool = True
    time_unit: Literal["s", "ms", "us"] | None = None
    common: str | list[str] | None = None
    lookups: dict[str, Lookup] = Field({})
    key: str | None = None
    via: str | None = None
    touch: Literal["first", "last"] = "first"

    @model_validator(mode="after")
    def _check_marks(self) -> Self:
        if self.separator == self.quote:
            raise ValueError(
                f'separator and quote are both {self.quote!r}: give two characters, or quote = "" for none'
            )
        return self


class Eval(Settings):
    """The rows to evaluate on: the `last` period of mature rows, a `fraction` by a hash of the id,
    or `files` of their own.

    With `by` the fraction is of that column's values: all rows of a user on one side. Rows without
    the value go by their id.
    """

    last: Duration | None = None
    fraction: float | None = Field(None, gt=0, lt=1)
    files: str | list[str] | None = None
    by: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("last", "fraction", "files") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give one of last, fraction and files (given: {', '.join(given) or 'none'})"
            )
        if self.by is not None and self.fraction is None:
            raise ValueError(
                f"by = '{self.by}' chooses whose rows a fraction is of: give fraction, or remove by"
            )
        return self


class Split(Settings):
    """Training and evaluation rows, and what becomes of immature ones, whose windows were still
    open when the logs ended.

    `drop` leaves them out. `keep` trains on those with a known label: fresher, but an open window
    shows its positives first, so rates are biased upwards. Evaluation rows are always mature.
    `logs_end` is when the logs end; unless given, the latest time in any of them.
    """

    eval: Eval = Eval(fraction=0.1)
    immature: Literal["drop", "keep"] = "drop"
    logs_end: datetime | None = None

    @field_validator("logs_end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Sampling(Settings):
    """`negatives`: the share kept of the training rows whose labels are all 0, by a hash of the id.
    Each stands for 1/share rows: the example carries that weight.
    """

    negatives: float = Field(1.0, gt=0, le=1)


class Output(Settings):
    """`shards` per split (default: one for each `shard_input` bytes of input); above the share
    `max_rejects` of unusable rows the job fails.

    `layout` is packed (few wide features: what the trainer reads fastest) or columns (one feature
    of the tf.Example a column).
    """

    layout: Literal["packed", "columns"] = "packed"
    compression: Literal["none", "gzip"] = "none"
    shards: int | None = Field(None, ge=1)
    shard_input: int = Field(128 << 20, ge=1 << 20)
    max_rejects: float = Field(0.01, ge=0, le=1)


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
    """Everything that decides what preprocessing writes."""

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
        """The event streams whose ids are keys of another stream, and that other stream."""
        return {name: stream.via for name, stream in self.logs.items() if stream.via is not None}

    def value_columns(self, stream: str) -> list[str]:
        """The number columns of a stream that labels read."""
        labels = [
            v
            for v in self.spec.labels.values()
            if isinstance(v, Valued) and getattr(v, "event", self.rows) == stream
        ]
        return list(
            dict.fromkeys(
                column
                for label in labels
                for column in (label.value, label.of)
                if column is not None
            )
        )

    def counting(self, label: EventLabel) -> Counting:
        """Which event of the label `after` a window counts from: the one that led to this event,
        where the logs say which.
        """
        stream = self.logs[label.event]
        if label.after is not None and stream.via == self.event_labels[label.after].event:
            return "touched"
        return stream.touch

    def window(self, label: str) -> int:
        """The longest time from an impression until the label is known, in µs: its own window and
        those before it.
        """
        declared = self.event_labels[label]
        return microseconds(declared.window) + (
            self.window(declared.after) if declared.after else 0
        )

    @property
    def longest_window(self) -> int:
        return max(map(self.window, self.event_labels), default=0)

    def lookback(self, stream: str) -> int:
        """How long before an event of the stream the one that led to it can lie, in µs: the longest
        window of its labels.
        """
        labels = {n: label for n, label in self.event_labels.items() if label.event == stream}
        return max(
            microseconds(v.window) if self.counting(v) == "touched" else self.window(n)
            for n, v in labels.items()
        )

"""What the pipeline is told: the log streams, the split and the output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from features.declarations import EventLabel
from features.errors import FunnelError, nearest
from features.settings import Duration, Settings, microseconds
from features.spec import Spec

ROWS = ("impressions", "table")  # the streams whose rows become examples; every other stream holds events


class Stream(Settings):
    """Where a log lies and how it is read. Times are UTC unless they say otherwise.

    `files` is a glob or a list of globs; `format` is told by the files' ending unless given; `columns` names the columns of
    a CSV file without header; `missing` lists the texts that mean "no value", besides the empty one; `strip` cuts the
    spaces around CSV values; `time_unit` is that of numeric times (told by their size unless given).
    """

    files: str | list[str]
    id: str | None = None
    time: str | None = None
    format: Literal["parquet", "csv", "jsonl"] | None = None
    columns: list[str] | None = None
    separator: str = Field(",", min_length=1, max_length=1)
    missing: list[str] = Field([])
    strip: bool = True
    time_unit: Literal["s", "ms", "us"] | None = None


class Eval(Settings):
    """The rows to evaluate on: the `last` period of mature rows, a `fraction` by a hash of the id, or `files` of their own."""

    last: Duration | None = None
    fraction: float | None = Field(None, gt=0, lt=1)
    files: str | list[str] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of last, fraction and files (given: {', '.join(given) or 'none'})")
        return self


class Split(Settings):
    """Training and evaluation rows, and what becomes of immature ones, whose windows were still open when the logs ended.

    `drop` leaves them out. `keep` trains on those with a known label: fresher, but an open window shows its positives
    first, so rates are biased upwards. Evaluation rows are always mature. `logs_end` is when the logs end; unless given,
    the latest time in any of them.
    """

    eval: Eval = Eval(fraction=0.1)
    immature: Literal["drop", "keep"] = "drop"
    logs_end: datetime | None = None

    @field_validator("logs_end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Output(Settings):
    """`shards` per split (default: one for each 128 MiB of input); `max_rejects`: above this share of unusable rows the job fails."""

    shards: int | None = Field(None, ge=1)
    max_rejects: float = Field(0.01, ge=0, le=1)


class PreprocessConfig(Settings):
    """Everything that decides what preprocessing writes."""

    logs: dict[str, Stream]
    spec: Spec
    split: Split = Split()
    output: Output = Output()

    @property
    def rows(self) -> str:
        """The stream whose rows become examples."""
        return next(name for name in self.logs if name in ROWS)

    @property
    def event_labels(self) -> dict[str, EventLabel]:
        return {n: label for n, label in self.spec.labels.items() if isinstance(label, EventLabel)}

    def window(self, label: str) -> int:
        """The longest time from an impression until the label is known, in µs: its own window and those before it."""
        declared = self.event_labels[label]
        return microseconds(declared.within) + (self.window(declared.after) if declared.after else 0)

    @property
    def longest_window(self) -> int:
        return max(map(self.window, self.event_labels), default=0)

    def check(self) -> Self:
        """Raises FunnelError where sections do not fit together."""
        if sum(name in ROWS for name in self.logs) != 1:
            raise FunnelError(f"logs holds {', '.join(self.logs) or 'nothing'}: declare either impressions or table")
        rows, events = self.logs[self.rows], self.event_labels
        for name, label in events.items():
            streams = [s for s in self.logs if s not in ROWS]
            if label.event not in streams:
                raise FunnelError(f"labels.{name}.event = '{label.event}' is not a stream of logs: {nearest(label.event, streams)}")
            self._check_joinable(label.event)
        if events:
            self._check_joinable(self.rows)
        unused = [s for s in self.logs if s not in ROWS and s not in {label.event for label in events.values()}]
        if unused:
            raise FunnelError(f"logs.{unused[0]}: no label reads this stream; declare a label with event = '{unused[0]}', or remove it")
        if self.split.eval.last is not None and rows.time is None:
            raise FunnelError(f"split.eval.last splits by time: name the time column in logs.{self.rows}.time, or give a fraction")
        return self

    def _check_joinable(self, stream: str) -> None:
        for key in ("id", "time"):
            if getattr(self.logs[stream], key) is None:
                raise FunnelError(f"logs.{stream}.{key} is missing: events join impressions by id and count windows from times")

"""Configuration of the training and evaluation rows: the split and downsampling."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from features.settings import Duration, PathTexts, Settings


class Eval(Settings):
    """The rows to evaluate on. One of last, fraction and files is given.

    Attributes:
        last: the last period of mature rows.
        fraction: a fraction of the rows, by a hash of the id.
        files: files of their own.
        by: the column whose values are split instead of the ids, so that all rows of a user are on
            one side. Rows without a value are split by id.
    """

    last: Duration | None = None
    fraction: float | None = Field(None, gt=0, lt=1)
    files: PathTexts | None = None
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
                f"by = '{self.by}' needs a fraction to split by: give fraction, or remove by"
            )
        return self


class Split(Settings):
    """Training and evaluation rows.

    Attributes:
        eval: the rows to evaluate on; they are always mature.
        immature: what to do with training rows whose windows were still open when the logs ended.
            `drop` leaves them out. `keep` trains on those with a known label: fresher, but an open
            window shows its positives first, so rates are biased upwards.
        logs_end: when the logs end; by default the latest plausible time (docs/labels.md).
    """

    eval: Eval = Eval(fraction=0.1)
    immature: Literal["drop", "keep"] = "drop"
    logs_end: datetime | None = None

    @field_validator("logs_end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Sampling(Settings):
    """Downsampling of the training rows.

    Attributes:
        negatives: the share kept of the rows whose labels are all 0, by a hash of the id. A kept
            row carries the weight 1/share.
    """

    negatives: float = Field(default=1.0, gt=0, le=1)

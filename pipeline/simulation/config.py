"""Configuration of a simulation."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from features.settings import Duration, PathText, Settings

Rate = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Format = Literal["parquet", "jsonl", "csv"]
STREAMS = ("impressions", "clicks", "conversions")


class Formats(Settings):
    """The file format of each stream."""

    impressions: Format = "parquet"
    clicks: Format = "jsonl"
    conversions: Format = "csv"


class Compression(Settings):
    """Whether the JSONL and CSV files of a stream are gzipped; Parquet compresses itself."""

    impressions: bool = False
    clicks: bool = True
    conversions: bool = False


class LogConfig(Settings):
    """The files' half of a simulation. Rates are per true row."""

    out: PathText = Field("", description="the directory of the logs")
    impressions: PositiveInt = Field(200_000, description="in total, spread evenly over the days")
    days: PositiveInt = Field(7, description="with impressions")
    start: date = Field(date(2026, 11, 1), description="the first day, UTC")
    trailing: Duration = Field(
        timedelta(days=3), description="how long events are still logged after the last day"
    )
    duplicates: Rate = Field(0.01, description="rate of exact copies, of impressions and events")
    orphans: Rate = Field(0.01, description="rate of events whose impression does not exist")
    malformed: Rate = Field(0.001, description="rate of rows that cannot be read")
    format: Formats = Field(
        Formats(), description="one format for all streams, or a table {stream = format}"
    )
    compress: Compression = Field(
        Compression(), description="gzip text: one flag for all streams, or a table {stream = flag}"
    )
    seed: NonNegativeInt = Field(1, description="the same seed writes the same bytes")

    @field_validator("format", "compress", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Settings) else dict.fromkeys(STREAMS, value)

    @model_validator(mode="after")
    def _compresses_text(self) -> Self:
        """One flag for all streams leaves out those of Parquet; a flag of one stream may not."""
        binary = [name for name in STREAMS if getattr(self.format, name) == "parquet"]
        single = self.compress.model_fields_set < set(STREAMS)
        for name in binary:
            given = getattr(self.compress, name) and name in self.compress.changed(name)
            if given and (single or len(binary) == len(STREAMS)):
                raise ValueError(
                    f"compress is for text, and format.{name} = 'parquet' compresses itself: "
                    f"leave compress.{name} out"
                )
        return self


class SimulateConfig(LogConfig):
    """What to simulate: the truth and the defects of its logs."""

    users: PositiveInt = Field(10_000, description="drawn by Zipf's law, exponent 0.6")
    items: PositiveInt = Field(2_000, description="drawn by Zipf's law, exponent 0.9")
    ctr: Probability = Field(0.1, description="mean p(click) over all impressions")
    cvr: Probability = Field(
        0.1, description="mean p(convert | click) over all impressions, clicked or not"
    )
    correlation: float = Field(
        0.5, ge=-1, le=1, description="ρ, between what makes click and what makes convert"
    )
    selection: NonNegativeFloat = Field(
        0.5, description="weight of the hidden factor in both logits"
    )
    signal: NonNegativeFloat = Field(1.2, description="weight of the affinities in both logits")
    click_delay: Duration = Field(
        timedelta(seconds=30), description="mean time from impression to click (exponential)"
    )
    conversion_delay: Duration = Field(
        timedelta(hours=6), description="mean time from click to conversion (exponential)"
    )
    late_by: Duration = Field(
        timedelta(days=4), description="added to the delay of a late event: longer than any window"
    )
    late: Rate = Field(0.01, description="rate of events delayed by `late_by`")

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        for option, other in {"late_by": "late", "correlation": "signal"}.items():
            if self.changed(option) and getattr(self, other) == 0:
                raise ValueError(
                    f"{option} = {self.model_dump(mode='json')[option]} changes nothing where "
                    f"{other} = 0: give {other}, or leave {option} out"
                )
        return self

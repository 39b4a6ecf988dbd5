"""What a user declares by name: features, labels and tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from features.settings import Duration, Settings

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]  # a tensor and a key of the tf.Example carry it
RawType = Literal["text", "integer", "number", "texts"]  # what a column holds; texts is a list


class Categorical(Settings):
    """One value, or up to `max_length` values, hashed into `buckets` ids (0 = missing) and embedded in `dim` numbers.

    `column` is the log's column (default: the feature's name). `dtype` is what a serving request sends; text and
    integers of equal decimals hash alike. With `separator`, a text such as "a|b" holds several values; without it a
    multi-valued column holds lists. The first `max_length` values count; `pooling` joins the embeddings of those present.
    """

    kind: Literal["categorical"] = "categorical"
    column: str = ""
    buckets: int = Field(ge=2, lt=2**31)
    dim: int = Field(16, ge=1)
    dtype: Literal["string", "int64"] = "string"
    max_length: int | None = Field(None, ge=1)
    separator: str | None = Field(None, min_length=1)
    pooling: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.separator and not self.max_length:
            raise ValueError("separator splits a text into several values: give max_length, how many are kept")
        if self.max_length and self.dtype == "int64":
            raise ValueError("dtype = 'int64' is for single values: lists in a request are padded with \"\", so they hold texts")
        return self

    @property
    def raw_type(self) -> RawType:
        if self.dtype == "int64":
            return "integer"
        return "texts" if self.max_length and not self.separator else "text"

    @property
    def slots(self) -> int:
        return self.max_length or 1


class Numeric(Settings):
    """One number. log1p counts values below 0 as 0; then (x − mean) / deviation with the training split's moments; missing → 0."""

    kind: Literal["numeric"] = "numeric"
    column: str = ""
    transform: Literal["none", "log1p"] = "none"
    standardize: bool = True

    @property
    def raw_type(self) -> RawType:
        return "number"


class Cross(Settings):
    """The combination of two or more categorical values, hashed as one: parts joined with their byte lengths.

    `of` names categorical features, else columns of single texts. Of multi-valued parts it is the Cartesian product of the
    values present, the last part varying fastest, the first `max_length` of it. With a part missing it is missing.
    """

    kind: Literal["cross"] = "cross"
    of: list[str] = Field(min_length=2)
    buckets: int = Field(ge=2, lt=2**31)
    dim: int = Field(16, ge=1)
    max_length: int | None = Field(None, ge=1)
    pooling: Literal["mean", "sum"] = "mean"

    @property
    def slots(self) -> int:
        return self.max_length or 1


Feature = Annotated[Categorical | Numeric | Cross, Field(discriminator="kind")]


class EventLabel(Settings):
    """1 if an event of the stream `event` happened `within` the window, counted from the impression or from label `after`."""

    event: str
    within: Duration
    after: str | None = None


class ColumnLabel(Settings):
    """1 if the column's text `equals` the given one, 0 if it does not, −1 (unknown) if it is missing."""

    column: str
    equals: str = "1"


def _label_kind(label: Any) -> str:
    return "column label" if isinstance(label, ColumnLabel) or (isinstance(label, dict) and "column" in label) else "event label"


# Told apart before either is tried: a mistake then has one error, not one for each kind.
Label = Annotated[Annotated[EventLabel, Tag("event label")] | Annotated[ColumnLabel, Tag("column label")], Discriminator(_label_kind)]


class Task(Settings):
    """What is predicted: p(label), over all rows or over its sample space, the rows whose label `given` is 1.

    `joint` names the probability of the whole chain, p(given and label): p_ctcvr for tasks ctr and cvr.
    `threshold` is where precision, recall and accuracy cut.
    """

    label: str
    given: str | None = None
    joint: Name | None = None
    threshold: float = Field(0.5, gt=0, lt=1)

"""The features that a user declares by name. Labels and tasks are in features.labels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from features.settings import Settings

Name = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
]  # a tensor and a key of the tf.Example carry it
RawType = Literal[
    "text", "integer", "number", "time", "texts", "numbers"
]  # what a column holds; texts and numbers are lists
Pooling = Literal["mean", "sum", "max"]
Rows = Annotated[int, Field(ge=2, lt=2**31)]
HASH_SPACE = (
    2**31 - 1
)  # ids of a vocabulary's feature as they are written; the graph turns them into rows of its table


class Coded(Settings):
    """How values become rows of an embedding table, of which row 0 is for the missing value. Give
    one of:

    `buckets`: a hash into that many rows; values may share one. `vocabulary`: a file with one value
    a line; row 1 is for values not in it. `min_count`: a vocabulary of the values seen at least so
    often in the training split. `shares`: another feature's table, and how that one codes its
    values.
    """

    column: str = ""
    buckets: Rows | None = None
    vocabulary: str | None = None
    min_count: int | None = Field(None, ge=1)
    shares: str | None = None
    dim: int = Field(16, ge=1)
    separator: str | None = Field(None, min_length=1)
    pooling: Pooling = "mean"

    @model_validator(mode="after")
    def _one_code(self) -> Self:
        given = [k for k in ("buckets", "vocabulary", "min_count") if getattr(self, k) is not None]
        if len(given) != 1 and not (self.shares and not given):
            raise ValueError(
                f"give one of buckets, vocabulary, min_count and shares (given: {', '.join(given) or 'none'})"
            )
        return self

    @property
    def hash_space(self) -> int:
        """The number of ids that are written: the table's own rows, or so many that hardly two
        values share one.
        """
        return self.buckets or HASH_SPACE


class Categorical(Coded):
    """One value, or up to `max_length` values, each an id that is embedded in `dim` numbers.

    `column` is the log's column (default: the feature's name). `dtype` is what a serving request
    sends; text and integers of equal decimals hash alike. `identity`: the integers 0 … buckets − 2
    are ids as they are. With `separator`, a text such as "a|b" holds several values; without it a
    multi-valued column holds lists. The first `max_length` values count; `pooling` joins the
    embeddings of those present, each times its number in the column `weights` where one is named.
    `serve`: the serving graph feeds this value, since only training knows the true one (a
    position).
    """

    kind: Literal["categorical"] = "categorical"
    identity: bool = False
    dtype: Literal["string", "int64"] = "string"
    max_length: int | None = Field(None, ge=1)
    weights: str | None = None
    serve: str | int | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.separator and not self.max_length:
            raise ValueError(
                "separator splits a text into several values: give max_length, how many are kept"
            )
        if self.max_length and self.raw_type == "integer":
            raise ValueError(
                "identity and dtype = 'int64' are for single values: lists in a request are padded with \"\", so they hold texts"
            )
        if self.identity and (self.vocabulary or self.min_count):
            raise ValueError(
                "identity takes integers as they are: give buckets, one more than the largest of them and the missing value need"
            )
        if self.weights and not self.max_length:
            raise ValueError("weights are for several values: give max_length, how many are kept")
        if self.serve is not None and self.max_length:
            raise ValueError("serve is for single values: the serving graph feeds one")
        return self

    @property
    def raw_type(self) -> RawType:
        if self.identity or self.dtype == "int64":
            return "integer"
        return "texts" if self.max_length and not self.separator else "text"

    @property
    def slots(self) -> int:
        return self.max_length or 1


class Sequence(Coded):
    """A history in the order of time, as a list or a text with `separator`: its latest (last)
    `max_length` values, in order.

    Where a model reads no sequences, `pooling` joins their embeddings.
    """

    kind: Literal["sequence"] = "sequence"
    max_length: int = Field(ge=1)

    @property
    def raw_type(self) -> RawType:
        return "text" if self.separator else "texts"

    @property
    def slots(self) -> int:
        return self.max_length


class Cross(Settings):
    """The combination of two or more categorical values, hashed as one: parts joined with their
    byte lengths.

    `of` names categorical features, else columns of single texts. Of multi-valued parts it is the
    Cartesian product of the values present, the last part varying fastest, the first `max_length`
    of it. With a part missing it is missing.
    """

    kind: Literal["cross"] = "cross"
    of: list[str] = Field(min_length=2)
    buckets: Rows
    dim: int = Field(16, ge=1)
    max_length: int | None = Field(None, ge=1)
    pooling: Pooling = "mean"

    @property
    def slots(self) -> int:
        return self.max_length or 1

    @property
    def hash_space(self) -> int:
        return self.buckets


class Time(Settings):
    """The hour (0–23) or the weekday (0 = Monday) of a time, moved by `utc_offset` hours; embedded.
    Id = 1 + it, 0 = missing.

    A request sends whole seconds since 1970, UTC.
    """

    kind: Literal["time"] = "time"
    column: str = ""
    part: Literal["hour", "weekday"]
    utc_offset: int = Field(0, ge=-12, le=14)
    dim: int = Field(4, ge=1)
    max_length: None = None
    pooling: Pooling = "mean"

    @property
    def raw_type(self) -> RawType:
        return "time"

    @property
    def slots(self) -> int:
        return 1

    @property
    def buckets(self) -> int:
        return 25 if self.part == "hour" else 8


class Numeric(Settings):
    """One number, as the network reads it: `missing` in place of nothing, cut to `clip` = [low,
    high], then `transform`, then `scale`.

    log1p counts values below 0 as 0. standardize: (x − mean) / std; minmax: (x − min) / (max
    − min), cut to [0, 1]; both of the training split's transformed values. What is still missing is
    0 then: the mean, or the minimum.
    """

    kind: Literal["numeric"] = "numeric"
    column: str = ""
    missing: float | None = None
    clip: tuple[float, float] | None = None
    transform: Literal["none", "log1p"] = "none"
    scale: Literal["standardize", "minmax", "none"] = "standardize"
    serve: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.clip and self.clip[0] >= self.clip[1]:
            raise ValueError(f"clip = {list(self.clip)} must be [low, high] with low below high")
        return self

    @property
    def raw_type(self) -> RawType:
        return "number"


class Bucketized(Settings):
    """A number's place among boundaries, embedded: id = 1 + how many boundaries are at or below it,
    0 = missing.

    `boundaries` are given, or are the training split's `quantiles`, so many stretches of about
    equal numbers of rows.
    """

    kind: Literal["bucketized"] = "bucketized"
    column: str = ""
    boundaries: list[float] | None = Field(None, min_length=1)
    quantiles: int | None = Field(None, ge=2, le=1000)
    dim: int = Field(4, ge=1)
    max_length: None = None
    pooling: Pooling = "mean"
    serve: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.boundaries is None) == (self.quantiles is None):
            raise ValueError("give boundaries, or quantiles: how many stretches of equal share")
        if self.boundaries and any(
            b <= a for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)
        ):
            raise ValueError(f"boundaries = {self.boundaries} must rise")
        return self

    @property
    def raw_type(self) -> RawType:
        return "number"

    @property
    def slots(self) -> int:
        return 1


class Product(Settings):
    """The element-wise product of two features' embeddings, pooled where they are multi-valued;
    both have the same dim.
    """

    kind: Literal["product"] = "product"
    of: tuple[str, str]


Feature = Annotated[
    Categorical | Sequence | Cross | Time | Numeric | Bucketized | Product,
    Field(discriminator="kind"),
]
Embedded = (
    Categorical | Sequence | Cross | Time | Bucketized
)  # the features that have rows in an embedding table
COLUMN_KINDS = (
    "categorical",
    "sequence",
    "time",
    "numeric",
    "bucketized",
)  # those that read one column

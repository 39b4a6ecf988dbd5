"""The base of all feature kinds: what the pipeline, the model and the serving graph ask of one.

A kind overrides the questions it answers differently. It gets TensorFlow as an argument, so that
the pipeline's workers can use the kinds without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from features.settings import Settings

RawType = Literal["text", "integer", "number", "time", "texts", "numbers"]  # texts, numbers: lists
Pooling = Literal["mean", "sum", "max"]
Rows = Annotated[int, Field(ge=2, lt=2**31)]
Constant = str | int | float
HASH_SPACE = 2**31 - 1  # ids of a vocabulary's feature in the files; the graph looks them up


@dataclass(frozen=True)
class Embedding:
    """How a feature is embedded.

    Args:
        dim: Length of the embedding vector.
        rows: Rows of the embedding table; None if the training split decides.
        slots: Number of ids per example.
        is_list: Whether the ids are a list, pooled over those present.
        in_order: Whether the list is a history in order of time.
        pooling: How the embeddings of a list are combined.
    """

    dim: int
    rows: int | None
    slots: int = 1
    is_list: bool = False
    in_order: bool = False
    pooling: Pooling = "mean"


class Vocabulary(NamedTuple):
    """Where the values with a row of their own come from: a `file` with one value a line, or the
    training split's values seen at least `min_count` times.
    """

    file: str | None = None
    min_count: int | None = None


class Number(NamedTuple):
    """A number that the network reads as a number; `features.kinds.numeric` explains the fields."""

    missing: float | None = None
    clip: tuple[float, float] | None = None
    transform: Literal["none", "log1p"] = "none"
    scale: Literal["standardize", "minmax", "none"] = "none"


class Boundaries(NamedTuple):
    """Boundaries that turn a number into an id: declared, or the training split's `quantiles`."""

    boundaries: list[float] | None = None
    quantiles: int | None = None


class Weighted(NamedTuple):
    """A list with a weight for each value: the column of the values and that of the weights, and
    the separator if both are texts.
    """

    values: str
    weights: str
    separator: str | None = None


class FeatureKind(Settings):
    """A declared feature. Subclasses have a field `kind`, their name in the configuration file, and
    their own options as fields.

    A kind writes ids (`written_slots`), or one number (`number` or `boundaries_from`), or nothing
    and combines other features' embeddings (`combines`).
    """

    # Options that only the model's graph reads: they may change without preprocessing again.
    graph_only: ClassVar[frozenset[str]] = frozenset(
        {"dim", "pooling", "scale", "boundaries", "serve", "shares"}
    )
    # Options that say how embedding rows are read, not what they stand for: they may change in a
    # warm start that keeps the rows.
    how_rows_are_read: ClassVar[frozenset[str]] = frozenset(
        {"pooling", "serve", "max_length", "weights"}
    )

    @classmethod
    def fill_defaults(cls, name: str, declared: dict[str, Any], others: Mapping[str, Any]) -> None:
        """Adds to the options as declared those that follow from the feature's name or from other
        features' options.
        """
        if "column" in cls.model_fields:
            declared.setdefault("column", name)

    def check(self, name: str, features: Mapping[str, FeatureKind]) -> None:
        """Raises ValueError if the feature does not fit the others."""

    @property
    def kind_name(self) -> str:
        """The kind's name in the configuration file."""
        return str(type(self).model_fields["kind"].default)

    # What it reads

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        """The columns of the logs that it reads, and what they hold."""
        return []

    @property
    def constants(self) -> dict[str, Constant]:
        """Columns that a request does not send, and the value that the serving graph feeds."""
        return {}

    @property
    def integer_bounds(self) -> dict[str, tuple[int, int]]:
        """The smallest and the largest valid value of its integer columns, where there are any."""
        return {}

    @property
    def weighted(self) -> Weighted | None:
        """Its columns of values and weights, if its values have weights."""
        return None

    # What is written

    @property
    def written_slots(self) -> int:
        """The number of ids per example that preprocessing writes."""
        return 0

    @property
    def hash_space(self) -> int:
        """The number of ids that its texts are hashed into."""
        return HASH_SPACE

    def encode_arrow(
        self, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
    ) -> pa.Array | np.ndarray:
        """Its texts, [n] strings or lists of strings, to be hashed; or its ids, [n, slots]."""
        raise NotImplementedError(f"{type(self).__name__}.encode_arrow")

    def encode_tensors(
        self, tf: Any, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
    ) -> Any:
        """The same in a graph: string texts [B, any], "" where missing, or int64 ids [B, any].

        `tf` is the tensorflow module.
        """
        raise NotImplementedError(f"{type(self).__name__}.encode_tensors")

    def number_arrow(self, columns: Mapping[str, pa.Array]) -> np.ndarray:
        """The number that preprocessing writes, [n], NaN where missing."""
        raise NotImplementedError(f"{type(self).__name__}.number_arrow")

    def number_tensors(self, tf: Any, columns: Mapping[str, Any]) -> Any:
        """The same in a graph, [B] float32."""
        raise NotImplementedError(f"{type(self).__name__}.number_tensors")

    # What the model makes of it

    @property
    def embedding(self) -> Embedding | None:
        """How it is embedded; None if it has no ids."""
        return None

    @property
    def table_owner(self) -> str | None:
        """The feature whose embedding table it uses, if not its own."""
        return None

    @property
    def vocabulary_from(self) -> Vocabulary | None:
        """The source of its own vocabulary, if it has one."""
        return None

    @property
    def number(self) -> Number | None:
        """How the network reads its number, if it stays a number."""
        return None

    @property
    def boundaries_from(self) -> Boundaries | None:
        """The source of the boundaries that turn its number into an id, if it is bucketized."""
        return None

    @property
    def combines(self) -> tuple[str, ...]:
        """The features whose embeddings it combines, instead of columns that it reads."""
        return ()

    def combine(self, *embeddings: Any) -> Any:
        """The embeddings [B, dim] of the features that it `combines` → [B, dim]."""
        raise NotImplementedError(f"{type(self).__name__}.combine")

    def has_several(self, features: Mapping[str, FeatureKind]) -> bool:
        """Whether an example may hold several of its embeddings, which `pooling` combines."""
        return self.embedding is not None and self.embedding.is_list and self.embedding.slots > 1

    # What other kinds, statistics and warm starts ask

    @property
    def can_be_crossed(self) -> bool:
        """Whether a cross may combine its values."""
        return False

    @property
    def hashed_buckets(self) -> int | None:
        """The number of buckets, if its values are hashed into buckets and may collide."""
        return None

    @property
    def can_have_vocabulary(self) -> bool:
        """Whether a vocabulary could replace its buckets."""
        return False

    def readable(self, text: str) -> str:
        """One of its hashed texts, as reports show it."""
        return text

    def written_declaration(self) -> dict[str, Any]:
        """The options that decide what preprocessing writes."""
        return self.model_dump(exclude=set(self.graph_only))

    def rows_declaration(self) -> dict[str, Any]:
        """The options that decide what the rows of its embedding table stand for."""
        return self.model_dump(mode="json", exclude=set(self.how_rows_are_read))

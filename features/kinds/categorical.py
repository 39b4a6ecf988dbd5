"""`categorical`: one value or several, each an id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from features.kinds import tensors
from features.kinds.base import Constant, Embedding, FeatureKind, RawType, Weighted
from features.kinds.ids import IdFeature


class Categorical(IdFeature):
    """One value, or up to `max_length` values, each an id with an embedding of `dim` numbers.

    Args:
        column: The log's column; by default the feature's name.
        dtype: What a serving request sends. Text and integers of equal decimals hash alike.
        identity: The integers 0 … buckets − 2 are the ids.
        separator: Splits a text such as "a|b" into several values. Without it a multi-valued
            column holds lists.
        max_length: How many values count, from the first on; None for a single value.
        pooling: How the embeddings of the values present are combined.
        weights: A column with one number per value, which multiplies the value's embedding.
        serve: The value that the serving graph feeds, for a column that only training knows, such
            as the position.

    Example:
        >>> Categorical(column="ad_id", buckets=1000, dim=8).raw_type
        'text'
        >>> Categorical(column="tags", buckets=1000, max_length=5).raw_type
        'texts'
    """

    kind: Literal["categorical"] = "categorical"
    identity: bool = False
    dtype: Literal["string", "int64"] = "string"
    max_length: int | None = Field(None, ge=1)
    weights: str | None = None
    serve: str | int | None = None

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.separator and not self.max_length:
            raise ValueError(
                "separator splits a text into several values: give max_length, how many are kept"
            )
        if self.max_length and self.raw_type == "integer":
            raise ValueError(
                "identity and dtype = 'int64' are for single values: lists in a request are padded "
                'with "", so they hold texts'
            )
        if self.identity and self.changed("dtype"):
            raise ValueError(
                "dtype = 'int64' says nothing new, since identity takes integers: leave it out"
            )
        if self.identity and (self.vocabulary or self.min_count):
            raise ValueError(
                "identity takes integers as they are: give buckets = the largest integer + 2"
            )
        if self.weights and not self.max_length:
            raise ValueError("weights are for several values: give max_length, how many are kept")
        if self.serve is not None and self.max_length:
            raise ValueError("serve is for single values: the serving graph feeds one")
        return self

    def check(self, name: str, features: Mapping[str, FeatureKind]) -> None:
        super().check(name, features)
        expected = int if self.raw_type == "integer" else str
        if self.serve is not None and not isinstance(self.serve, expected):
            raise ValueError(
                f"features.{name}.serve = {self.serve!r}: its column holds {self.raw_type}s, so "
                "give one"
            )

    @property
    def raw_type(self) -> RawType:
        if self.identity or self.dtype == "int64":
            return "integer"
        return "texts" if self.max_length and not self.separator else "text"

    @property
    def reads_ids(self) -> bool:
        return self.identity

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        found = super().raw_columns(features)
        if self.weights:
            found.append((self.weights, "text" if self.separator else "numbers"))
        return found

    @property
    def constants(self) -> dict[str, Constant]:
        return {} if self.serve is None else {self.column: self.serve}

    @property
    def integer_bounds(self) -> dict[str, tuple[int, int]]:
        if not self.identity or self.buckets is None:
            return {}
        return {self.column: (0, self.buckets - 2)}

    @property
    def weighted(self) -> Weighted | None:
        return Weighted(self.column, self.weights, self.separator) if self.weights else None

    @property
    def written_slots(self) -> int:
        return self.max_length or 1

    @property
    def embedding(self) -> Embedding:
        is_list = self.max_length is not None
        return Embedding(
            self.dim, self.buckets, self.written_slots, is_list=is_list, pooling=self.pooling
        )

    @property
    def can_be_crossed(self) -> bool:
        return True

    def encode_arrow(
        self, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
    ) -> pa.Array | np.ndarray:
        column = columns[self.column]
        if self.identity:
            return pc.fill_null(column, -1).to_numpy()[:, np.newaxis] + 1
        return self.texts_arrow(columns)

    def texts_arrow(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Its values as texts, integers as decimals: [n] strings, or lists of at most
        `max_length`.
        """
        column = columns[self.column]
        if self.separator:
            column = pc.split_pattern(column, self.separator)
        if pa.types.is_list(column.type):
            return pc.list_slice(column, 0, self.max_length)
        return column.cast(pa.string())

    def encode_tensors(
        self, tf: Any, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
    ) -> Any:
        if self.identity:
            values = tensors.single(tf, columns[self.column], -1)
            last = self.integer_bounds[self.column][1]
            return tf.where((values >= 0) & (values <= last), values + 1, 0)
        return self.texts_tensors(tf, columns)

    def texts_tensors(self, tf: Any, columns: Mapping[str, Any]) -> Any:
        """Its values as strings [B, at most slots], "" where missing."""
        column = columns[self.column]
        if self.separator:
            column = tf.strings.split(column, self.separator)
        if column.dtype != tf.string:
            column = tf.ragged.map_flat_values(tf.strings.as_string, column)
        if isinstance(column, tf.RaggedTensor):
            column = column.to_tensor("")
        texts = column if column.shape.rank == 2 else column[:, tf.newaxis]
        return texts[:, : self.written_slots]

"""`numeric`: a number that stays a number. `bucketized`: a number that becomes an id."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from features.kinds.base import (
    Boundaries,
    Constant,
    Embedding,
    FeatureKind,
    Number,
    Pooling,
    RawType,
)


class Numeric(FeatureKind):
    """A numeric feature: nulls become `missing`, then the value is clipped, transformed and scaled.

    Args:
        missing: Replaces a missing value before everything else.
        clip: [low, high].
        transform: "log1p" is log(1 + x), values below 0 counting as 0.
        scale: "standardize" is (x − mean) / std, "minmax" is (x − min) / (max − min) clipped to
            [0, 1], both of the training split's transformed values. A value still missing becomes
            0 then, which is the mean or the minimum.
        serve: The value that the serving graph feeds.

    Example:
        >>> Numeric(column="price", transform="log1p").number.scale
        'standardize'
    """

    kind: Literal["numeric"] = "numeric"
    column: str = ""
    missing: float | None = None
    clip: tuple[float, float] | None = None
    transform: Literal["none", "log1p"] = "none"
    scale: Literal["standardize", "minmax", "none"] = "standardize"
    serve: float | None = None

    @model_validator(mode="after")
    def _check_clip(self) -> Self:
        if self.clip and self.clip[0] >= self.clip[1]:
            raise ValueError(f"clip = {list(self.clip)} must be [low, high] with low below high")
        return self

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        return [(self.column, "number")]

    @property
    def constants(self) -> dict[str, Constant]:
        return {} if self.serve is None else {self.column: self.serve}

    @property
    def number(self) -> Number:
        return Number(self.missing, self.clip, self.transform, self.scale)

    def number_arrow(self, columns: Mapping[str, pa.Array]) -> np.ndarray:
        return _floats(columns[self.column])

    def number_tensors(self, tf: Any, columns: Mapping[str, Any]) -> Any:
        return tf.cast(columns[self.column], tf.float32)


class Bucketized(FeatureKind):
    """A bucketized number, embedded. Its id is 1 + the number of boundaries at or below it; 0 is
    missing.

    Args:
        boundaries: Rising numbers.
        quantiles: Number of equal-frequency buckets, computed on the training split.
        serve: The value that the serving graph feeds.

    Example:
        >>> Bucketized(column="age", boundaries=[18, 30, 50]).embedding.dim
        4
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
    def _check_boundaries(self) -> Self:
        if (self.boundaries is None) == (self.quantiles is None):
            raise ValueError("give boundaries, or quantiles: the number of equal-frequency buckets")
        boundaries = self.boundaries or []
        if any(b <= a for a, b in pairwise(boundaries)):
            raise ValueError(f"boundaries = {self.boundaries} must rise")
        return self

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        return [(self.column, "number")]

    @property
    def constants(self) -> dict[str, Constant]:
        return {} if self.serve is None else {self.column: self.serve}

    @property
    def embedding(self) -> Embedding:
        return Embedding(self.dim, None, pooling=self.pooling)

    @property
    def boundaries_from(self) -> Boundaries:
        return Boundaries(self.boundaries, self.quantiles)

    def number_arrow(self, columns: Mapping[str, pa.Array]) -> np.ndarray:
        return _floats(columns[self.column])

    def number_tensors(self, tf: Any, columns: Mapping[str, Any]) -> Any:
        return tf.cast(columns[self.column], tf.float32)


def _floats(column: pa.Array) -> np.ndarray:
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values

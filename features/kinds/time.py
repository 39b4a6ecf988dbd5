"""`time`: the hour or the weekday of a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from features.kinds import tensors
from features.kinds.base import Embedding, FeatureKind, Pooling, RawType

THURSDAY = 3  # 1970-01-01


class Time(FeatureKind):
    """The hour (0–23) or the weekday (0 = Monday) of a time, shifted by `utc_offset` hours;
    embedded. Its id is 1 more; 0 is missing.

    A request sends whole seconds since 1970, UTC.

    Example:
        >>> Time(column="ts", part="weekday").embedding.rows
        8
    """

    kind: Literal["time"] = "time"
    column: str = ""
    part: Literal["hour", "weekday"]
    utc_offset: int = Field(0, ge=-12, le=14)
    dim: int = Field(4, ge=1)
    max_length: None = None
    pooling: Pooling = "mean"

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        return [(self.column, "time")]

    @property
    def written_slots(self) -> int:
        return 1

    @property
    def embedding(self) -> Embedding:
        return Embedding(self.dim, 25 if self.part == "hour" else 8, pooling=self.pooling)

    def encode_arrow(
        self, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
    ) -> pa.Array | np.ndarray:
        seconds = columns[self.column]
        part = self._part(pc.fill_null(seconds, 0).to_numpy())
        missing = seconds.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, 0, 1 + part)[:, np.newaxis]

    def encode_tensors(
        self, tf: Any, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
    ) -> Any:
        seconds = tensors.single(tf, columns[self.column], tensors.MISSING_TIME)
        part = self._part(seconds)
        return tf.where(tf.equal(seconds, tensors.MISSING_TIME), tf.zeros_like(part), 1 + part)

    def _part(self, seconds: Any) -> Any:
        hours = seconds // 3600 + self.utc_offset
        return hours % 24 if self.part == "hour" else (hours // 24 + THURSDAY) % 7

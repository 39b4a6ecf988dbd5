"""`sequence`: a history in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from features.kinds import lists
from features.kinds.base import Embedding, FeatureKind, RawType
from features.kinds.ids import IdFeature


class Sequence(IdFeature):
    """A history in the order of time, as a list or a text with `separator`.

    The last `max_length` values count, in order; missing ones are removed first. LSTM experts read
    the sequence; every other layer reads its embeddings combined by `pooling`.

    Example:
        >>> Sequence(column="recent_items", buckets=1000, max_length=20).embedding.in_order
        True
    """

    kind: Literal["sequence"] = "sequence"
    max_length: int = Field(ge=1)

    @property
    def raw_type(self) -> RawType:
        return "text" if self.separator else "texts"

    @property
    def written_slots(self) -> int:
        return self.max_length

    @property
    def embedding(self) -> Embedding:
        return Embedding(
            self.dim,
            self.buckets,
            self.max_length,
            is_list=True,
            in_order=True,
            pooling=self.pooling,
        )

    def encode_arrow(
        self, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
    ) -> pa.Array | np.ndarray:
        column = columns[self.column]
        if self.separator:
            column = pc.split_pattern(column, self.separator)
        return lists.last(column, self.max_length)

    def encode_tensors(
        self, tf: Any, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
    ) -> Any:
        column = columns[self.column]
        if self.separator:
            column = tf.strings.split(column, self.separator)
        if not isinstance(column, tf.RaggedTensor):
            column = tf.RaggedTensor.from_tensor(column)
        present = tf.ragged.map_flat_values(lambda t: tf.not_equal(t, ""), column)
        return tf.ragged.boolean_mask(column, present)[:, -self.max_length :].to_tensor("")

"""`cross`: the combination of two or more categorical values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from features.kinds import lists, tensors
from features.kinds.base import Embedding, FeatureKind, Pooling, RawType, Rows
from features.kinds.categorical import Categorical


class Cross(FeatureKind):
    """The combination of two or more categorical values, hashed as one.

    The hashed text joins the values, each with its length in bytes before it: "2:ab1:c". With one
    value missing the combination is missing.

    Args:
        of: Categorical features, or columns of single texts.
        buckets: Rows that combinations are hashed into.
        max_length: How many combinations count, if a part has several values. They are the
            Cartesian product of the values present, the last part varying fastest.
        pooling: How the embeddings of several combinations are combined.

    Example:
        >>> Cross(of=["ad_id", "device"], buckets=1000).readable("2:ab1:c")
        'ab × c'
    """

    kind: Literal["cross"] = "cross"
    of: list[str] = Field(min_length=2)
    buckets: Rows
    dim: int = Field(16, ge=1)
    max_length: int | None = Field(None, ge=1)
    pooling: Pooling = "mean"

    def check(self, name: str, features: Mapping[str, FeatureKind]) -> None:
        parts = {part: features[part] for part in self.of if part in features}
        for part, feature in parts.items():
            if not feature.can_be_crossed:
                raise ValueError(
                    f"features.{name}.of names '{part}', a {feature.kind_name} feature: a cross "
                    "combines categorical ones"
                )
        several = self._several(features)
        if several and not self.max_length:
            raise ValueError(
                f"features.{name} crosses the multi-valued '{several[0]}': give max_length, how "
                "many combinations are kept"
            )

    def _several(self, features: Mapping[str, FeatureKind]) -> list[str]:
        """The parts with several values."""
        parts = {part: features[part].embedding for part in self.of if part in features}
        return [part for part, embedding in parts.items() if embedding and embedding.is_list]

    def has_several(self, features: Mapping[str, FeatureKind]) -> bool:
        return super().has_several(features) and bool(self._several(features))

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        return [(part, "text") for part in self.of if part not in features]

    @property
    def written_slots(self) -> int:
        return self.max_length or 1

    @property
    def hash_space(self) -> int:
        return self.buckets

    @property
    def embedding(self) -> Embedding:
        is_list = self.max_length is not None
        return Embedding(
            self.dim, self.buckets, self.written_slots, is_list=is_list, pooling=self.pooling
        )

    @property
    def hashed_buckets(self) -> int | None:
        return self.buckets

    def readable(self, text: str) -> str:
        """The text that is hashed, "2:ab1:c" → "ab × c"; lengths are in bytes."""
        rest, values = text.encode(), []
        while rest:
            length, _, rest = rest.partition(b":")
            values.append(rest[: int(length)].decode())
            rest = rest[int(length) :]
        return " × ".join(values)

    def encode_arrow(
        self, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
    ) -> pa.Array | np.ndarray:
        parts = [lists.present(_texts_arrow(part, columns, features)) for part in self.of]
        rows, positions = lists.cartesian_product([lengths for _, lengths in parts])
        texts = []
        for (values, lengths), position in zip(parts, positions, strict=True):
            length = pc.binary_length(values).cast(pa.string())
            texts_of_part = pc.binary_join_element_wise(length, values, ":")
            texts.append(texts_of_part.take(pa.array(lists.starts(lengths)[rows] + position)))
        counts = np.bincount(rows, minlength=len(parts[0][1]))
        return lists.from_lengths(counts, pc.binary_join_element_wise(*texts, ""))

    def encode_tensors(
        self, tf: Any, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
    ) -> Any:
        """[B, product of the parts' lengths], missing combinations last."""
        joined = None
        for name in self.of:
            values = _texts_tensors(tf, name, columns, features)
            text = tf.strings.join([tf.strings.as_string(tf.strings.length(values)), values], ":")
            text = tf.where(tf.equal(values, ""), "", text)
            joined = text if joined is None else tensors.pairs(tf, joined, text)
        order = tf.argsort(tf.cast(tf.equal(joined, ""), tf.int32), axis=1, stable=True)
        return tf.gather(joined, order, batch_dims=1)


def _texts_arrow(
    name: str, columns: Mapping[str, pa.Array], features: Mapping[str, FeatureKind]
) -> pa.Array:
    feature = features.get(name)
    return feature.texts_arrow(columns) if isinstance(feature, Categorical) else columns[name]


def _texts_tensors(
    tf: Any, name: str, columns: Mapping[str, Any], features: Mapping[str, FeatureKind]
) -> Any:
    feature = features.get(name)
    if isinstance(feature, Categorical):
        return feature.texts_tensors(tf, columns)
    return columns[name][:, tf.newaxis]

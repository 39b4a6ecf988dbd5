"""`product`: the element-wise product of two embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from features.errors import nearest
from features.kinds.base import FeatureKind


class Product(FeatureKind):
    """The element-wise product of two features' embeddings, which have the same dim. The embeddings
    of a list are pooled first.

    Example:
        >>> Product(of=("user", "item")).combine(2.0, 3.0)
        6.0
    """

    kind: Literal["product"] = "product"
    of: tuple[str, str]

    def check(self, name: str, features: Mapping[str, FeatureKind]) -> None:
        dims = {n: f.embedding.dim for n, f in features.items() if f.embedding}
        for part in self.of:
            if part not in dims:
                raise ValueError(
                    f"features.{name}.of names '{part}', which has no embedding: "
                    f"{nearest(part, dims)}"
                )
        left, right = (dims[part] for part in self.of)
        if left != right:
            raise ValueError(
                f"features.{name} multiplies '{self.of[0]}' of dim {left} with '{self.of[1]}' of "
                f"dim {right}: give both the same dim"
            )

    @property
    def combines(self) -> tuple[str, ...]:
        return self.of

    def combine(self, *embeddings: Any) -> Any:
        left, right = embeddings
        return left * right

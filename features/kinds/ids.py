"""The options that categorical features and sequences share: how values become ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from features.errors import nearest
from features.kinds.base import HASH_SPACE, FeatureKind, Pooling, RawType, Rows, Vocabulary
from features.settings import PathText

SHARED = ("buckets", "vocabulary", "min_count", "dim")  # taken from the feature that one `shares`


class IdFeature(FeatureKind):
    """A feature whose values become rows of an embedding table; row 0 is the missing value.

    Exactly one of these options says how:

    Args:
        buckets: Hash values into this many rows. Two values may share a row.
        vocabulary: A file with one value a line. Row 1 is for all other values.
        min_count: Use the values seen at least this often in the training split as vocabulary.
        shares: Use another feature's table, and its way to assign rows.
    """

    column: str = ""
    buckets: Rows | None = None
    vocabulary: PathText | None = None
    min_count: int | None = Field(None, ge=1)
    shares: str | None = None
    dim: int = Field(16, ge=1)
    separator: str | None = Field(None, min_length=1)
    pooling: Pooling = "mean"

    @model_validator(mode="after")
    def _one_source_of_rows(self) -> Self:
        given = [k for k in ("buckets", "vocabulary", "min_count") if getattr(self, k) is not None]
        if len(given) != 1 and not (self.shares and not given):
            raise ValueError(
                "give one of buckets, vocabulary, min_count and shares "
                f"(given: {', '.join(given) or 'none'})"
            )
        return self

    @classmethod
    def fill_defaults(cls, name: str, declared: dict[str, Any], others: Mapping[str, Any]) -> None:
        """A feature with `shares` inherits its owner's way to assign rows."""
        super().fill_defaults(name, declared, others)
        shares = declared.get("shares")
        owner = others.get(shares, {}) if isinstance(shares, str) else {}
        for key in SHARED:
            if key in owner:
                declared.setdefault(key, owner[key])

    def check(self, name: str, features: Mapping[str, FeatureKind]) -> None:
        if self.shares is None:
            return
        owners = {n: f for n, f in features.items() if isinstance(f, IdFeature) and not f.shares}
        if self.shares not in owners:
            raise ValueError(
                f"features.{name}.shares = '{self.shares}' must be a categorical feature with a "
                f"table of its own: {nearest(self.shares, owners)}"
            )
        owner = owners[self.shares]
        for key in SHARED:
            if getattr(self, key) != getattr(owner, key):
                raise ValueError(
                    f"features.{name}.{key} = {getattr(self, key)}, but it shares the table of "
                    f"'{self.shares}', whose {key} is {getattr(owner, key)}: leave it out"
                )
        if self.reads_ids != owner.reads_ids:
            raise ValueError(
                f"features.{name} and '{self.shares}' share a table: both take integers as they "
                "are (identity), or neither"
            )

    @property
    def raw_type(self) -> RawType:
        """What its column holds."""
        return "text"

    @property
    def reads_ids(self) -> bool:
        """Whether its column holds the ids themselves."""
        return False

    def raw_columns(self, features: Mapping[str, FeatureKind]) -> list[tuple[str, RawType]]:
        return [(self.column, self.raw_type)]

    @property
    def hash_space(self) -> int:
        return self.buckets or HASH_SPACE

    @property
    def table_owner(self) -> str | None:
        return self.shares

    @property
    def vocabulary_from(self) -> Vocabulary | None:
        if self.buckets is not None or self.shares is not None:
            return None
        return Vocabulary(self.vocabulary, self.min_count)

    @property
    def hashed_buckets(self) -> int | None:
        return None if self.reads_ids else self.buckets

    @property
    def can_have_vocabulary(self) -> bool:
        return True

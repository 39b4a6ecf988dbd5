"""The contract between the pipeline, the model and the serving graph: features, labels and tasks,
and where each feature lies in the packed layout.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from features import files
from features.declarations import Declarations
from features.errors import FunnelError
from features.kinds.base import (
    Boundaries,
    Embedding,
    FeatureKind,
    Number,
    Vocabulary,
)


@dataclass(frozen=True)
class Slots:
    """Where a feature lies in `ids`, or in `dense`: columns start … start + length − 1."""

    start: int
    length: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.length)

    @property
    def range(self) -> range:
        return range(self.start, self.start + self.length)


class Spec(Declarations):
    """Features, labels and tasks by name: one Spec drives the pipeline, the model and the serving
    graph.

    Example:
        >>> spec = Spec.parse(
        ...     {
        ...         "features": {
        ...             "ad_id": {"kind": "categorical", "buckets": 1000, "dim": 8},
        ...             "price": {"kind": "numeric", "transform": "log1p"},
        ...         },
        ...         "labels": {
        ...             "click": {"event": "clicks", "within": "30m"},
        ...             "convert": {"event": "conversions", "within": "3d", "after": "click"},
        ...         },
        ...         "tasks": {
        ...             "ctr": {"label": "click"},
        ...             "cvr": {"label": "convert", "given": "click"},
        ...         },
        ...     }
        ... )
        >>> spec.columns
        {'ad_id': 'text', 'price': 'number'}
        >>> spec.tasks["cvr"].joint, spec.parent("cvr")
        ('ctcvr', 'ctr')
    """

    @cached_property
    def id_features(self) -> dict[str, FeatureKind]:
        """The features whose ids are written in `ids`."""
        return {n: f for n, f in self.features.items() if f.written_slots}

    @cached_property
    def bucketized(self) -> dict[str, Boundaries]:
        """The features that are written as numbers and become ids in the model's graph."""
        found = {n: f.boundaries_from for n, f in self.features.items()}
        return {n: boundaries for n, boundaries in found.items() if boundaries is not None}

    @cached_property
    def numeric(self) -> dict[str, Number]:
        """The features that stay numbers."""
        found = {n: f.number for n, f in self.features.items()}
        return {n: number for n, number in found.items() if number is not None}

    @cached_property
    def combined(self) -> dict[str, FeatureKind]:
        """The features that combine other features' embeddings."""
        return {n: f for n, f in self.features.items() if f.combines}

    @cached_property
    def embedded(self) -> dict[str, Embedding]:
        """How each feature with rows in an embedding table is embedded: first those whose ids are
        written, then the bucketized.
        """
        found = {n: self.features[n].embedding for n in [*self.id_features, *self.bucketized]}
        return {n: embedding for n, embedding in found.items() if embedding is not None}

    @cached_property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The features whose ids as written are looked up in a vocabulary of their own."""
        found = {n: f.vocabulary_from for n, f in self.id_features.items()}
        return {n: vocabulary for n, vocabulary in found.items() if vocabulary is not None}

    def owner(self, name: str) -> str:
        """The feature whose embedding table, and vocabulary, this one uses: itself unless it
        shares.
        """
        return self.features[name].table_owner or name

    @cached_property
    def id_slots(self) -> dict[str, Slots]:
        """Where each feature's ids lie in `ids` [B, S]."""
        return _consecutive({n: f.written_slots for n, f in self.id_features.items()})

    @cached_property
    def embedded_slots(self) -> dict[str, Slots]:
        """Where each feature lies in the ids that the model's graph makes of `ids` and `dense`:
        `ids`, then one slot per bucketized feature.
        """
        return _consecutive({n: e.slots for n, e in self.embedded.items()})

    @cached_property
    def dense_slots(self) -> dict[str, Slots]:
        """Where each number lies in `dense` [B, D]: the numeric features, then the bucketized."""
        return _consecutive(dict.fromkeys([*self.numeric, *self.bucketized], 1))

    @cached_property
    def weight_slots(self) -> dict[str, Slots]:
        """Where the weights of each weighted list lie in `dense`: after the numbers."""
        lengths = {n: self.features[n].written_slots for n in self.weighted}
        return _consecutive(lengths, start=len(self.dense_slots))

    @property
    def ids_width(self) -> int:
        """The number of columns S of `ids`."""
        return sum(s.length for s in self.id_slots.values())

    @property
    def dense_width(self) -> int:
        """The number of columns D of `dense`."""
        slots = [*self.dense_slots.values(), *self.weight_slots.values()]
        return sum(s.length for s in slots)

    @property
    def fingerprint(self) -> str:
        """Identifies the bytes that preprocessing writes: 16 hexadecimal digits.

        What only the model's graph reads (dim, pooling, scale, boundaries, products, tasks …) does
        not count: it may change without preprocessing again.
        """
        content = {
            "features": {
                n: f.written_declaration() for n, f in self.features.items() if not f.combines
            },
            "labels": {n: label.model_dump() for n, label in self.labels.items()},
        }
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Writes spec.json: declarations, and for other readers the slots and the fingerprint."""
        content = self.model_dump(exclude_none=True, mode="json") | {
            "fingerprint": self.fingerprint,
            "slots": {
                "ids": {n: [s.start, s.length] for n, s in self.id_slots.items()},
                "dense": {n: [s.start, s.length] for n, s in self.dense_slots.items()},
                "weights": {n: [s.start, s.length] for n, s in self.weight_slots.items()},
            },
        }
        files.write_text(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Spec:
        """Reads spec.json.

        Raises:
            FunnelError: It is absent, or was written by a version with other rules.
        """
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise FunnelError(
                f"{path}: cannot be read as spec.json ({error}); run `funnel preprocess` first"
            ) from None
        if not isinstance(content, dict):
            raise FunnelError(
                f"{path}: holds no object of declarations; run `funnel preprocess` again"
            )
        spec = cls.parse({key: content.get(key) for key in cls.model_fields}, str(path))
        if spec.fingerprint != content.get("fingerprint"):
            raise FunnelError(
                f"{path}: fingerprint {content.get('fingerprint')} is not this version's "
                f"{spec.fingerprint}; preprocess again"
            )
        return spec


def _consecutive(lengths: dict[str, int], start: int = 0) -> dict[str, Slots]:
    """Slots of these lengths, one after the other."""
    slots = {}
    for name, length in lengths.items():
        slots[name] = Slots(start, length)
        start += length
    return slots

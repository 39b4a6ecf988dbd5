"""The contract as a whole: checks that features, labels and tasks fit together, and knows the slots
of the packed layout.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from features import checks
from features.declarations import (
    COLUMN_KINDS,
    Bucketized,
    Categorical,
    Coded,
    Cross,
    Embedded,
    Feature,
    Name,
    Numeric,
    Product,
    RawType,
    Sequence,
    Time,
)
from features.errors import FunnelError
from features.labels import Label, Task
from features.settings import Settings

SHARED = (
    "buckets",
    "vocabulary",
    "min_count",
    "dim",
)  # what a feature takes over from the one whose table it shares
GRAPH_ONLY = {
    "dim",
    "pooling",
    "scale",
    "boundaries",
    "serve",
    "shares",
}  # what only the model's graph reads


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


class Spec(Settings):
    """Features, labels and tasks by name: one Spec drives the pipeline, the model and the serving
    graph.
    """

    features: dict[Name, Feature] = Field(min_length=1)
    labels: dict[Name, Label] = Field(min_length=1)
    tasks: dict[Name, Task] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        """A feature's column is its name; who shares a table codes as its owner; the joint of (ctr,
        cvr) is ctcvr, else parent_task.

        A task on a number has no joint.
        """
        if not isinstance(data, Mapping):
            return data
        data = json.loads(json.dumps(data, default=str))
        features = {n: f for n, f in (data.get("features") or {}).items() if isinstance(f, dict)}
        for name, feature in features.items():
            if feature.get("kind") in COLUMN_KINDS:
                feature.setdefault("column", name)
            owner = features.get(feature.get("shares"), {})
            for key in SHARED:
                if key in owner:
                    feature.setdefault(key, owner[key])
        tasks = {n: t for n, t in (data.get("tasks") or {}).items() if isinstance(t, dict)}
        numbers = [n for n, label in (data.get("labels") or {}).items() if _holds_number(label)]
        for name, task in tasks.items():
            parent = next(
                (
                    n
                    for n, t in tasks.items()
                    if task.get("given") and t.get("label") == task["given"]
                ),
                None,
            )
            if parent and not task.get("joint") and task.get("label") not in numbers:
                task["joint"] = "ctcvr" if (parent, name) == ("ctr", "cvr") else f"{parent}_{name}"
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        checks.check(self)
        _ = self.columns
        return self

    def parent(self, task: str) -> str | None:
        """The task whose label is this task's sample space; None when its sample space is every
        row.
        """
        given = self.tasks[task].given
        return (
            next((n for n, t in self.tasks.items() if n != task and t.label == given), None)
            if given
            else None
        )

    @cached_property
    def columns(self) -> dict[str, RawType]:
        """Every raw column that the features read, and what it must hold. Raises ValueError if two
        disagree.
        """
        found: dict[str, tuple[str, RawType]] = {}
        for name, feature in self.features.items():
            for column, raw_type in self._columns_of(feature):
                other, known = found.setdefault(column, (name, raw_type))
                if known != raw_type:
                    raise ValueError(
                        f"features.{other} reads column '{column}' as {known}, features.{name} as {raw_type}: it holds one of them"
                    )
        inputs: dict[str, str] = {}
        for column in found:
            other = inputs.setdefault(input_name(column), column)
            if other != column:
                raise ValueError(
                    f"columns '{other}' and '{column}' would both be the request's '{input_name(column)}': rename one"
                )
        return {column: raw_type for column, (_, raw_type) in found.items()}

    def _columns_of(self, feature: Feature) -> list[tuple[str, RawType]]:
        if isinstance(feature, Product):
            return []
        if isinstance(feature, Cross):
            return [(part, "text") for part in feature.of if part not in self.features]
        weights = getattr(feature, "weights", None)
        held = "text" if getattr(feature, "separator", None) else "numbers"
        return [(feature.column, feature.raw_type)] + ([(weights, held)] if weights else [])

    @cached_property
    def served(self) -> dict[str, str | int | float]:
        """The columns that a request does not send, and the value that the serving graph feeds."""
        return {
            f.column: f.serve
            for f in self.features.values()
            if getattr(f, "serve", None) is not None
        }

    @property
    def request_columns(self) -> dict[str, RawType]:
        """The columns that a request sends."""
        return {
            column: raw_type
            for column, raw_type in self.columns.items()
            if column not in self.served
        }

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """The smallest and largest value of the columns whose integers are ids as they are."""
        found: dict[str, tuple[int, int]] = {}
        for feature in self.features.values():
            if isinstance(feature, Categorical) and feature.identity:
                _, largest = found.get(feature.column, (0, feature.buckets))
                found[feature.column] = (0, min(largest, feature.buckets - 2))
        return found

    @property
    def paired(self) -> dict[str, str]:
        """Each column of weights, and the column of the values that they belong to."""
        return {f.weights: f.column for f in self.features.values() if getattr(f, "weights", None)}

    @cached_property
    def coded(self) -> dict[str, Categorical | Sequence | Cross | Time]:
        """The features whose ids are written in `ids`."""
        return {
            n: f
            for n, f in self.features.items()
            if isinstance(f, Categorical | Sequence | Cross | Time)
        }

    @cached_property
    def bucketized(self) -> dict[str, Bucketized]:
        """The features that are written as numbers and become ids in the model's graph."""
        return {n: f for n, f in self.features.items() if isinstance(f, Bucketized)}

    @cached_property
    def numeric(self) -> dict[str, Numeric]:
        """The features that stay numbers."""
        return {n: f for n, f in self.features.items() if isinstance(f, Numeric)}

    @cached_property
    def products(self) -> dict[str, Product]:
        """The features that are made of other features' embeddings."""
        return {n: f for n, f in self.features.items() if isinstance(f, Product)}

    @cached_property
    def embedded(self) -> dict[str, Embedded]:
        """The features that have rows in an embedding table: first the coded ones, then the
        bucketized.
        """
        return self.coded | self.bucketized

    @cached_property
    def vocabularies(self) -> dict[str, Coded]:
        """The features whose ids as written are looked up in a vocabulary of their own."""
        return {
            n: f
            for n, f in self.coded.items()
            if isinstance(f, Coded) and f.buckets is None and f.shares is None
        }

    def owner(self, name: str) -> str:
        """The feature whose embedding table, and vocabulary, this one uses: itself unless it
        shares.
        """
        return getattr(self.features[name], "shares", None) or name

    @cached_property
    def id_slots(self) -> dict[str, Slots]:
        """Each coded feature's place in `ids` [B, S]."""
        return _place({n: f.slots for n, f in self.coded.items()})

    @cached_property
    def embedded_slots(self) -> dict[str, Slots]:
        """Each embedded feature's place in the ids that the model's graph makes of `ids` and
        `dense`: `ids`, then one slot a bucketized.
        """
        return _place({n: f.slots for n, f in self.embedded.items()})

    @cached_property
    def _dense_places(self) -> dict[str, Slots]:
        weighted = {
            f"{n} weights": f.slots for n, f in self.coded.items() if getattr(f, "weights", None)
        }
        return _place(dict.fromkeys([*self.numeric, *self.bucketized], 1) | weighted)

    @cached_property
    def dense_slots(self) -> dict[str, Slots]:
        """Each number's place in `dense` [B, D]; those of bucketized features after the numeric
        ones.
        """
        return {n: self._dense_places[n] for n in [*self.numeric, *self.bucketized]}

    @cached_property
    def weight_slots(self) -> dict[str, Slots]:
        """Where in `dense` the weights of a weighted list lie, by its name."""
        return {
            n.removesuffix(" weights"): s
            for n, s in self._dense_places.items()
            if n.endswith(" weights")
        }

    @property
    def ids_width(self) -> int:
        return sum(s.length for s in self.id_slots.values())

    @property
    def dense_width(self) -> int:
        return sum(s.length for s in self._dense_places.values())

    @property
    def fingerprint(self) -> str:
        """Names the bytes that preprocessing writes: 16 hexadecimal digits.

        What only the model's graph reads (dim, pooling, scale, boundaries, products, tasks …) does
        not count: it may change without preprocessing again.
        """
        content = {
            "features": {
                n: f.model_dump(exclude=GRAPH_ONLY)
                for n, f in self.features.items()
                if not isinstance(f, Product)
            },
            "labels": {n: label.model_dump() for n, label in self.labels.items()},
        }
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Writes spec.json: the declarations, and for readers in other languages the slots and the
        fingerprint.
        """
        content = self.model_dump(exclude_none=True, mode="json") | {
            "fingerprint": self.fingerprint,
            "slots": {
                "ids": {n: [s.start, s.length] for n, s in self.id_slots.items()},
                "dense": {n: [s.start, s.length] for n, s in self.dense_slots.items()},
                "weights": {n: [s.start, s.length] for n, s in self.weight_slots.items()},
            },
        }
        path.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Spec:
        """Reads spec.json. Raises FunnelError when it is absent or was written with other rules."""
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
                f"{path}: fingerprint {content.get('fingerprint')} is not this version's {spec.fingerprint}; preprocess again"
            )
        return spec


def input_name(column: str) -> str:
    """A column's name in a request: TensorFlow's signatures keep letters, digits and _ alone, and
    begin with a letter.
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", column)
    return name if name[:1].isalpha() else f"column_{name}"


def _holds_number(label: Any) -> bool:
    """Whether a label, as declared, is a number: Valued.is_number before anything is validated."""
    return (
        isinstance(label, dict) and label.get("value") is not None and label.get("at_least") is None
    )


def _place(lengths: dict[str, int]) -> dict[str, Slots]:
    slots, start = {}, 0
    for name, length in lengths.items():
        slots[name] = Slots(start, length)
        start += length
    return slots

"""The contract between the pipeline, the model and the serving graph: features, labels and tasks,
and where each feature lies in the packed layout.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from features import checks, files
from features.errors import FunnelError, nearest
from features.kinds import KINDS
from features.kinds.base import (
    Boundaries,
    Constant,
    Embedding,
    FeatureKind,
    Number,
    RawType,
    Vocabulary,
    Weighted,
)
from features.labels import Label, Task, parent_task
from features.settings import Name, Settings


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


def _of_its_kind(declared: Any) -> Any:
    """A declared feature → an instance of the class that KINDS has for its kind."""
    if not isinstance(declared, dict):
        return declared
    if "kind" not in declared:
        raise ValueError(f"'kind' is missing: give one of {', '.join(KINDS)}")
    kind = declared["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind = {kind!r} is unknown: {nearest(str(kind), KINDS, listed=True)}")
    return KINDS[kind].model_validate(declared)


Feature = Annotated[SerializeAsAny[FeatureKind], BeforeValidator(_of_its_kind)]


class Spec(Settings):
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

    features: dict[Name, Feature] = Field(min_length=1)
    labels: dict[Name, Label] = Field(min_length=1)
    tasks: dict[Name, Task] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        """Each kind fills in its features' defaults. The joint of (ctr, cvr) is ctcvr, of other
        tasks parent_task; a task on a number has none.
        """
        if not isinstance(data, Mapping):
            return data
        data = json.loads(json.dumps(data, default=str))
        features = _tables(data.get("features"))
        for name, feature in features.items():
            kind = feature.get("kind")
            if isinstance(kind, str) and kind in KINDS:
                KINDS[kind].fill_defaults(name, feature, features)
        tasks = _tables(data.get("tasks"))
        numbers = [n for n, label in (data.get("labels") or {}).items() if _holds_number(label)]
        for name, task in tasks.items():
            given = task.get("given")
            parent = next((n for n, t in tasks.items() if given and t.get("label") == given), None)
            if parent and not task.get("joint") and task.get("label") not in numbers:
                task["joint"] = "ctcvr" if (parent, name) == ("ctr", "cvr") else f"{parent}_{name}"
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        checks.check_features(self.features)
        checks.check_labels(self.labels, self.features)
        checks.check_tasks(self.tasks, self.labels)
        _ = self.columns
        return self

    def parent(self, task: str) -> str | None:
        """The task whose label is this task's sample space; None if that is all rows."""
        return parent_task(self.tasks, task)

    @cached_property
    def columns(self) -> dict[str, RawType]:
        """Every raw column that the features read, and what it must hold.

        Raises:
            ValueError: Two features disagree, or two columns have one name in requests.
        """
        found: dict[str, tuple[str, RawType]] = {}
        for name, feature in self.features.items():
            for column, raw_type in feature.raw_columns(self.features):
                other, known = found.setdefault(column, (name, raw_type))
                if known != raw_type:
                    raise ValueError(
                        f"features.{other} reads column '{column}' as {known}, features.{name} as "
                        f"{raw_type}: it holds one of them"
                    )
        inputs: dict[str, str] = {}
        for column in found:
            other = inputs.setdefault(input_name(column), column)
            if other != column:
                raise ValueError(
                    f"columns '{other}' and '{column}' would both be the request's "
                    f"'{input_name(column)}': rename one"
                )
        return {column: raw_type for column, (_, raw_type) in found.items()}

    @cached_property
    def served(self) -> dict[str, Constant]:
        """The columns that a request does not send, and the value that the serving graph feeds."""
        return {c: value for f in self.features.values() for c, value in f.constants.items()}

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
        """The smallest and largest valid value of the columns that hold ids."""
        found: dict[str, tuple[int, int]] = {}
        for feature in self.features.values():
            for column, (low, high) in feature.integer_bounds.items():
                lowest, highest = found.get(column, (low, high))
                found[column] = max(low, lowest), min(high, highest)
        return found

    @property
    def paired(self) -> dict[str, str]:
        """Each column of weights, and the column of the values that they belong to."""
        return {w.weights: w.values for w in self.weighted.values()}

    @property
    def separators(self) -> dict[str, str]:
        """The separator of each column of weighted values that is a text."""
        return {w.values: w.separator for w in self.weighted.values() if w.separator}

    @cached_property
    def id_features(self) -> dict[str, FeatureKind]:
        """The features whose ids are written in `ids`."""
        return {n: f for n, f in self.features.items() if f.written_slots}

    @cached_property
    def weighted(self) -> dict[str, Weighted]:
        """The lists whose values have weights."""
        found = {n: f.weighted for n, f in self.id_features.items()}
        return {n: weighted for n, weighted in found.items() if weighted is not None}

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


def input_name(column: str) -> str:
    """A column's name in a request: only letters, digits and _, starting with a letter.

    Example:
        >>> input_name("user-id"), input_name("7d_clicks")
        ('user_id', 'column_7d_clicks')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", column)
    return name if name[:1].isalpha() else f"column_{name}"


def _holds_number(label: Any) -> bool:
    """Whether a declared label is a number, before validation."""
    return (
        isinstance(label, dict) and label.get("value") is not None and label.get("at_least") is None
    )


def _tables(section: Any) -> dict[str, dict[str, Any]]:
    """The entries of a section that are tables."""
    return {name: entry for name, entry in (section or {}).items() if isinstance(entry, dict)}


def _consecutive(lengths: dict[str, int], start: int = 0) -> dict[str, Slots]:
    """Slots of these lengths, one after the other."""
    slots = {}
    for name, length in lengths.items():
        slots[name] = Slots(start, length)
        start += length
    return slots

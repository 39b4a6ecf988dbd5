"""The contract as a whole: checks that features, labels and tasks fit together, and knows the slots of the packed layout."""

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

from features.declarations import Categorical, ColumnLabel, Cross, EventLabel, Feature, Label, Name, Numeric, RawType, Task
from features.errors import FunnelError, nearest
from features.settings import Settings

LAYOUT_KEYS = ("ids", "dense", "id")  # of the packed tf.Example, where each label has its own key too


@dataclass(frozen=True)
class Slots:
    """Where a feature lies in `ids`, or in `dense`: columns start … start + length − 1."""

    start: int
    length: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.length)


class Spec(Settings):
    """Features, labels and tasks by name: one Spec drives the pipeline, the model and the serving graph."""

    features: dict[Name, Feature] = Field(min_length=1)
    labels: dict[Name, Label] = Field(min_length=1)
    tasks: dict[Name, Task] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        """A feature's column is its name; the joint of (ctr, cvr) is ctcvr, of other chains parent_task."""
        if not isinstance(data, Mapping):
            return data
        data = json.loads(json.dumps(data, default=str))
        for name, feature in (data.get("features") or {}).items():
            if isinstance(feature, dict) and feature.get("kind") in ("categorical", "numeric"):
                feature.setdefault("column", name)
        tasks = {n: t for n, t in (data.get("tasks") or {}).items() if isinstance(t, dict)}
        for name, task in tasks.items():
            parent = next((n for n, t in tasks.items() if task.get("given") and t.get("label") == task["given"]), None)
            if parent and not task.get("joint"):
                task["joint"] = "ctcvr" if (parent, name) == ("ctr", "cvr") else f"{parent}_{name}"
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, feature in self.features.items():
            if isinstance(feature, Cross):
                self._check_cross(name, feature)
        for name, label in self.labels.items():
            self._check_label(name, label)
        for name, task in self.tasks.items():
            self._check_task(name, task)
        outputs = [*self.tasks, *(t.joint for t in self.tasks.values() if t.joint)]
        twice = {o for o in outputs if outputs.count(o) > 1}
        if twice:
            raise ValueError(f"tasks and joints share the name '{min(twice)}': give one of them another name")
        _ = self.columns
        return self

    def _check_cross(self, name: str, cross: Cross) -> None:
        parts = [self.features.get(part) for part in cross.of]
        for part, feature in zip(cross.of, parts, strict=True):
            if feature is not None and not isinstance(feature, Categorical):
                raise ValueError(f"features.{name}.of names '{part}', a {feature.kind} feature: a cross is of categorical ones")
        many = [part for part, f in zip(cross.of, parts, strict=True) if f is not None and f.max_length]
        if many and not cross.max_length:
            raise ValueError(f"features.{name} crosses the multi-valued '{many[0]}': give max_length, how many pairs are kept")

    def _check_label(self, name: str, label: Label) -> None:
        if name in LAYOUT_KEYS:
            raise ValueError(f"labels.{name}: the tf.Example keeps {', '.join(LAYOUT_KEYS)} for itself: give the label another name")
        if isinstance(label, ColumnLabel):
            used = [n for n, f in self.features.items() if label.column in (getattr(f, "column", None), *getattr(f, "of", []))]
            if used:
                raise ValueError(
                    f"labels.{name} and features.{used[0]} both read the column '{label.column}': "
                    "a label may not be a feature; remove the feature"
                )
        elif label.after is not None:
            earlier = list(self.labels)[: list(self.labels).index(name)]
            if label.after not in earlier or not isinstance(self.labels[label.after], EventLabel):
                known = [n for n in earlier if isinstance(self.labels[n], EventLabel)]
                raise ValueError(f"labels.{name}.after = '{label.after}' must be an event label above it: {nearest(label.after, known)}")

    def _check_task(self, name: str, task: Task) -> None:
        if task.label not in self.labels:
            raise ValueError(f"tasks.{name}.label = '{task.label}' is not a label: {nearest(task.label, self.labels)}")
        if task.given is None:
            if task.joint:
                raise ValueError(f"tasks.{name}.joint = '{task.joint}' names the probability of a chain: give `given`, or remove it")
            return
        parents = [t.label for n, t in self.tasks.items() if n != name]
        if task.given not in parents:
            raise ValueError(f"tasks.{name}.given = '{task.given}' must be the label of another task: {nearest(task.given, parents)}")
        seen, at = {name}, self.parent(name)
        while at is not None:
            if at in seen:
                raise ValueError(f"tasks.{name}.given = '{task.given}' leads back to '{at}': a chain of tasks has a first one")
            seen.add(at)
            at = self.parent(at)

    def parent(self, task: str) -> str | None:
        """The task whose label is this task's sample space; None when its sample space is every row."""
        given = self.tasks[task].given
        return next((n for n, t in self.tasks.items() if n != task and t.label == given), None) if given else None

    @cached_property
    def columns(self) -> dict[str, RawType]:
        """Every raw column that the features read, and what it must hold. Raises ValueError if two disagree."""
        found: dict[str, tuple[str, RawType]] = {}
        for name, feature in self.features.items():
            if isinstance(feature, Cross):
                wanted = [(part, "text") for part in feature.of if part not in self.features]
            else:
                wanted = [(feature.column, feature.raw_type)]
            for column, raw_type in wanted:
                other, known = found.setdefault(column, (name, raw_type))
                if known != raw_type:
                    raise ValueError(
                        f"features.{other} reads column '{column}' as {known}, features.{name} as {raw_type}: it holds one of them"
                    )
        inputs: dict[str, str] = {}
        for column in found:
            other = inputs.setdefault(input_name(column), column)
            if other != column:
                raise ValueError(f"columns '{other}' and '{column}' would both be the request's '{input_name(column)}': rename one")
        return {column: raw_type for column, (_, raw_type) in found.items()}

    @cached_property
    def embedded(self) -> dict[str, Categorical | Cross]:
        """The features that become ids."""
        return {n: f for n, f in self.features.items() if isinstance(f, Categorical | Cross)}

    @cached_property
    def numeric(self) -> dict[str, Numeric]:
        """The features that stay numbers."""
        return {n: f for n, f in self.features.items() if isinstance(f, Numeric)}

    @cached_property
    def id_slots(self) -> dict[str, Slots]:
        """Each embedded feature's place in `ids` [B, S]."""
        return _place({n: f.slots for n, f in self.embedded.items()})

    @cached_property
    def dense_slots(self) -> dict[str, Slots]:
        """Each number's place in `dense` [B, D]."""
        return _place(dict.fromkeys(self.numeric, 1))

    @property
    def ids_width(self) -> int:
        return sum(s.length for s in self.id_slots.values())

    @property
    def dense_width(self) -> int:
        return len(self.dense_slots)

    @property
    def fingerprint(self) -> str:
        """Names the bytes that preprocessing writes: 16 hexadecimal digits.

        What only the model's graph reads (dim, pooling, standardize, tasks) does not count: it may change without
        preprocessing again.
        """
        graph_only = {"dim", "pooling", "standardize"}
        content = {
            "features": {n: f.model_dump(exclude=graph_only) for n, f in self.features.items()},
            "labels": {n: label.model_dump() for n, label in self.labels.items()},
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Writes spec.json: the declarations, and for readers in other languages the slots and the fingerprint."""
        content = self.model_dump(exclude_none=True) | {
            "fingerprint": self.fingerprint,
            "slots": {
                "ids": {n: [s.start, s.length] for n, s in self.id_slots.items()},
                "dense": {n: [s.start, s.length] for n, s in self.dense_slots.items()},
            },
        }
        path.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Spec:
        """Reads spec.json. Raises FunnelError when it is absent or was written with other rules."""
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise FunnelError(f"{path}: cannot be read as spec.json ({error}); run `funnel preprocess` first") from None
        if not isinstance(content, dict):
            raise FunnelError(f"{path}: holds no object of declarations; run `funnel preprocess` again")
        spec = cls.parse({key: content.get(key) for key in cls.model_fields}, str(path))
        if spec.fingerprint != content.get("fingerprint"):
            raise FunnelError(
                f"{path}: fingerprint {content.get('fingerprint')} is not this version's {spec.fingerprint}; preprocess again"
            )
        return spec


def input_name(column: str) -> str:
    """A column's name in a request: TensorFlow's signatures keep letters, digits and _ alone, and begin with a letter."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", column)
    return name if name[:1].isalpha() else f"column_{name}"


def _place(lengths: dict[str, int]) -> dict[str, Slots]:
    slots, start = {}, 0
    for name, length in lengths.items():
        slots[name] = Slots(start, length)
        start += length
    return slots

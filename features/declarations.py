"""The declared features, labels and tasks, checked to fit together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from features import checks
from features.errors import nearest
from features.kinds import KINDS
from features.kinds.base import Constant, FeatureKind, RawType, Weighted
from features.labels import Label, Task, parent_task
from features.settings import Name, Settings


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


class Declarations(Settings):
    """Features, labels and tasks by name, and the columns they read. `Spec` adds the layout."""

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

    @cached_property
    def weighted(self) -> dict[str, Weighted]:
        """The lists whose values have weights."""
        found = {n: f.weighted for n, f in self.features.items()}
        return {n: weighted for n, weighted in found.items() if weighted is not None}

    @property
    def paired(self) -> dict[str, str]:
        """Each column of weights, and the column of the values that they belong to."""
        return {w.weights: w.values for w in self.weighted.values()}

    @property
    def separators(self) -> dict[str, str]:
        """The separator of each column of weighted values that is a text."""
        return {w.values: w.separator for w in self.weighted.values() if w.separator}


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

"""Warm start from another run: embedding rows by feature name, dense weights by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from model.embeddings.tables import flat_columns, row_ranges
from model.embeddings.wide import wide_ranges
from model.estimator.checkpoint_files import first_readable, holds_variable, read_variable
from model.estimator.model_json import ModelJson
from model.estimator.ranking_config import RankingConfig

REMEDY = "give another run's model directory, or start without"
# Tables and their optimizer's slots.
_TABLE = re.compile(r"(slots/)?(?P<kind>embeddings_\d+|wide)/(?P<dim>\d+)(/|$)")
NEVER = ("step",)  # the new run counts its own


@dataclass(frozen=True)
class WarmStart:
    """The latest checkpoint of another run, to start a new training from.

    Args:
        model_dir: the other run's model directory.
        refresh_statistics: take the feature statistics (moments, ranges, boundaries, vocabularies)
            of the new training split. By default those of the checkpoint are kept, since its
            weights were trained with them.

    Example:
        RankingEstimator(config, "today/model", warm_start=WarmStart(Path("yesterday/model")))
    """

    model_dir: Path
    refresh_statistics: bool = False

    @cached_property
    def _known(self) -> dict[str, Any]:
        known = ModelJson(self.model_dir).read()
        if known is None:
            raise self._nothing()
        return known

    def _nothing(self) -> FunnelError:
        return FunnelError(f"{self.model_dir}: holds no checkpoint to start from; {REMEDY}")

    @cached_property
    def spec(self) -> Spec:
        return Spec.parse(self._known["spec"], str(self.model_dir / "model.json"))

    @cached_property
    def old_fitted(self) -> Fitted:
        return Fitted.parse(self._known["fitted"], str(self.model_dir / "model.json"))

    @property
    def chosen(self) -> Mapping[str, float]:
        """What was chosen for the other run where its configuration left it open."""
        return self._known.get("chosen", {})

    def fitted(self, config: RankingConfig) -> Fitted:
        """The new run's statistics: the checkpoint's for features that both runs declare alike,
        those of the new training split for all others.
        """
        if self.refresh_statistics:
            return config.fitted
        same = [
            name
            for name, f in config.spec.features.items()
            if name in self.spec.features
            and f.rows_declaration() == self.spec.features[name].rows_declaration()
        ]
        kept = {}
        for part in ("moments", "ranges", "boundaries", "vocabularies"):
            new, old = getattr(config.fitted, part), getattr(self.old_fitted, part)
            kept[part] = {
                name: old[name] if name in same and name in old else value
                for name, value in new.items()
            }
        return Fitted(**kept, outcomes=config.fitted.outcomes)

    def apply(
        self,
        state: Mapping[str, tf.Variable],
        spec: Spec,
        fitted: Fitted,
        warn: Callable[[str], None],
    ) -> None:
        """Fills the variables of a new training, including its optimizers'.

        Args:
            state: the variables by name. One that cannot be filled keeps its initial value.
            spec: the new run's features.
            fitted: the new run's statistics.
            warn: receives a line for each variable or feature that cannot be filled.

        Raises:
            FunnelError: no checkpoint can be read.
        """
        rows = {
            name: self._row_map(spec, fitted, name, warn)
            for name in spec.embedded
            if spec.owner(name) == name
        }
        for name in self.spec.features:
            if name not in spec.features:
                warn(f"warm start: feature '{name}' of {self.model_dir} is gone")

        def read(path: str) -> None:
            reader = tf.train.load_checkpoint(path)
            for name, variable in state.items():
                if name not in NEVER:
                    value = self._value(name, variable, reader, spec, fitted, rows, warn)
                    if value is not None:
                        variable.assign(value)

        if first_readable(self.model_dir / "checkpoints", read, warn, REMEDY) is None:
            raise self._nothing()

    def _row_map(
        self, spec: Spec, fitted: Fitted, name: str, warn: Callable[[str], None]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """(rows of the new feature, the old rows that they continue); None, and a warning, where
        the feature cannot continue.
        """
        feature, old = spec.features[name], self.spec.features.get(name)
        if old is None or self.spec.owner(name) != name:
            warn(f"warm start: feature '{name}' is new: its embeddings start from scratch")
            return None
        mine, theirs = feature.rows_declaration(), old.rows_declaration()
        changed = [
            f"{key} was {theirs.get(key)} and is {mine.get(key)}"
            for key in {**theirs, **mine}
            if mine.get(key) != theirs.get(key)
        ]
        if changed:
            warn(
                f"warm start: feature '{name}' has changed ({', '.join(changed)}): its embeddings "
                "start from scratch"
            )
            return None
        new_ids, old_ids = fitted.vocabularies.get(name), self.old_fitted.vocabularies.get(name)
        if new_ids is not None and old_ids is not None:
            _, here, there = np.intersect1d(new_ids, old_ids, return_indices=True)
            added = len(new_ids) - len(here)
            if added:
                warn(
                    f"warm start: {added} values of feature '{name}' are new: their embeddings "
                    "start from scratch"
                )
            return np.concatenate([[0, 1], here + 2]), np.concatenate([[0, 1], there + 2])
        count, before = fitted.table_rows(spec, name), self.old_fitted.table_rows(self.spec, name)
        if count != before or fitted.boundaries.get(name) != self.old_fitted.boundaries.get(name):
            warn(
                f"warm start: the boundaries of feature '{name}' have moved: its embeddings start "
                "from scratch"
            )
            return None
        return np.arange(count), np.arange(count)

    def _value(
        self,
        name: str,
        variable: tf.Variable,
        reader: Any,
        spec: Spec,
        fitted: Fitted,
        rows: Mapping[str, Any],
        warn: Callable[[str], None],
    ) -> np.ndarray | None:
        """The value that a variable starts with; None where it keeps its own."""
        table = _TABLE.match(name)
        if table is not None:
            old = read_variable(reader, name) if holds_variable(reader, name) else None
            ranges = wide_ranges if table["kind"] == "wide" else row_ranges
            return (
                None
                if old is None
                else self._table(variable, old, spec, fitted, int(table["dim"]), rows, ranges)
            )
        if not holds_variable(reader, name):
            warn(f"warm start: {name} is new: it starts from scratch")
            return None
        old = read_variable(reader, name)
        new = self._by_columns(variable, old, spec)
        if new is None:
            warn(
                f"warm start: {name} was {list(old.shape)} and is {variable.shape.as_list()}: it "
                "starts from scratch"
            )
        return new

    def _table(
        self,
        variable: tf.Variable,
        old: np.ndarray,
        spec: Spec,
        fitted: Fitted,
        dim: int,
        rows: Mapping[str, Any],
        ranges: Callable[[Spec, Fitted, int], tuple[dict[str, int], int]],
    ) -> np.ndarray | None:
        value = variable.numpy()
        if value.shape[1:] != old.shape[1:]:  # other heads
            return None
        theirs, _ = ranges(self.spec, self.old_fitted, dim)
        for feature, begin in ranges(spec, fitted, dim)[0].items():
            known = rows[spec.owner(feature)]
            if known is not None and feature in theirs:
                here, there = known
                value[begin + here] = old[theirs[feature] + there]
        return value

    def _by_columns(self, variable: tf.Variable, old: np.ndarray, spec: Spec) -> np.ndarray | None:
        """The old value. An axis as long as the model's flat input is filled column by column, by
        the names of the features.
        """
        mine, theirs = flat_columns(spec), flat_columns(self.spec)
        shape = tuple(variable.shape)
        if mine == theirs or not shape or len(old.shape) != len(shape):
            return old if old.shape == shape else None
        axes = [
            axis
            for axis in range(len(shape))
            if shape[axis] == len(mine) and old.shape[axis] == len(theirs)
        ]
        if any(old.shape[axis] != shape[axis] for axis in range(len(shape)) if axis not in axes):
            return None
        here = [i for i, column in enumerate(mine) if column in theirs]
        there = [theirs.index(mine[i]) for i in here]
        value = variable.numpy()
        value[np.ix_(*(here if a in axes else range(n) for a, n in enumerate(shape)))] = old[
            np.ix_(*(there if a in axes else range(n) for a, n in enumerate(shape)))
        ]
        return value

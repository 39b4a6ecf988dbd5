"""Which columns the job reads of each stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from features.labels import ColumnLabel
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.rows.batch import Column, ColumnRequest


def columns_needed(config: PreprocessConfig, stream: str) -> ColumnRequest:
    """The columns that the job reads of a stream: of rows those of features, labels and split; of
    events those of their labels and the key.
    """
    return _of_rows(config) if stream == config.rows else _of_events(config, stream)


def feature_columns(spec: Spec, columns: Mapping[str, str]) -> ColumnRequest:
    """The request for these columns of features, raw types by name."""
    bounds = {column: limits for column, limits in spec.bounds.items() if column in columns}
    return ColumnRequest(
        columns=tuple(columns.items()),
        bounds=bounds,
        paired=spec.paired,
        separators=spec.separators,
    )


def _of_rows(config: PreprocessConfig) -> ColumnRequest:
    spec, by = config.spec, config.split.eval.by
    features = feature_columns(spec, spec.columns)
    texts = [label.column for label in spec.labels.values() if isinstance(label, ColumnLabel)]
    if by is not None:
        texts.append(by)
    numbers = config.value_columns(config.rows)
    others: list[Column] = [(column, "text") for column in texts]
    others += [(column, "number") for column in numbers]
    return replace(
        features,
        columns=tuple(dict.fromkeys([*features.columns, *others])),
        nonnegative=tuple(numbers),
    )


def _of_events(config: PreprocessConfig, stream: str) -> ColumnRequest:
    key = config.logs[stream].key
    numbers = config.value_columns(stream)
    columns: list[Column] = [(column, "number") for column in numbers]
    if key is not None:
        columns.append((key, "text"))
    return ColumnRequest(columns=tuple(columns), nonnegative=tuple(numbers))

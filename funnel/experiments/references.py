"""Reference models on the rows that a model reads: logistic regression, boosted trees, a constant.

Each task is trained and measured on its own sample space. Levels and moments come from the
training split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from features.spec import Spec
from funnel.reports.examples import read_rows
from model.data.input import Data
from model.evaluation.metrics import measure
from model.objectives.sample_spaces import own_space

CATEGORIES = 255  # the most that the trees take as categories
LISTED = 32  # values of a list that the trees see, the most frequent
ITERATIONS = 1000
SEED = 1  # of the trees' own validation rows


@dataclass(frozen=True)
class Rows:
    """A split: ids [N, S], dense [N, D], labels {name: [N]}, weight [N]."""

    ids: np.ndarray
    dense: np.ndarray
    labels: dict[str, np.ndarray]
    weight: np.ndarray


def read(data: Data, split: str) -> Rows:
    """Every row of a split, once."""
    shards = [data.directory / shard["file"] for shard in data.manifest["shards"][split]]
    batches = [rows for path in shards for rows in read_rows(path, data.spec, data.manifest)]
    labels = {
        name: np.concatenate([batch.labels[name] for batch in batches]) for name in data.spec.labels
    }
    weights = [
        np.ones(len(batch)) if batch.weights is None else batch.weights.astype(np.float64)
        for batch in batches
    ]
    return Rows(
        np.concatenate([batch.ids for batch in batches]),
        np.concatenate([batch.dense for batch in batches]),
        labels,
        np.concatenate(weights),
    )


def references(data: Data) -> dict[str, dict[str, float]]:
    """By task the references' AUC and log loss, and its training and evaluation positives."""
    spec, train, held = data.spec, read(data, "train"), read(data, "eval")
    linear, trees = linear_inputs(spec, train, held), tree_inputs(spec, train, held)
    return {
        task: _of_task(spec, task, train=train, held=held, linear=linear, trees=trees)
        for task in spec.tasks
    }


def _of_task(
    spec: Spec,
    task: str,
    *,
    train: Rows,
    held: Rows,
    linear: Linear,
    trees: Trees,
) -> dict[str, float]:
    label, mask = own_space(spec, task, train.labels)
    held_label, held_mask = own_space(spec, task, held.labels)
    y, weight, truth = label[mask], train.weight[mask], held_label[held_mask]
    found: dict[str, float] = {
        "train_rows": int(mask.sum()),
        "eval_rows": int(held_mask.sum()),
        "positives": int(y.sum()),
        "eval_positives": int(truth.sum()),
    }
    if len(set(y)) < 2 or len(set(truth)) < 2:
        return found  # nothing to learn, or no AUC
    scores = {
        "lr": logistic(linear.train[mask], y, weight, linear.held[held_mask]),
        "hgb": boosted(
            trees.train[mask],
            y,
            weight,
            trees.held[held_mask],
            trees.categorical,
        ),
        "constant": np.full(len(truth), np.average(y, weights=weight)),
    }
    for name, p in scores.items():
        measured = measure(p, truth, 0.5)
        for metric in ("auc", "logloss"):
            value = measured[metric]
            if value is not None:
                found[f"{metric}_{name}"] = value
    return found


def logistic(
    x: sparse.csr_matrix,
    y: np.ndarray,
    weight: np.ndarray,
    held: sparse.csr_matrix,
) -> np.ndarray:
    """p [M] of `held`: L2 regression, C = 1."""
    model = LogisticRegression(C=1.0, max_iter=ITERATIONS)
    return np.asarray(model.fit(x, y, sample_weight=weight).predict_proba(held)[:, 1])


def boosted(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    held: np.ndarray,
    categorical: list[bool],
) -> np.ndarray:
    """p [M] of `held`: boosted trees with scikit-learn's defaults."""
    model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=SEED)
    return np.asarray(model.fit(x, y, sample_weight=weight).predict_proba(held)[:, 1])


@dataclass(frozen=True)
class Linear:
    """One-hot ids and standardized numbers, [N, F] and [M, F]."""

    train: sparse.csr_matrix
    held: sparse.csr_matrix


def linear_inputs(spec: Spec, train: Rows, held: Rows) -> Linear:
    """A list is the mean of its values' one-hot vectors; crosses are ids already."""
    blocks = []
    for slots in spec.id_slots.values():
        ids, held_ids = train.ids[:, slots.slice], held.ids[:, slots.slice]
        levels = np.unique(_values(ids)[1])
        blocks.append((one_hot(ids, levels), one_hot(held_ids, levels)))
    for x, held_x in _numbers(spec, train, held):
        blocks.append(_standardized(x, held_x))
    return Linear(*(sparse.hstack(side, "csr") for side in zip(*blocks, strict=True)))


def one_hot(ids: np.ndarray, levels: np.ndarray) -> sparse.csr_matrix:
    """ids [N, L] → [N, levels]: 1 / (values present) at each; other values are left out."""
    rows, values, shares = _values(ids)
    at = np.minimum(np.searchsorted(levels, values), len(levels) - 1)
    known = levels[at] == values
    where = (rows[known], at[known])
    return sparse.csr_matrix((shares[known], where), shape=(len(ids), len(levels)))


def _values(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, id, share) of every value present; a row without values has id 0."""
    present = ids != 0
    count = present.sum(1)
    present[count == 0, 0] = True
    rows, slots = np.nonzero(present)
    return rows, ids[rows, slots], 1 / np.maximum(count, 1)[rows]


def _numbers(spec: Spec, train: Rows, held: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each number, transformed as declared; NaN is missing. Bucketized features are numbers."""
    for name, slots in spec.dense_slots.items():
        x, held_x = (side.dense[:, slots.start].astype(np.float64) for side in (train, held))
        if name in spec.numeric and spec.numeric[name].transform == "log1p":
            x, held_x = np.log1p(np.maximum(x, 0)), np.log1p(np.maximum(held_x, 0))
        yield x, held_x


def _standardized(x: np.ndarray, held: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """(x − mean) / std, 0 if missing, and a flag for missing."""
    known = x[~np.isnan(x)]
    mean, std = (known.mean(), known.std()) if len(known) else (0.0, 1.0)

    def block(values: np.ndarray) -> sparse.csr_matrix:
        lacking = np.isnan(values)
        scaled = np.where(lacking, 0, (values - mean) / (std or 1.0))
        return sparse.csr_matrix(np.stack([scaled, lacking], axis=1))

    return block(x), block(held)


@dataclass(frozen=True)
class Trees:
    """Codes and numbers, [N, F] and [M, F], NaN for an unknown id; [F] which are codes."""

    train: np.ndarray
    held: np.ndarray
    categorical: list[bool]


def tree_inputs(spec: Spec, train: Rows, held: Rows) -> Trees:
    """An id is the rank of its frequency, categorical if there are few; a list becomes flags."""
    columns, held_columns, categorical = [], [], []
    for slots in spec.id_slots.values():
        ids, held_ids = train.ids[:, slots.slice], held.ids[:, slots.slice]
        levels, counts = np.unique(_values(ids)[1], return_counts=True)
        order = levels[np.argsort(-counts, kind="stable")]
        if slots.length == 1:
            columns.append(_ranks(ids[:, 0], order))
            held_columns.append(_ranks(held_ids[:, 0], order))
            categorical.append(len(order) <= CATEGORIES)
            continue
        for value in order[:LISTED]:
            columns.append((ids == value).any(1))
            held_columns.append((held_ids == value).any(1))
            categorical.append(False)
    for x, held_x in _numbers(spec, train, held):
        columns.append(x)
        held_columns.append(held_x)
        categorical.append(False)
    train_side, held_side = (
        np.stack(side, axis=1).astype(np.float64) for side in (columns, held_columns)
    )
    return Trees(train_side, held_side, categorical)


def _ranks(ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """[N] positions in `order`, NaN for an id that is not there."""
    by_id = np.argsort(order)
    at = np.minimum(np.searchsorted(order[by_id], ids), len(order) - 1)
    return np.where(order[by_id][at] == ids, by_id[at], np.nan).astype(np.float64)

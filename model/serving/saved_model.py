"""Model → SavedModel: signatures over raw columns, and nothing but what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from features import graph
from features.declarations import input_name
from model.ranking import RankingModel

Signatures = dict[str, tf.types.experimental.ConcreteFunction]


def save(model: RankingModel, path: Path) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `examples`, and spec.json among
    its assets.

    Its root tracks raw tf.Variables, under the names that checkpoints have, and vocabularies'
    tables. A Keras variable is a copy of its own when it is saved: the graph would read the
    original, which no loader restores (keras#20095).
    """
    assets = path / "assets"
    assets.mkdir(parents=True)
    tables = {
        name: _table(f"vocabulary_{name}", known, assets)
        for name, known in model.fitted.vocabularies.items()
    }
    signatures = trace(model, {name: _look_up(table) for name, table in tables.items()})
    root = tf.Module()
    root.weights, root.vocabularies = variables_read(model, signatures.values()), tables
    # Loaders have no gradients, and warn of custom ones that were not saved with their functions.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(path), signatures=signatures, options=options)
    model.spec.save(assets / "spec.json")


def trace(model: RankingModel, vocabularies: graph.Vocabularies | None = None) -> Signatures:
    """Raw columns → scores: hashing, crosses and standardizing inside the graph.

    `serving_default` takes a tensor for each column, `examples` serialized tf.Examples of them.
    """
    spec = model.spec

    # autograph would convert every function below, for nothing: 5.9 s a trace in place of 1.1
    @tf.function(autograph=False)
    def scores(ids: tf.Tensor, dense: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.scores(ids, dense, vocabularies)

    @tf.function(input_signature=[graph.serving_inputs(spec)], autograph=False)
    def serving_default(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return scores(
            *graph.encode(
                spec, {column: columns[input_name(column)] for column in spec.request_columns}
            )
        )

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False
    )
    def examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return scores(
            *graph.encode(spec, tf.io.parse_example(examples, graph.example_inputs(spec)))
        )

    return {f.__name__: f.get_concrete_function() for f in (serving_default, examples)}


def variables_read(
    model: RankingModel, functions: Iterable[tf.types.experimental.ConcreteFunction]
) -> Mapping[str, tf.Variable]:
    """The raw variables that the functions read, by the model's names for them."""
    read = {variable.ref() for function in functions for variable in function.variables}
    return {name: variable for name, variable in model.state.items() if variable.ref() in read}


def _table(name: str, vocabulary: list[int], assets: Path) -> tf.lookup.StaticHashTable:
    """A vocabulary's ids as written [V] → 0 … V − 1, −1 for any other id. The loader's init op
    reads them from an asset.
    """
    path = assets / f"{name}.txt"
    np.savetxt(path, vocabulary, "%d")
    line = tf.lookup.TextFileIndex.LINE_NUMBER
    rows = tf.lookup.TextFileInitializer(
        str(path), tf.int64, key_index=0, value_dtype=tf.int64, value_index=line
    )
    table = tf.lookup.StaticHashTable(rows, default_value=-1, name=name)
    table._shared_name = name  # in the saved graph; else it would be the path on this machine
    return table


def _look_up(table: tf.lookup.StaticHashTable) -> Callable[[tf.Tensor], tf.Tensor]:
    """graph.look_up by a table."""
    return lambda ids: tf.where(tf.equal(ids, 0), ids, table.lookup(ids) + 2)

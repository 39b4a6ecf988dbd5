"""Model → SavedModel: signatures over raw columns, and only the variables that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from features import graph
from features.declarations import input_name
from model.ranking import RankingModel
from model.serving.merged_tables import MergedTables

Signatures = dict[str, tf.types.experimental.ConcreteFunction]


def save(model: RankingModel, path: Path) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `examples`, and spec.json among
    its assets.

    Its root tracks raw tf.Variables, by the names that checkpoints use, the merged tables and the
    tables of vocabularies. A Keras variable is copied when it is saved, and the graph would read
    the original, which no loader restores (keras#20095).
    """
    assets = path / "assets"
    assets.mkdir(parents=True)
    tables = {
        name: _table(f"vocabulary_{name}", known, assets)
        for name, known in model.fitted.vocabularies.items()
    }
    merged = MergedTables(model)
    signatures = trace(model, merged, {name: _look_up(table) for name, table in tables.items()})
    root = tf.Module()
    root.weights = variables_read(model.state | merged.state, signatures.values())
    root.vocabularies = tables
    # Loaders have no gradients, and warn of custom ones that were not saved with their functions.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(path), signatures=signatures, options=options)
    model.spec.save(assets / "spec.json")


def trace(
    model: RankingModel, tables: MergedTables, vocabularies: graph.Vocabularies | None = None
) -> Signatures:
    """Raw columns → scores: hashing, crosses and standardizing inside the graph.

    `serving_default` takes a tensor for each column, `examples` serialized tf.Examples of them.
    """
    spec = model.spec

    # autograph would convert every function below for nothing: a trace took 5.9 s instead of 1.1.
    @tf.function(autograph=False)
    def scores(ids: tf.Tensor, dense: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.scores(ids, dense, vocabularies, tables.look_up)

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
    known: Mapping[str, tf.Variable],
    functions: Iterable[tf.types.experimental.ConcreteFunction],
) -> Mapping[str, tf.Variable]:
    """Those of the known raw variables that the functions read."""
    read = {variable.ref() for function in functions for variable in function.variables}
    return {name: variable for name, variable in known.items() if variable.ref() in read}


def _table(name: str, vocabulary: list[int], assets: Path) -> tf.lookup.StaticHashTable:
    """A table from the ids of a vocabulary [V] to 0 … V − 1, and −1 for any other id. The loader's
    init op reads it from an asset.
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

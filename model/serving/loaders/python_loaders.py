"""The two loaders of TensorFlow's Python: that of version 1, which runs a session, and
tf.saved_model.load.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Inputs = Mapping[str, Mapping[str, np.ndarray]]  # by signature and name
Scores = dict[str, dict[str, np.ndarray]]


def session(path: str, inputs: Inputs) -> Scores:
    """By tf.compat.v1.saved_model.load and session.run."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as running:
        declared = tf.compat.v1.saved_model.load(running, ["serve"], path).signature_def
        scores = {}
        for name, columns in inputs.items():
            feeds = {
                declared[name].inputs[column].name: values for column, values in columns.items()
            }
            fetches = {output: tensor.name for output, tensor in declared[name].outputs.items()}
            scores[name] = running.run(fetches, feeds)
        return scores


def python(path: str, inputs: Inputs) -> Scores:
    """By tf.saved_model.load."""
    import tensorflow as tf

    signatures = tf.saved_model.load(path).signatures
    scores = {}
    for name, columns in inputs.items():
        tensors = {column: tf.constant(values) for column, values in columns.items()}
        scores[name] = {output: p.numpy() for output, p in signatures[name](**tensors).items()}
    return scores

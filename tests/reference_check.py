"""Holds a layer against a float64 reference: outputs, and gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from reference_layers import Weights, central_differences, named

TOLERANCE = 1e-5  # of the largest magnitude

Compute = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
Reference = Callable[[Weights, Weights], dict[str, np.ndarray]]


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Layers made here, and their parts, compute in `dtype`.

    float32 as they do in training, but for batch norm: it divides by a std, which in float32
    costs more than the tolerance.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def set_random(layer: keras.Layer, seed: int = 0) -> None:
    """Draws all trained weights, so that none is 0 or 1 as at the start."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(0.0, 0.6, variable.shape))


def assert_outputs(
    layer: keras.Layer, compute: Compute, reference: Reference, inputs: Weights
) -> None:
    """Builds the layer by calling it; `compute`(tensors) and `reference`(weights, arrays) give
    arrays by name.
    """
    tensors = as_tensors(layer, inputs)
    compute(tensors)
    set_random(layer)
    assert_close(compute(tensors), reference(named(layer.trainable_variables), as_float64(tensors)))


def assert_outputs_and_gradients(
    layer: keras.Layer, compute: Compute, reference: Reference, inputs: Weights
) -> None:
    """As `assert_outputs`, and ∂/∂v of Σ c·output + the layer's losses for every weight and input
    v, c drawn.
    """
    assert_outputs(layer, compute, reference, inputs)
    tensors = as_tensors(layer, inputs)
    w, x = named(layer.trainable_variables), as_float64(tensors)
    c = {
        name: np.random.default_rng(1).normal(size=value.shape)
        for name, value in reference(w, x).items()
    }

    def scalar(at: Weights) -> float:
        given = reference(
            {name: at[f"w {name}"] for name in w}, {name: at[f"x {name}"] for name in x}
        )
        return float(sum(np.sum(c[name] * value) for name, value in given.items()))

    wanted = central_differences(
        scalar,
        {f"w {name}": v for name, v in w.items()} | {f"x {name}": v for name, v in x.items()},
    )
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = compute(tensors)
        total = tf.add_n(
            [
                tf.reduce_sum(tf.constant(c[name], value.dtype) * value)
                for name, value in outputs.items()
            ]
        )
    variables = [v.value for v in layer.trainable_variables]
    by_weight, by_input = tape.gradient(total, (variables, tensors), unconnected_gradients="zero")
    found = {f"w {name}": g for name, g in zip(w, by_weight, strict=True)} | {
        f"x {name}": g for name, g in by_input.items()
    }
    assert_close(found, wanted)


def as_tensors(layer: keras.Layer, inputs: Weights) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value, layer.compute_dtype) for name, value in inputs.items()}


def as_float64(values: dict) -> Weights:
    return {name: np.array(value, np.float64) for name, value in values.items()}


def assert_close(found: dict, wanted: Weights) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        difference, largest = np.abs(np.array(found[name]) - value).max(), np.abs(value).max()
        assert difference <= TOLERANCE * largest, (
            f"{name}: {difference:.2g} apart, {largest:.2g} the largest"
        )

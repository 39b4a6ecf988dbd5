"""The base of networks of dense layers: their options, and what follows each matrix product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

NORMALIZE = ("none", "batch", "layer")
Activations = dict[tuple[str, int], tf.Tensor]  # {(a block's path, layer): [B, n, U]}

_observed: ContextVar[Activations | None] = ContextVar("observed", default=None)


@contextmanager
def observed() -> Iterator[Activations]:
    """Collects the activations of every hidden layer that is called inside the block, before
    dropout and residuals. Outside of it, as in training and serving, this adds no operation.
    """
    found: Activations = {}
    token = _observed.set(found)
    try:
        yield found
    finally:
        _observed.reset(token)


class Network(keras.Layer):
    """The base of blocks made of dense layers of `units`; each product is followed by
    dropout(activation(norm(h))).

    Args:
        units: the widths of the layers.
        activation: by Keras' name.
        normalize: "none"; "batch", Ioffe and Szegedy, Batch Normalization, ICML 2015, with moments
            over the global batch; or "layer", γ ⊙ (h − μ) / √(σ² + ε) + β with the mean μ and the
            variance σ² of a row's units in one network, Ba, Kiros and Hinton, Layer Normalization,
            2016, eq. 3–4. With either, β replaces the product's bias.
        dropout: the rate at which activations are set to zero in training.
        l2: λ of λ·Σ w² over the kernels, among the layer's `losses`.
        residual: a layer as wide as the one before adds its input: h_l = f(h_{l−1}) + h_{l−1}, He
            et al., CVPR 2016.
    """

    def __init__(
        self,
        units: Sequence[int],
        *,
        activation: str = "relu",
        normalize: str = "none",
        dropout: float = 0.0,
        l2: float = 0.0,
        residual: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if normalize not in NORMALIZE:
            known = ", ".join(NORMALIZE)
            raise ValueError(f"normalize = {normalize!r} is unknown: choose one of {known}")
        self.units, self.activation, self.normalize = list(units), activation, normalize
        self.dropout, self.l2, self.residual = dropout, l2, residual

    @property
    def options(self) -> dict[str, Any]:
        """Options of the blocks that this one is made of."""
        names = ("activation", "normalize", "dropout", "l2", "residual")
        return {name: getattr(self, name) for name in names}

    @property
    def regularizer(self) -> keras.Regularizer | None:
        return keras.regularizers.L2(self.l2) if self.l2 else None

    def prepare(self, networks: int = 1) -> None:
        """Makes what `finish` needs, for blocks that compute their own products, of `networks`
        networks side by side.
        """
        layers, self.networks = range(len(self.units)), networks
        self.activate = keras.activations.get(self.activation)
        self.norms = [self._norm(networks, f"norm_{i}") for i in layers if self.normalize != "none"]
        self.drops = [
            keras.layers.Dropout(self.dropout, name=f"dropout_{i}") for i in layers if self.dropout
        ]

    def _norm(self, networks: int, name: str) -> keras.Layer:
        """Over [B, n·U]. Group normalization with a group per network is layer normalization of
        each, with γ and β of its own.
        """
        if self.normalize == "batch":
            return keras.layers.BatchNormalization(synchronized=True, name=name)
        return keras.layers.GroupNormalization(networks, name=name)

    def finish(self, layer: int, h: tf.Tensor, before: tf.Tensor | None) -> tf.Tensor:
        """Applies what follows product `layer` to h [B, n·U]; `before` is the product's input."""
        h = self.norms[layer](h) if self.norms else h
        h = self.activate(h)
        if (found := _observed.get()) is not None:
            found[self.path, layer] = tf.reshape(h, [-1, self.networks, self.units[layer]])
        h = self.drops[layer](h) if self.drops else h
        same = self.residual and layer > 0 and self.units[layer] == self.units[layer - 1]
        return h + before if same else h

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units} | self.options


def add_bias(h: tf.Tensor, bias: tf.Tensor, *, training: bool) -> tf.Tensor:
    """h [.., B, U] + bias [.., 1, U], or bias [U].

    In training the bias' gradient is a product with ones, since a sum over rows takes one core
    several times as long. A serving graph does not contain this gradient.
    """
    return _with_product(h, bias) if training else _sum(h, bias)


def _sum(h: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(h, bias) if bias.shape.rank == 1 else h + bias


@tf.custom_gradient
def _with_product(h: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradient(dh: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ones = tf.ones([*dh.shape[:-2], 1, tf.shape(dh)[-2]], dh.dtype)
        return dh, tf.reshape(tf.matmul(ones, dh), tf.shape(bias))

    return _sum(h, bias), gradient

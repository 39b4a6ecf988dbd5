"""A penalty on subspaces that point the same way."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("funnel")
class Orthogonal(keras.Regularizer):
    """λ·Σ_k Σ_{s<t} ‖G_{k,s}ᵀ G_{k,t}‖²_F + l2·Σ w², the kernel G_k [I, U] of each of `count`
    networks split into `subspaces` by units.

    The kernel of all is [I, count·U] or [count, I, U]. Ruder et al., Latent Multi-task Architecture
    Learning, AAAI 2019, sec. 2, after Bousmalis et al., Domain Separation Networks, NIPS 2016. Zero
    where the kernels of different subspaces are orthogonal.
    """

    def __init__(self, strength: float, count: int, subspaces: int, l2: float = 0.0) -> None:
        self.strength, self.count, self.subspaces, self.l2 = strength, count, subspaces, l2

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        networks = (
            tf.split(kernel, self.count, 1) if len(kernel.shape) == 2 else tf.unstack(kernel)
        )  # [I, U] each
        cut = [tf.split(network, self.subspaces, 1) for network in networks]
        products = [
            tf.matmul(g, h, transpose_a=True)
            for parts in cut
            for g, h in itertools.combinations(parts, 2)
        ]
        return self.strength * tf.add_n(
            [tf.reduce_sum(p**2) for p in products]
        ) + self.l2 * tf.reduce_sum(kernel**2)

    def get_config(self) -> dict[str, Any]:
        return {
            "strength": self.strength,
            "count": self.count,
            "subspaces": self.subspaces,
            "l2": self.l2,
        }

"""Experts with pairwise products of embeddings: DeepFM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from model.layers.experts import Experts, each_its_own
from model.layers.network import Network


@keras.saving.register_keras_serializable("funnel")
class FMExperts(Network):
    """n factorization machines beside MLPs: f(x, v) = W x + P Σ_{i<j} v_i ⊙ v_j + MLP(x).

    x [B, I] and the fields' embeddings v, one tensor [B, F_d, d] for each dimension d → [B, n,
    units[−1]]. With one output and P of ones it is y_FM + y_DNN of Guo et al., DeepFM, IJCAI 2017,
    eq. 1–3; here W and P have a row for each output. The sum over pairs is ½·((Σ v_i)² − Σ v_i²).
    """

    def __init__(self, count: int, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.count = count
        self.deep = Experts(count, units, **self.options, name="deep")

    def build(self, x_shape: Sequence[int], fields_shape: Sequence[Sequence[int]]) -> None:
        n, last = self.count, self.units[-1]
        for name, width in (
            ("first_order", x_shape[-1]),
            ("second_order", sum(shape[-1] for shape in fields_shape)),
        ):
            draw = each_its_own(n, (width, last), axis=1)
            setattr(
                self,
                name,
                self.add_weight(
                    name=name,
                    shape=(width, n * last),
                    initializer=draw,
                    regularizer=self.regularizer,
                ),
            )
        self.deep.build(x_shape)

    def call(self, x: tf.Tensor, fields: Sequence[tf.Tensor]) -> tf.Tensor:
        pairs = tf.concat(
            [(tf.reduce_sum(v, 1) ** 2 - tf.reduce_sum(v**2, 1)) / 2 for v in fields], 1
        )  # [B, Σ d]
        linear = tf.matmul(x, self.first_order) + tf.matmul(pairs, self.second_order)
        return tf.reshape(linear, [-1, self.count, self.units[-1]]) + self.deep(x)

    @property
    def last(self) -> list[keras.Variable]:
        """The weights of the last layer of all experts."""
        return self.deep.last

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"count": self.count}

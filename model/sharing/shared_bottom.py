"""One network for all tasks."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.embedding import Inputs
from model.layers import MLP
from model.sharing.base import Sharing, SharingParams, Units


class SharedBottom(Sharing):
    """h_k = f(x) for every task k (Caruana, Multitask Learning, Machine Learning 28, 1997)."""

    class Params(SharingParams):
        units: Units = Field([256, 128])

    def __init__(self, params: Params, heads: list[str], *, name: str) -> None:
        super().__init__(params, heads, name=name)
        self.bottom = MLP(params.units, name="bottom")

    def call(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        return dict.fromkeys(self.heads, self.bottom(inputs.flat))

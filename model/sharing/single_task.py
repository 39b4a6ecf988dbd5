"""No sharing: a network per task."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.embedding import Inputs
from model.layers import MLP
from model.sharing.base import Sharing, SharingParams, Units


class SingleTask(Sharing):
    """h_k = f_k(x_k): every head has its own bottom network and, unless `share_embeddings`, its own embeddings x_k.

    The baseline of every multi-task paper: what a task reaches alone.
    """

    class Params(SharingParams):
        units: Units = Field([256, 128])
        share_embeddings: bool = False

        @property
        def shares_embeddings(self) -> bool:
            return self.share_embeddings

    def __init__(self, params: Params, heads: list[str], *, name: str) -> None:
        super().__init__(params, heads, name=name)
        self.bottoms = {head: MLP(params.units, name=f"bottom_{head}") for head in heads}

    def call(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        return {head: self.bottoms[head](inputs.flat) for head in self.heads}

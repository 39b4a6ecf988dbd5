"""No sharing: a network per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import MLP
from model.settings.sharing import SingleTaskParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class SingleTask(Sharing):
    """h_k = f_k(x_k): every head has its own bottom network and, unless `share_embeddings`, its own
    embeddings x_k.

    The baseline of every multi-task paper: each task trained by itself.
    """

    Params = SingleTaskParams
    params: SingleTaskParams

    def __init__(
        self, params: SingleTaskParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        self.bottoms = {
            head: MLP(self.params.units, **self.params.network, name=f"bottom_{head}")
            for head in heads
        }

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        return {head: bottom(inputs.flat) for head, bottom in self.bottoms.items()}, {}

"""One network for all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import MLP
from model.settings.sharing import SharedBottomParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class SharedBottom(Sharing):
    """h_k = f(x) for every task k (Caruana, Multitask Learning, Machine Learning 28, 1997)."""

    Params = SharedBottomParams
    params: SharedBottomParams

    def __init__(
        self, params: SharedBottomParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        self.bottom = MLP(self.params.units, **self.params.network, name="bottom")

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        return dict.fromkeys(self.heads, self.bottom(inputs.flat)), {}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.bottom.last

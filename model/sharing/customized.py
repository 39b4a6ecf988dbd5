"""A shared bottom beside one per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Experts
from model.settings.sharing import CustomizedParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class Customized(Sharing):
    """h_k = [f_shared(x), f_k(x)]: shared and own parameters apart, their outputs concatenated.

    The customized sharing of Tang et al., Progressive Layered Extraction, RecSys 2020, fig. 1 and
    sec. 3. All bottoms read the same input and are computed together, the shared one first.
    """

    Params = CustomizedParams
    params: CustomizedParams

    def __init__(
        self, params: CustomizedParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        self.bottoms = Experts(
            1 + len(heads), self.params.units, **self.params.network, name="bottoms"
        )

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        shared, *own = tf.unstack(self.bottoms(inputs.flat), axis=1)  # [B, H] each
        return {
            head: tf.concat([shared, bottom], 1)
            for head, bottom in zip(self.heads, own, strict=True)
        }, {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        return {"bottoms": ["shared", *self.heads]}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.bottoms.last

    @property
    def shared_in_last(self) -> list[bool]:
        return [True, *(False for _ in self.heads)]

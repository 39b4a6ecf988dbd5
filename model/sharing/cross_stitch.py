"""A network per task, stitched together after every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import CrossStitch, Experts
from model.settings.sharing import CrossStitchParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class CrossStitchNetwork(Sharing):
    """x̃_{k,l} = Σ_j α_kj,l x_{j,l}, x_{k,l} = f_{k,l}(x̃_{k,l−1}): layer l of task k reads a
    mixture of all tasks' layers l − 1.

    Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016, eq. 1; h_k is x̃_k of
    the last layer. See the layer CrossStitch for `own_share`, with which each α starts, and
    `per_unit`.
    """

    Params = CrossStitchParams
    params: CrossStitchParams

    def __init__(
        self, params: CrossStitchParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        params = self.params
        self.networks = Experts(len(heads), params.units, **params.network, name="networks")
        self.stitches = [
            CrossStitch(own_share=params.own_share, per_unit=params.per_unit, name=f"stitch_{i}")
            for i in range(len(params.units))
        ]

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        stitched = self.networks(
            inputs.flat, between=lambda layer, h: self.stitches[layer](h)
        )  # [B, K, U]
        return dict(zip(self.heads, tf.unstack(stitched, axis=1), strict=True)), {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        return {"networks": self.heads}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.networks.last

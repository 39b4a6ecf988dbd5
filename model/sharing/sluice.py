"""A network for each task; learned coefficients mix their subspaces and layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import CrossStitch, Experts, LayerMixture, Orthogonal
from model.settings.sharing import SluiceParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class Sluice(Sharing):
    """h̃_{k,l} = [Σ_{j,t} α_{ks,jt,l} h_{j,t,l} for s], h_k = Σ_l β_{k,l} h̃_{k,l}: subspaces mixed
    over tasks, then layers.

    - Each task's layer l, h_{k,l} = f_{k,l}(h̃_{k,l−1}), is split into `subspaces` of equal width.
    - α_l [K·S, K·S] mixes the subspaces of all tasks. It starts with `own_share` on its diagonal
      and the rest evenly spread.
    - β_k [L] mixes the layers of a task, so all layers have the same width. It starts with
      `own_share` on the last layer and the rest evenly spread.
    - `orthogonality` is the weight of the penalty Σ ‖G_{k,1}ᵀ G_{k,2}‖²_F, which keeps a task's
      subspaces apart; see Orthogonal.

    Ruder et al., Sluice Networks, arXiv 1705.08142, in print as Latent Multi-task Architecture
    Learning, AAAI 2019.
    """

    Params = SluiceParams
    params: SluiceParams

    def __init__(
        self, params: SluiceParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        params = self.params
        count, layers = len(heads), range(len(params.units))
        penalty = (
            Orthogonal(params.orthogonality, count, params.subspaces, params.l2)
            if params.orthogonality
            else None
        )
        self.networks = Experts(
            count, params.units, kernel_regularizer=penalty, **params.network, name="networks"
        )
        self.stitches = [CrossStitch(own_share=params.own_share, name=f"alpha_{i}") for i in layers]
        self.mixture = LayerMixture(last_share=params.own_share, name="beta")

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        layers: list[tf.Tensor] = []  # [B, K, U] each

        def mix(layer: int, h: tf.Tensor) -> tf.Tensor:
            parts = tf.reshape(
                h,
                [-1, len(self.heads) * self.params.subspaces, h.shape[-1] // self.params.subspaces],
            )
            layers.append(tf.reshape(self.stitches[layer](parts), [-1, *h.shape[1:]]))
            return layers[-1]

        self.networks(inputs.flat, between=mix)
        mixed = self.mixture(tf.stack(layers, 2))  # [B, K, L, U] → [B, K, U]
        return dict(zip(self.heads, tf.unstack(mixed, axis=1), strict=True)), {}

    @property
    def network_names(self) -> dict[str, list[str]]:
        return {"networks": self.heads}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.networks.last

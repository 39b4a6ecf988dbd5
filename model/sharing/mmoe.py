"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Gate
from model.layers.gate import mix
from model.settings.experts import MMoEParams
from model.sharing.base import Sharing
from model.sharing.experts import make_experts, run_experts


@keras.saving.register_keras_serializable("funnel")
class MMoE(Sharing):
    """f^k(x) = Σ_i g^k(x)_i · f_i(x), g^k(x) = softmax(W_gk x): experts f_i for all tasks, a gate
    g^k for each.

    Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, eq. 6–7. With `gate_units` a gate has hidden layers below its
    softmax.
    """

    Params = MMoEParams
    params: MMoEParams

    def __init__(
        self, params: MMoEParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        params = self.params
        self.experts = make_experts(params, params.experts, name="experts")
        self.gates = {
            head: Gate(params.experts, params.gate_units, **params.network, name=f"gate_{head}")
            for head in heads
        }

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        experts = run_experts(self.experts, inputs, self.params.sequences)  # [B, n, H]
        mixed = mix(self.gates, inputs.flat, experts)
        return {head: mixture for head, (mixture, _) in mixed.items()}, {
            f"level_0/{head}": weights for head, (_, weights) in mixed.items()
        }

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return {
            f"level_0/{head}": [f"level_0/expert_{i}" for i in range(self.params.experts)]
            for head in self.heads
        }

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.experts.last

"""Mixture of experts with one gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Gate
from model.settings.experts import MoEParams
from model.sharing.base import Sharing
from model.sharing.experts import make_experts, run_experts


@keras.saving.register_keras_serializable("funnel")
class MoE(Sharing):
    """f(x) = Σ_i g(x)_i · f_i(x), g(x) = softmax(W_g x), the same for every task: the one-gate
    model, OMoE.

    Jacobs et al., Adaptive Mixtures of Local Experts, Neural Computation 3, 1991; as a shared
    bottom of tasks, Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, eq. 5. With `gate_units` the gate has hidden layers below its
    softmax.
    """

    Params = MoEParams
    params: MoEParams

    def __init__(
        self, params: MoEParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        params = self.params
        self.experts = make_experts(params, params.experts, name="experts")
        self.gate = Gate(params.experts, params.gate_units, **params.network, name="gate")

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        experts = run_experts(self.experts, inputs, self.params.sequences)  # [B, n, H]
        mixture, weights = self.gate(inputs.flat, experts)
        return dict.fromkeys(self.heads, mixture), {
            f"level_0/{head}": weights for head in self.heads
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

"""Multi-gate mixture of experts."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.embedding import Inputs
from model.layers import Experts, Gate
from model.sharing.base import Sharing, SharingParams, Units


class MMoE(Sharing):
    """f^k(x) = Σ_i g^k(x)_i · f_i(x), g^k(x) = softmax(W_gk x): experts f_i for all tasks, a gate g^k for each.

    Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018, eq. 6–7.
    """

    class Params(SharingParams):
        experts: int = Field(4, ge=2)
        expert_units: Units = Field([256, 128])

    def __init__(self, params: Params, heads: list[str], *, name: str) -> None:
        super().__init__(params, heads, name=name)
        self.experts = Experts(params.experts, params.expert_units, name="experts")
        self.gates = {head: Gate(params.experts, name=f"gate_{head}") for head in heads}

    def call(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        experts = self.experts(inputs.flat)  # [B, n, H]
        return {head: self.gates[head](inputs.flat, experts) for head in self.heads}

"""Multi-level multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Gate
from model.layers.gate import mix
from model.settings.experts import MLMMoEParams
from model.sharing.base import Sharing
from model.sharing.experts import make_experts, run_experts


@keras.saving.register_keras_serializable("funnel")
class MLMMoE(Sharing):
    """x_i^{l+1} = Σ_j g^{l,i}(x)_j f_j^l(x_j^l), x_j^1 = x, and at the last level f^k(x) = Σ_j
    g^{L,k}(x)_j f_j^L(x_j^L).

    Levels of n experts that all tasks share. Below the last one there is a gate for each expert i
    of the level above, which mixes what it reads; the last has a gate per task. All gates are
    softmax(W x) of the same selector, the input x. With one level it is MMoE. The baseline of Tang
    et al., Progressive Layered Extraction, RecSys 2020, fig. 1h and sec. 5.1.2, and of Ma et al.,
    SNR, AAAI 2019, where every expert above counts as a task. With `gate_units` a gate has hidden
    layers below its softmax.
    """

    Params = MLMMoEParams
    params: MLMMoEParams

    def __init__(
        self, params: MLMMoEParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        above, last = [f"_expert_{i}" for i in range(self.params.experts)], self.params.levels - 1
        self.levels = [
            GatedLevel(self.params, heads if j == last else above, level=j, name=f"level_{j}")
            for j in range(last + 1)
        ]

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        read = inputs
        mixtures: dict[str, tf.Tensor] = {}
        gates: dict[str, tf.Tensor] = {}
        for level in self.levels:
            mixtures, weights = level(read, inputs.flat)
            gates |= weights
            read = Inputs(
                tf.stack(list(mixtures.values()), 1), {}, {}
            )  # [B, n, H], a row for each expert above
        return mixtures, gates

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return {
            gate: experts for level in self.levels for gate, experts in level.gated_experts.items()
        }

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.levels[-1].experts.last


class GatedLevel(keras.Layer):
    """One level: what its experts read and the selector [B, W] → ({reader: its mixture [B, H]},
    {gate: its distribution}).
    """

    def __init__(self, params: MLMMoEParams, readers: list[str], *, level: int, name: str) -> None:
        super().__init__(name=name)
        self.params, self.level = params, level
        self.experts = make_experts(params, params.experts, name="experts", level=level)
        self.gates = {
            reader: Gate(params.experts, params.gate_units, **params.network, name=f"gate_{reader}")
            for reader in readers
        }

    def call(
        self, read: Inputs, selector: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        experts = run_experts(self.experts, read, self.params.sequences)  # [B, n, H]
        mixed = mix(self.gates, selector, experts)
        weights = {f"level_{self.level}/{reader}": w for reader, (_, w) in mixed.items()}
        return {reader: mixture for reader, (mixture, _) in mixed.items()}, weights

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        names = [f"level_{self.level}/expert_{i}" for i in range(self.params.experts)]
        return {f"level_{self.level}/{reader}": names for reader in self.gates}

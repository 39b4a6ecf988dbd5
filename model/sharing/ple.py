"""Progressive layered extraction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.settings.experts import PLEParams
from model.sharing.base import Sharing
from model.sharing.cgc import SHARED, Level


@keras.saving.register_keras_serializable("funnel")
class PLE(Sharing):
    """g^{k,j}(x) = w^{k,j}(g^{k,j−1}(x)) · S^{k,j}(x): levels of customized gate control (CGC).

    S^{k,j} stacks the experts of task k and the shared ones of level j; w = softmax(W ·) reads what
    level j − 1 gave task k. The shared gate, which mixes all experts of a level for the next
    level's shared ones, is absent from the last. With one level it is CGC. Tang et al., Progressive
    Layered Extraction, RecSys 2020, eq. 6–7. With `gate_units` a gate has hidden layers below its
    softmax.
    """

    Params = PLEParams
    params: PLEParams

    def __init__(
        self, params: PLEParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        last = self.params.levels - 1
        self.levels = [
            Level(self.params, heads, level=j, last=j == last, name=f"level_{j}")
            for j in range(last + 1)
        ]

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        states = dict.fromkeys([*self.heads, SHARED], inputs)
        gates: dict[str, tf.Tensor] = {}
        for level in self.levels:
            mixtures, weights = level(states)
            gates |= weights
            states = {group: Inputs(mixture, {}, {}) for group, mixture in mixtures.items()}
        return {head: states[head].flat for head in self.heads}, gates

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return {
            gate: experts for level in self.levels for gate, experts in level.gated_experts.items()
        }

    @property
    def network_names(self) -> dict[str, list[str]]:
        return {k: names for level in self.levels for k, names in level.network_names.items()}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.levels[-1].last_shared

    @property
    def shared_in_last(self) -> list[bool] | None:
        return self.levels[-1].shared_in_last

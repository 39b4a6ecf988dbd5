"""Mixture of sequential experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Gate, LSTMExperts
from model.layers.gate import mix
from model.settings.experts import MoSEParams
from model.sharing.base import Sharing


@keras.saving.register_keras_serializable("funnel")
class MoSE(Sharing):
    """f^k(s_t) = Σ_i g^k(x)_i · f_i(f(s_t)), g^k(x) = softmax(W_gk x), h_k = [t^k(f^k(s_1), …,
    f^k(s_T)), x].

    f, f_i and t^k are LSTMs over the behavior `sequences`, concatenated step by step (default: all
    sequence features): one below all, the experts, and a tower for each task. A gate is computed
    once, not at every step. Qin et al., Multitask Mixture of Sequential Experts for User Activity
    Streams, KDD 2020.

    The paper forecasts the next step of a stream, so it reads only a sequence. Here an item is
    scored: the gates read x, all features of the row, and h_k holds x beside the last state of the
    task's LSTM. With `gate_units` a gate has hidden layers below its softmax; the options of dense
    layers apply to these.
    """

    Params = MoSEParams
    params: MoSEParams

    def __init__(
        self, params: MoSEParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        params = self.params
        lstm: dict[str, Any] = {"lstm_units": params.lstm_units, "l2": params.l2}
        self.bottom = LSTMExperts(1, [], **lstm, every_step=True, name="bottom")
        self.experts = LSTMExperts(params.experts, [], **lstm, every_step=True, name="experts")
        self.gates = {
            head: Gate(params.experts, params.gate_units, **params.network, name=f"gate_{head}")
            for head in heads
        }
        self.lstms = LSTMExperts(len(heads), [], **lstm, name="lstms")

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        x, (sequence, present) = inputs.flat, inputs.side_by_side(self.params.sequences)
        below = self.bottom(x, sequence, present)[:, 0]  # [B, T, U]
        experts = self.experts(x, below, present)  # [B, n, T, U]
        steps, units = experts.shape[2:]
        flat = tf.reshape(experts, [-1, self.params.experts, steps * units])
        mixed = mix(self.gates, x, flat)
        streams = tf.reshape(
            tf.stack([mixture for mixture, _ in mixed.values()], 1), [-1, len(mixed), steps, units]
        )
        states = tf.unstack(self.lstms(x, streams, present), axis=1)  # [B, U] each
        representations = {
            head: tf.concat([state, x], 1) for head, state in zip(self.heads, states, strict=True)
        }
        return representations, {f"level_0/{head}": weights for head, (_, weights) in mixed.items()}

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return {
            f"level_0/{head}": [f"level_0/expert_{i}" for i in range(self.params.experts)]
            for head in self.heads
        }

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.experts.last

"""Which network an expert is, for all sharings that have experts."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import CrossExperts, Experts, FMExperts, LSTMExperts
from model.settings.experts import ExpertParams

EXPERTS = {"mlp": Experts, "cross": CrossExperts, "fm": FMExperts, "lstm": LSTMExperts}


def make_experts(params: ExpertParams, count: int, *, name: str, level: int = 0) -> keras.Layer:
    """`count` experts as `params` declare; see ExpertParams for those above the first level."""
    kind = params.expert if level == 0 or params.expert == "cross" else "mlp"
    options: dict[str, dict[str, Any]] = {
        "cross": {"cross_layers": params.cross_layers},
        "lstm": {"lstm_units": params.lstm_units},
    }
    own = options.get(kind, {})
    return EXPERTS[kind](count, params.expert_units, **own, **params.network, name=name)


def run_experts(experts: keras.Layer, inputs: Inputs, sequences: list[str]) -> tf.Tensor:
    """Calls experts with the inputs that their kind reads; returns [B, n, H]."""
    if isinstance(experts, FMExperts):
        return experts(inputs.flat, inputs.fields_by_dim())
    if isinstance(experts, LSTMExperts):
        return experts(inputs.flat, *inputs.side_by_side(sequences))
    return experts(inputs.flat)

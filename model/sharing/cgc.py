"""Customized gate control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from model.embeddings.inputs import Inputs
from model.layers import Gate
from model.settings.experts import CGCParams
from model.sharing.base import Sharing
from model.sharing.experts import make_experts, run_experts

SHARED = "_shared"  # the group of the shared experts; a task must not have this name


@keras.saving.register_keras_serializable("funnel")
class CGC(Sharing):
    """g^k(x) = w^k(x) · S^k(x), w^k(x) = softmax(W_g^k x): a gate per task over its own experts and
    the shared ones.

    S^k(x) stacks the outputs of the experts of task k, then of the shared experts. Tang et al.,
    Progressive Layered Extraction, RecSys 2020, eq. 2–4; PLE of one level. With `gate_units` a gate
    has hidden layers below its softmax.
    """

    Params = CGCParams
    params: CGCParams

    def __init__(
        self, params: CGCParams | Mapping[str, Any], heads: list[str], **kwargs: Any
    ) -> None:
        super().__init__(params, heads, **kwargs)
        self.level = Level(self.params, self.heads, level=0, last=True, name="level_0")

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        return self.level(dict.fromkeys([*self.heads, SHARED], inputs))

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return self.level.gated_experts

    @property
    def network_names(self) -> dict[str, list[str]]:
        return self.level.network_names

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.level.last_shared

    @property
    def shared_in_last(self) -> list[bool] | None:
        return self.level.shared_in_last


class Level(keras.Layer):
    """One extraction network: {group: Inputs} → ({group: [B, H]}, {gate: its distribution}).

    The groups are the tasks and SHARED; the last level returns no SHARED. On the first level all
    groups read the same inputs, and their experts are computed together.
    """

    def __init__(
        self, params: CGCParams, heads: list[str], *, level: int, last: bool, name: str
    ) -> None:
        super().__init__(name=name)
        self.params, self.heads, self.level = params, heads, level
        own, shared = params.task_experts, params.shared_experts
        self.counts = dict.fromkeys(heads, own) | {SHARED: shared}
        if level == 0:
            self.experts = {"all": make_experts(params, sum(self.counts.values()), name="experts")}
        else:
            self.experts = {
                g: make_experts(params, n, name=f"experts_{g}", level=level)
                for g, n in self.counts.items()
            }
        seen = dict.fromkeys(heads, own + shared) | (
            {} if last else {SHARED: own * len(heads) + shared}
        )
        self.gates = {
            g: Gate(n, params.gate_units, **params.network, name=f"gate_{g}")
            for g, n in seen.items()
        }

    def call(self, states: dict[str, Inputs]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        outputs = self._outputs(states)  # [B, m, H] each
        seen = {head: [outputs[head], outputs[SHARED]] for head in self.heads} | {
            SHARED: list(outputs.values())
        }
        mixed = {g: gate(states[g].flat, tf.concat(seen[g], 1)) for g, gate in self.gates.items()}
        weights = {f"level_{self.level}/{g}": w for g, (_, w) in mixed.items()}
        return {g: mixture for g, (mixture, _) in mixed.items()}, weights

    def _outputs(self, states: dict[str, Inputs]) -> dict[str, tf.Tensor]:
        if self.level > 0:
            return {g: experts(states[g].flat) for g, experts in self.experts.items()}
        together = run_experts(self.experts["all"], states[SHARED], self.params.sequences)
        return dict(
            zip(self.counts, tf.split(together, list(self.counts.values()), 1), strict=True)
        )

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        named = {
            g: [f"level_{self.level}/{g}_{i}" for i in range(n)] for g, n in self.counts.items()
        }
        seen = {head: named[head] + named[SHARED] for head in self.heads} | {
            SHARED: [n for names in named.values() for n in names]
        }
        return {f"level_{self.level}/{g}": seen[g] for g in self.gates}

    @property
    def network_names(self) -> dict[str, list[str]]:
        named = {g: [f"{g}_{i}" for i in range(n)] for g, n in self.counts.items()}
        if self.level == 0:
            return {f"{self.name}/experts": [name for names in named.values() for name in names]}
        return {f"{self.name}/experts_{g}": names for g, names in named.items()}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.experts["all" if self.level == 0 else SHARED].last

    @property
    def shared_in_last(self) -> list[bool] | None:
        return (
            [group == SHARED for group, n in self.counts.items() for _ in range(n)]
            if self.level == 0
            else None
        )

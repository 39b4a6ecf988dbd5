"""Progressive layered extraction."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from pydantic import Field

from model.embedding import Inputs
from model.layers import Gate
from model.sharing.base import ExpertParams, HiddenUnits, Sharing, make_experts, run_experts

SHARED = "_shared"  # the group of the shared experts: no task may be called this


@keras.saving.register_keras_serializable("funnel")
class PLE(Sharing):
    """g^{k,j}(x) = w^{k,j}(g^{k,j−1}(x)) · S^{k,j}(x): levels of customized gate control (CGC).

    S^{k,j} stacks the experts of task k and the shared ones of level j; w = softmax(W ·) reads what level j − 1 gave
    task k. The shared gate, which mixes all experts of a level for the next level's shared ones, is absent from the last.
    With one level it is CGC. Tang et al., Progressive Layered Extraction, RecSys 2020, eq. 1–8.
    With `gate_units` a gate has hidden layers below its softmax.
    """

    class Params(ExpertParams):
        levels: int = Field(2, ge=1)
        shared_experts: int = Field(2, ge=1)
        task_experts: int = Field(2, ge=1)
        gate_units: HiddenUnits = Field([])

    def __init__(self, params: Params, heads: list[str], **kwargs: Any) -> None:
        super().__init__(params, heads, **kwargs)
        last = self.params.levels - 1
        self.levels = [Level(self.params, heads, level=j, last=j == last, name=f"level_{j}") for j in range(last + 1)]

    def share(self, inputs: Inputs) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        states, gates = dict.fromkeys([*self.heads, SHARED], inputs), {}
        for level in self.levels:
            states, weights = level(states)
            gates |= weights
            states = {group: Inputs(state, {}, {}) for group, state in states.items()}
        return {head: states[head].flat for head in self.heads}, gates

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        return {gate: experts for level in self.levels for gate, experts in level.gated_experts.items()}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.levels[-1].last_shared


class Level(keras.Layer):
    """One extraction network: {task or shared: Inputs} → ({task: [B, H]}, its gates' weights), and shared unless it is the last.

    On the first level all groups read the same inputs: their experts are computed together.
    """

    def __init__(self, params: PLE.Params, heads: list[str], *, level: int, last: bool, name: str) -> None:
        super().__init__(name=name)
        self.params, self.heads, self.level = params, heads, level
        own, shared = params.task_experts, params.shared_experts
        self.counts = dict.fromkeys(heads, own) | {SHARED: shared}
        if level == 0:
            self.experts = {"all": make_experts(params, sum(self.counts.values()), name="experts")}
        else:
            self.experts = {g: make_experts(params, n, name=f"experts_{g}", level=level) for g, n in self.counts.items()}
        seen = dict.fromkeys(heads, own + shared) | ({} if last else {SHARED: own * len(heads) + shared})
        self.gates = {g: Gate(n, params.gate_units, **params.network, name=f"gate_{g}") for g, n in seen.items()}

    def call(self, states: dict[str, Inputs]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        outputs = self._outputs(states)  # [B, m, H] each
        seen = {head: [outputs[head], outputs[SHARED]] for head in self.heads} | {SHARED: list(outputs.values())}
        mixed = {g: gate(states[g].flat, tf.concat(seen[g], 1)) for g, gate in self.gates.items()}
        weights = {f"level_{self.level}/{g}": w for g, (_, w) in mixed.items()}
        return {g: mixture for g, (mixture, _) in mixed.items()}, weights

    def _outputs(self, states: dict[str, Inputs]) -> dict[str, tf.Tensor]:
        if self.level > 0:
            return {g: experts(states[g].flat) for g, experts in self.experts.items()}
        together = run_experts(self.experts["all"], states[SHARED], self.params.sequences)
        return dict(zip(self.counts, tf.split(together, list(self.counts.values()), 1), strict=True))

    @property
    def gated_experts(self) -> dict[str, list[str]]:
        named = {g: [f"level_{self.level}/{g}_{i}" for i in range(n)] for g, n in self.counts.items()}
        seen = {head: named[head] + named[SHARED] for head in self.heads} | {SHARED: [n for names in named.values() for n in names]}
        return {f"level_{self.level}/{g}": seen[g] for g in self.gates}

    @property
    def last_shared(self) -> list[keras.Variable]:
        return self.experts["all" if self.level == 0 else SHARED].last

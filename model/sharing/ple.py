"""Progressive layered extraction."""

from __future__ import annotations

import tensorflow as tf
from pydantic import Field

from model.embedding import Inputs
from model.layers import Experts, Gate
from model.sharing.base import Sharing, SharingParams, Units

SHARED = "_shared"  # the group of the shared experts: no task may be called this


class PLE(Sharing):
    """g^{k,j}(x) = w^{k,j}(g^{k,j−1}(x)) · S^{k,j}(x): levels of customized gate control (CGC).

    S^{k,j} stacks the experts of task k and the shared ones of level j; w = softmax(W ·) reads what level j − 1 gave
    task k. The shared gate, which mixes all experts of a level for the next level's shared ones, is absent from the last.
    With one level it is CGC. Tang et al., Progressive Layered Extraction, RecSys 2020, eq. 1–8.
    """

    class Params(SharingParams):
        levels: int = Field(2, ge=1)
        shared_experts: int = Field(2, ge=1)
        task_experts: int = Field(2, ge=1)
        expert_units: Units = Field([256, 128])

    def __init__(self, params: Params, heads: list[str], *, name: str) -> None:
        super().__init__(params, heads, name=name)
        self.levels = [Level(params, heads, last=j == params.levels - 1, name=f"level_{j}") for j in range(params.levels)]

    def call(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        states = dict.fromkeys([*self.heads, SHARED], inputs.flat)
        for level in self.levels:
            states = level(states)
        return states


class Level(Sharing):
    """One extraction network: {task or shared: [B, I]} → {task: [B, H]}, and shared unless it is the last."""

    def __init__(self, params: PLE.Params, heads: list[str], *, last: bool, name: str) -> None:
        super().__init__(params, heads, name=name)
        own, shared = params.task_experts, params.shared_experts
        self.experts = {head: Experts(own, params.expert_units, name=f"experts_{head}") for head in heads}
        self.experts[SHARED] = Experts(shared, params.expert_units, name="shared_experts")
        self.gates = {head: Gate(own + shared, name=f"gate_{head}") for head in heads}
        if not last:
            self.gates[SHARED] = Gate(own * len(heads) + shared, name="shared_gate")

    def call(self, states: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = {group: experts(states[group]) for group, experts in self.experts.items()}  # [B, m, H] each
        seen = {head: [outputs[head], outputs[SHARED]] for head in self.heads} | {SHARED: list(outputs.values())}
        return {group: gate(states[group], tf.concat(seen[group], 1)) for group, gate in self.gates.items()}

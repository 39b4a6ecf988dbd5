"""Gate utilization over a dataset: mean weights and entropy; warnings for collapsed gates and dead
experts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

COLLAPSED = 0.99  # of a gate's mass to one expert
DEAD = 0.01  # of a gate's mass, in every gate that mixes the expert
COLLAPSED_REMEDY = (
    "compare the labels (funnel inspect: rates, correlations), bring the losses to one scale "
    "(log1p numbers, model.weighting), or lower train.learning_rate"
)
DEAD_REMEDY = "take fewer experts, lower train.learning_rate, or train from another train.seed"


class GateSums:
    """Sums over batches of each gate's distribution over experts and of its entropy.

    Args:
        experts: {gate: the names of the n experts that it mixes}.
    """

    def __init__(self, experts: Mapping[str, list[str]]) -> None:
        self.experts, self.rows = dict(experts), 0
        self._weights = {gate: np.zeros(len(names)) for gate, names in self.experts.items()}
        self._entropies = dict.fromkeys(self.experts, 0.0)

    def add(self, weights: Mapping[str, np.ndarray], rows: int) -> None:
        """Adds a batch of `rows` rows: each gate's distributions [B, n]."""
        for gate in self.experts:
            g = weights[gate].astype(np.float64)
            self._weights[gate] += g.sum(0)
            self._entropies[gate] -= float((g * np.log(np.where(g > 0, g, 1))).sum())
        self.rows += rows

    def summary(self) -> dict[str, dict]:
        """{gate: {"weights": {expert: mean weight}, "entropy": mean of −Σ_i g_i ln g_i}}.

        The entropy is at most ln n.
        """
        return {
            gate: {
                "weights": dict(
                    zip(names, (self._weights[gate] / self.rows).tolist(), strict=True)
                ),
                "entropy": self._entropies[gate] / self.rows,
            }
            for gate, names in self.experts.items()
        }


def gate_warnings(gates: Mapping[str, dict]) -> list[str]:
    """A line with its remedy for each collapsed gate and each dead expert.

    A gate is collapsed where one expert gets more than .99 of its mass. An expert is dead where
    every gate that mixes it gives it less than .01.

    Args:
        gates: what GateSums.summary returns.
    """
    found = []
    mixtures = {gate: one["weights"] for gate, one in gates.items() if len(one["weights"]) > 1}
    for gate, weights in mixtures.items():
        expert, most = max(weights.items(), key=lambda item: item[1])
        if most > COLLAPSED:
            found.append(
                f"gate {gate} gives {expert} {most:.3f} of its mass, more than {COLLAPSED}: "
                f"it does not use the other experts; {COLLAPSED_REMEDY}"
            )
    shares: dict[str, list[float]] = {}
    for weights in mixtures.values():
        for expert, weight in weights.items():
            shares.setdefault(expert, []).append(weight)
    for expert, own in shares.items():
        if max(own) < DEAD:
            found.append(
                f"expert {expert} gets at most {max(own):.3f} of any gate's mass, less than {DEAD}:"
                f" no gate uses it; {DEAD_REMEDY}"
            )
    return found

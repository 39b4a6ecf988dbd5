"""Health of a trained network: collapsed gates, dead units and untouched embedding rows, with
warnings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from model.evaluation.gates import GateSums, gate_warnings
from model.layers.network import Activations
from model.ranking import RankingModel

SAME = 1e-6  # max − min of a dead unit's activations
ZERO = 0.9  # of a layer's activations; HoME (Wang et al., KDD 2025) found more in experts of ReLU
DEAD = 0.5  # of a layer's units
UNTOUCHED = 0.9  # of a feature's rows: fewer are what hashing to many buckets costs,
MANY = 100_000  # and fewer rows than these cost nothing
REMEDY = (
    "set {where}.normalize = 'layer' or {where}.activation = 'silu', or lower train.learning_rate"
)
UNTOUCHED_REMEDY = "give it fewer buckets, or train on more rows"


class UnitSums(NamedTuple):
    """Per unit over the rows of a batch, [n, U]: how often it is 0, its minimum and maximum."""

    zeros: Any
    least: Any
    most: Any


def measure_health(model: RankingModel, batches: Iterable[dict[str, tf.Tensor]]) -> dict[str, Any]:
    """How well a model uses its weights, from one pass over the rows of `batches`.

    Returns:
        {"gates": GateSums.summary, "layers": ActivationSums.summary, "embeddings":
        RankingModel.untouched, "warnings": [a line each]}.
    """
    gates, layers = GateSums(model.gated_experts), ActivationSums(model.network_names)

    @tf.function(autograph=False)
    def observe(batch: dict[str, tf.Tensor]) -> tuple:
        weights, activations = model.observe(batch["ids"], batch["dense"])
        return weights, sum_units(activations)

    for batch in batches:
        weights, sums = tf.nest.map_structure(lambda t: t.numpy(), observe(batch))
        gates.add(weights, len(batch["ids"]))
        layers.add(sums, len(batch["ids"]))
    found: dict[str, Any] = {
        "gates": gates.summary(),
        "layers": layers.summary(),
        "embeddings": model.untouched(),
    }
    own = network_warnings(found["layers"], found["embeddings"])
    return found | {"warnings": gate_warnings(found["gates"]) + own}


def sum_units(activations: Activations) -> dict[tuple[str, int], UnitSums]:
    """Activations [B, n, U] of each layer, reduced over the batch."""
    found = {}
    for layer, h in activations.items():
        h, units = tf.cast(h, tf.float32), h.shape[1] * h.shape[2]
        ones = tf.ones([1, tf.shape(h)[0]])  # a product takes half the time of a sum over rows
        zeros = tf.matmul(ones, tf.cast(tf.reshape(h == 0, [-1, units]), tf.float32))  # [1, n·U]
        least, most = tf.reduce_min(h, 0), tf.reduce_max(h, 0)
        found[layer] = UnitSums(tf.reshape(zeros, h.shape[1:]), least, most)
    return found


class ActivationSums:
    """UnitSums over batches, by hidden layer.

    Args:
        names: {a block's path: the names of the networks that it computes side by side}. Networks
            of a block that is not among them are expert_0, expert_1 …
    """

    def __init__(self, names: Mapping[str, list[str]]) -> None:
        self.names, self.rows = names, 0
        self._sums: dict[tuple[str, int], UnitSums] = {}

    def add(self, sums: Mapping[tuple[str, int], UnitSums], rows: int) -> None:
        """Adds what `sum_units` returned for a batch of `rows` rows."""
        self.rows += rows
        for layer, (zeros, least, most) in sums.items():
            old = self._sums.get(layer, UnitSums(0, np.inf, -np.inf))
            least, most = np.minimum(old.least, least), np.maximum(old.most, most)
            self._sums[layer] = UnitSums(old.zeros + np.asarray(zeros, np.int64), least, most)

    def summary(self) -> dict[str, dict[str, float]]:
        """{"<block>/<network>/layer_<l>": {"zero": share of activations that are 0, "dead": share
        of units whose activation is the same on every row, "units": how many}}. A unit of ReLU that
        is 0 on every row is dead.
        """
        found = {}
        for (path, layer), sums in self._sums.items():
            dead = sums.most.astype(np.float64) - sums.least <= SAME  # [n, U]
            networks, units = dead.shape
            for index, name in enumerate(self._names(path, networks)):
                found[f"{path}{name}/layer_{layer}"] = {
                    "zero": float(sums.zeros[index].sum()) / (self.rows * units),
                    "dead": float(dead[index].mean()),
                    "units": units,
                }
        return found

    def _names(self, path: str, networks: int) -> list[str]:
        """What follows a block's path for each of its networks: "" where there is only one."""
        default = [f"expert_{i}" for i in range(networks)] if networks > 1 else []
        names = self.names.get(path.removesuffix("/deep"), default)  # deep: part of an expert
        return [f"/{name}" for name in names] or [""]


def network_warnings(layers: Mapping[str, dict], embeddings: Mapping[str, dict]) -> list[str]:
    """A line with its remedy for each layer and each feature that learns little.

    A layer does where more than .9 of its activations are 0 or more than .5 of its units are dead;
    a feature where more than .9 of its rows, and more than 100,000 rows, are untouched.

    Args:
        layers: what ActivationSums.summary returns.
        embeddings: what RankingModel.untouched returns.
    """
    found = []
    for name, one in layers.items():
        where = "model.funnel" if name.startswith("funnel/") else "model.sharing"
        remedy = REMEDY.format(where=where)
        if one["zero"] > ZERO:
            share = f"{one['zero']:.3f} of its activations are 0, more than {ZERO}"
            found.append(f"layer {name}: {share}: little passes through it; {remedy}")
        elif one["dead"] > DEAD:
            share = f"{one['dead']:.3f} of its {one['units']} units are dead, more than {DEAD}"
            found.append(f"layer {name}: {share}: they are the same on every row; {remedy}")
    for name, one in embeddings.items():
        if one["share"] > UNTOUCHED and one["untouched"] > MANY:
            changed = f"{one['rows'] - one['untouched']:,} of its {one['rows']:,} rows"
            rest = f"the others hold random numbers; {UNTOUCHED_REMEDY}"
            found.append(f"feature {name}: training changed only {changed}: {rest}")
    return found

"""What each architecture costs: weights without the embedding tables, and floating-point operations a row of the forward pass.

26 categorical × 16, one of them with a history of 20, and 13 numeric features; options are each entry's own defaults. Every sharing
is counted under `independent`, every funnel over `shared_bottom`. Counted from the graph, so nothing is trained and the machine does
not matter. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks import shape
from features.fitted import Fitted
from features.spec import Spec
from funnel.console import table
from model.config import ModelConfig
from model.funnels import FUNNELS
from model.ranking import RankingModel
from model.sharing import SHARING

STEPS = 20  # of the history
CHAIN = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}
OPTIONS = {"esm2": {"action": "cart"}}  # what a funnel must be told
CHAINS = {"esm2": {"ctr": CHAIN["ctr"], "cart": {"label": "cart", "given": "click"}, "cvr": CHAIN["cvr"]}}


def make_spec(tasks: dict) -> Spec:
    categorical = {"kind": "categorical", "buckets": 1000, "dim": shape.DIM}
    history = {"kind": "sequence", "max_length": STEPS, "shares": "c0", "dim": shape.DIM}
    features = {f"c{i}": categorical for i in range(shape.CATEGORICAL)} | {"history": history}
    features |= {f"n{i}": {"kind": "numeric"} for i in range(shape.NUMERIC)}
    return Spec.parse({"features": features, "labels": {t["label"]: {"column": t["label"]} for t in tasks.values()}, "tasks": tasks})


def cost(sharing: str, funnel: str) -> dict[str, int]:
    """{"parameters", "flops"} of one pair; both are of the two towers, too."""
    spec = make_spec(CHAINS.get(funnel, CHAIN))
    config = ModelConfig.parse({"sharing": sharing, "funnel": {"name": funnel} | OPTIONS.get(funnel, {})})
    model = RankingModel(spec, config, Fitted(moments=moments(spec)), seed=1)
    shapes = [tf.TensorSpec([1, spec.ids_width], tf.int64), tf.TensorSpec([1, spec.dense_width], tf.float32)]
    graph = convert_variables_to_constants_v2(tf.function(model.scores).get_concrete_function(*shapes)).graph
    return {"parameters": sum(int(tf.size(w.value)) for w in model.weights), "flops": operations(graph)}


def moments(spec: Spec) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(spec.numeric, (0.0, 1.0))


def operations(graph: tf.Graph) -> int:
    """Additions and multiplications of the graph's matrix products: 2·rows·|W| of each x·W. An LSTM's loop has a row at each step."""
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMulV2"):
            shape = op.outputs[0].shape
            rows = STEPS if shape.rank is None else shape[-2]  # only inside a loop is a shape not known
            lead = 1 if shape.rank is None else shape[:-2].num_elements() // op.inputs[1].shape[:-2].num_elements()
            total += 2 * lead * rows * op.inputs[1].shape.num_elements()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    costs = {"sharing": {name: cost(name, "independent") for name in SHARING}}
    costs["funnel"] = {name: cost("shared_bottom", name) for name in FUNNELS}
    for axis, found in costs.items():
        rows = [[name, f"{one['parameters']:,}", f"{one['flops'] / 1e6:.2f}"] for name, one in found.items()]
        table(f"Cost by {axis}", [axis, "parameters", "MFLOP a row"], rows)
    print(json.dumps(costs))


if __name__ == "__main__":
    main()

"""What each architecture costs: weights without the embedding tables, and floating-point operations
a row of the forward pass.

26 categorical × 16, one of them with a history of 20, and 13 numeric features; options are each
entry's own defaults. Every sharing is counted under `independent`, every funnel over
`shared_bottom`. Counted from the graph, so nothing is trained and the machine does not matter;
`--speed` trains each besides, in float32 without XLA, batch 4096: rows/s, and the time of the
step's matrix products over that of the step. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks import shape
from benchmarks.train_steps import FLOAT32, kernels, products, stepper
from features.fitted import Fitted
from features.spec import Spec
from funnel.console import table
from model.config import ModelConfig
from model.funnels import FUNNELS
from model.ranking import RankingModel
from model.sharing import SHARING
from model.training.config import TrainConfig
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

STEPS = 20  # of the history
CHAIN = {"ctr": {"label": "click"}, "cvr": {"label": "convert", "given": "click"}}
OPTIONS = {"esm2": {"action": "cart"}}  # required options of a funnel
CHAINS = {
    "esm2": {"ctr": CHAIN["ctr"], "cart": {"label": "cart", "given": "click"}, "cvr": CHAIN["cvr"]}
}


def make_spec(tasks: dict) -> Spec:
    categorical = {"kind": "categorical", "buckets": 1000, "dim": shape.DIM}
    history = {"kind": "sequence", "max_length": STEPS, "shares": "c0", "dim": shape.DIM}
    features = {f"c{i}": categorical for i in range(shape.CATEGORICAL)} | {"history": history}
    features |= {f"n{i}": {"kind": "numeric"} for i in range(shape.NUMERIC)}
    return Spec.parse(
        {
            "features": features,
            "labels": {t["label"]: {"column": t["label"]} for t in tasks.values()},
            "tasks": tasks,
        }
    )


def cost(sharing: str, funnel: str) -> dict[str, int]:
    """{"parameters", "flops"} of one pair; both are of the two towers, too."""
    spec = make_spec(CHAINS.get(funnel, CHAIN))
    config = ModelConfig.parse(
        {"sharing": sharing, "funnel": {"name": funnel} | OPTIONS.get(funnel, {}), "wide": False}
    )
    model = RankingModel(spec, config, Fitted(moments=moments(spec)), seed=1)
    shapes = [
        tf.TensorSpec([1, spec.ids_width], tf.int64),
        tf.TensorSpec([1, spec.dense_width], tf.float32),
    ]
    graph = convert_variables_to_constants_v2(
        tf.function(model.scores).get_concrete_function(*shapes)
    ).graph
    return {
        "parameters": sum(int(tf.size(w.value)) for w in model.weights),
        "flops": operations(graph),
    }


def speed(sharing: str, funnel: str, steps: int = 6, rounds: int = 3) -> dict[str, float]:
    """{"rows_per_second", "of_limit"} of one pair."""
    spec = make_spec(CHAINS.get(funnel, CHAIN))
    config = ModelConfig.parse(
        {"sharing": sharing, "funnel": {"name": funnel} | OPTIONS.get(funnel, {}), "wide": False}
    )
    train = TrainConfig.parse({"batch_size": shape.BATCH} | FLOAT32)
    trainer = Trainer(spec, config, train, Fitted(moments=moments(spec)), make_strategy(None))
    random = np.random.default_rng(1)
    batches = {
        "ids": random.integers(1, 1000, (4, shape.BATCH, spec.ids_width)),
        "dense": random.normal(size=(4, shape.BATCH, spec.dense_width)).astype(np.float32),
    }
    batches |= {label: random.integers(0, 2, (4, shape.BATCH)) for label in spec.labels}
    step = stepper(trainer, tf.data.Dataset.from_tensor_slices(batches).repeat(), steps)
    limit = products(kernels(trainer.model, spec, STEPS), steps)
    times = [(step(), limit()) for _ in range(rounds)]
    return {
        "rows_per_second": shape.BATCH / median(s for s, _ in times),
        "of_limit": median(p / s for s, p in times),
    }


def moments(spec: Spec) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(spec.numeric, (0.0, 1.0))


def operations(graph: tf.Graph) -> int:
    """Additions and multiplications of the graph's matrix products: 2·rows·|W| of each x·W. An
    LSTM's loop has a row at each step.
    """
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMulV2"):
            shape = op.outputs[0].shape
            rows = (
                STEPS if shape.rank is None else shape[-2]
            )  # only inside a loop is a shape not known
            lead = (
                1
                if shape.rank is None
                else shape[:-2].num_elements() // op.inputs[1].shape[:-2].num_elements()
            )
            total += 2 * lead * rows * op.inputs[1].shape.num_elements()
    return total


def _timed(one: dict[str, float]) -> list[str]:
    return [f"{one['rows_per_second']:,.0f}", f"{one['of_limit']:.2f}"] if "of_limit" in one else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", action="store_true", help="train each, too: some minutes")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*SHARING, *FUNNELS],
        metavar="NAME",
        help="some of them instead of all",
    )
    arguments = parser.parse_args()
    chosen = arguments.only or [*SHARING, *FUNNELS]
    pairs = {
        "sharing": {name: (name, "independent") for name in SHARING if name in chosen},
        "funnel": {name: ("shared_bottom", name) for name in FUNNELS if name in chosen},
    }
    costs = {axis: {name: cost(*pair) for name, pair in own.items()} for axis, own in pairs.items()}
    if arguments.speed:
        costs = {
            axis: {name: costs[axis][name] | speed(*pair) for name, pair in own.items()}
            for axis, own in pairs.items()
        }
    for axis, found in costs.items():
        rows = [
            [name, f"{one['parameters']:,}", f"{one['flops'] / 1e6:.2f}", *_timed(one)]
            for name, one in found.items()
        ]
        columns = [
            axis,
            "parameters",
            "MFLOP a row",
            *(["rows/s", "of the limit"] if arguments.speed else []),
        ]
        table(f"Cost by {axis}", columns, rows)
    print(json.dumps(costs))


if __name__ == "__main__":
    main()

"""How fast an exported version scores, with the wide part and without.

The model of shape.py with 400,000 rows a table, exported as `funnel export` does and loaded by
tf.saved_model.load, whose requests can be tensors before the clock starts. Requests of 100 and of
1,000 candidates: 26 texts that are hashed in the graph, and 13 numbers. Times are those of the
processor, on all cores, so that other work on the machine moves them little. What is compared takes
turns; every figure is the median of the rounds' own ratios.

  wide_over_plain_<rows>  time of a request of so many rows with the wide part over that without
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf

from benchmarks import machine, shape
from benchmarks.train_steps import MMOE, make_spec, plain
from model.config import ModelConfig
from model.ranking import RankingModel
from model.serving.saved_model import save

REQUESTS = 32  # distinct ones, taken in turn: a single one's rows would stay in the cache
CANDIDATES = (100, 1000)  # rows of a request


def export(folder: Path, rows_per_table: int, wide: bool) -> Path:
    """A SavedModel of untrained weights; those of the wide part are not 0."""
    spec = make_spec(rows_per_table)
    model = RankingModel(spec, ModelConfig.parse(MMOE | {"wide": wide}), plain(spec), seed=1)
    for name, variable in model.state.items():
        if name.startswith("wide"):
            variable.assign(tf.random.normal(variable.shape, stddev=0.1))
    save(model, folder)
    return folder


def draw(candidates: int) -> list[dict[str, tf.Tensor]]:
    """Requests: texts of 10,000,000 values by column, and numbers."""
    random = np.random.default_rng(1)

    def request() -> dict[str, tf.Tensor]:
        values = random.integers(0, 10_000_000, (shape.CATEGORICAL, candidates))
        numbers = random.normal(size=(shape.NUMERIC, candidates)).astype(np.float32)
        texts = {f"c{i}": tf.constant(own.astype(str)) for i, own in enumerate(values)}
        return texts | {f"n{i}": tf.constant(own) for i, own in enumerate(numbers)}

    return [request() for _ in range(REQUESTS)]


def scorer(path: Path, requests: list[dict[str, tf.Tensor]], times: int) -> Callable[[], float]:
    """Processor seconds a request, over `times` of the requests."""
    loaded = tf.saved_model.load(str(path))
    score = loaded.signatures["serving_default"]

    def measure(_: object = loaded) -> float:  # keeps the variables
        start = time.process_time()
        for i in range(times):
            score(**requests[i % REQUESTS])
        return (time.process_time() - start) / times

    measure()
    return measure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python benchmarks/serve.py",
    )
    parser.add_argument("--rounds", type=int, default=11, help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small tables, few requests")
    arguments = parser.parse_args()
    rounds, times, rows = (2, 8, 1000) if arguments.quick else (arguments.rounds, 32, 400_000)
    table, figures = [["", "ms a request", "rows a processor second"]], {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: export(Path(folder) / name, rows, wide)
            for name, wide in {"plain": False, "with the wide part": True}.items()
        }
        for candidates in CANDIDATES:
            requests = draw(candidates)
            found = machine.interleave(
                {name: scorer(path, requests, times) for name, path in paths.items()}, rounds
            )
            table += [
                [
                    f"{candidates} rows, {name}",
                    f"{1000 * median(t):.2f}",
                    f"{candidates / median(t):,.0f}",
                ]
                for name, t in found.items()
            ]
            figures[f"wide_over_plain_{candidates}"] = machine.ratio(
                found["with the wide part"], found["plain"]
            )
    machine.finish(table, figures)


if __name__ == "__main__":
    main()

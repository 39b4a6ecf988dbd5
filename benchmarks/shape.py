"""The model that ours and the peers' trainers are timed on, and their random data. NumPy only:
peers import it too.
"""

from __future__ import annotations

import argparse

import numpy as np

CATEGORICAL, DIM, NUMERIC = 26, 16, 13
EXPERTS, EXPERT_UNITS, TOWER_UNITS = 4, [256, 128], [64]
TASKS = ["ctr", "cvr"]
BATCH = 4096
WARM_UP = 5  # steps before those that are timed
BATCHES = 32  # distinct ones, taken in turn: a single one would stay in the processor's cache


def draw(rows_per_table: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids [n, B, 26] int64, even over each table; dense [n, B, 13] float32; labels [n, B, 2] int64,
    one in ten positive.
    """
    random = np.random.default_rng(1)
    ids = random.integers(0, rows_per_table, (BATCHES, BATCH, CATEGORICAL))
    dense = random.normal(size=(BATCHES, BATCH, NUMERIC)).astype(np.float32)
    labels = (random.random((BATCHES, BATCH, len(TASKS))) < 0.1).astype(np.int64)
    return ids, dense, labels


def worker_arguments(description: str) -> argparse.Namespace:
    """The flags that train.py gives to a peer's script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rows-per-table", type=int, required=True, help="buckets of each of the 26 tables"
    )
    parser.add_argument("--steps", type=int, required=True, help="steps that are timed")
    return parser.parse_args()

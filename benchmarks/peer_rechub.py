"""Rows/s of torch-rechub's MMOE under its MTLTrainer, whose default is Adam. Runs in its own
environment; the last line is JSON.

Its layers use batch normalization, the only kind in the library. Its trainer's progress bar goes to
stderr.
"""

from __future__ import annotations

import json
import time

import shape
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


def make_trainer(rows_per_table: int) -> MTLTrainer:
    """The model of benchmarks/shape.py and its trainer, both with their defaults."""
    features = [SparseFeature(f"c{i}", rows_per_table, shape.DIM) for i in range(shape.CATEGORICAL)]
    features += [DenseFeature(f"n{i}") for i in range(shape.NUMERIC)]
    kinds = ["classification"] * len(shape.TASKS)
    towers = [{"dims": shape.TOWER_UNITS} for _ in shape.TASKS]
    model = MMOE(features, kinds, shape.EXPERTS, {"dims": shape.EXPERT_UNITS}, towers)
    return MTLTrainer(model, kinds)


def make_batches(rows_per_table: int) -> list[Batch]:
    """({column: [B]}, labels [B, 2]) as the library's data loaders give them."""
    ids, dense, labels = map(torch.from_numpy, shape.draw(rows_per_table))
    return [
        (
            {f"c{i}": c for i, c in enumerate(ids[n].T.contiguous())}
            | {f"n{i}": x for i, x in enumerate(dense[n].T.contiguous())},
            labels[n],
        )
        for n in range(shape.BATCHES)
    ]


def main() -> None:
    arguments = shape.worker_arguments(__doc__)
    batches = make_batches(arguments.rows_per_table)
    trainer = make_trainer(arguments.rows_per_table)
    trainer.train_one_epoch([batches[i % shape.BATCHES] for i in range(shape.WARM_UP)])
    chosen = [
        batches[i % shape.BATCHES] for i in range(shape.WARM_UP, shape.WARM_UP + arguments.steps)
    ]
    start = time.perf_counter()
    trainer.train_one_epoch(chosen)
    print(
        json.dumps(
            {"rows_per_second": arguments.steps * shape.BATCH / (time.perf_counter() - start)}
        )
    )


if __name__ == "__main__":
    main()

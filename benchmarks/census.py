"""Test AUC of architectures on KDD Census-Income, mean and deviation over seeds. The last line is a JSON object."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose pipeline.py would hide the package

import numpy as np

from funnel.config import load
from funnel.console import console, load_tensorflow, table
from pipeline.job import preprocess

SHARINGS = {
    "single_task": '{ name = "single_task", units = [64, 32] }',
    "shared_bottom": '{ name = "shared_bottom", units = [64, 32] }',
    "mmoe": '{ name = "mmoe", experts = 4, expert_units = [64, 32] }',
    "ple": '{ name = "ple", levels = 2, shared_experts = 2, task_experts = 2, expert_units = [64, 32] }',
}


def main() -> None:
    """Preprocesses once, then trains each architecture with each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("examples/census.toml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SHARINGS, default=list(SHARINGS))
    options = parser.parse_args()
    load_tensorflow()
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        preprocess(load(options.config).preprocess, data)
        for sharing in options.only:
            for seed in range(1, options.seeds + 1):
                aucs = train(options.config, sharing, seed, data, Path(folder) / f"{sharing}-{seed}")
                console.print(f"{sharing} seed {seed}: " + ", ".join(f"{task} {auc:.4f}" for task, auc in aucs.items()))
                for task, auc in aucs.items():
                    results.setdefault(sharing, {}).setdefault(task, []).append(auc)
    summary = {s: {task: [float(np.mean(a)), float(np.std(a))] for task, a in tasks.items()} for s, tasks in results.items()}
    rows = [[s, *(f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in tasks.values())] for s, tasks in summary.items()]
    table(f"Test AUC over {options.seeds} seeds", ["sharing", *next(iter(summary.values()))], rows)
    print(json.dumps(summary))


def train(config: Path, sharing: str, seed: int, data: Path, model_dir: Path) -> dict[str, float]:
    """Test AUC by task of one training."""
    from model.estimator import RankingEstimator

    loaded = load(config, [f"model.sharing={SHARINGS[sharing]}", f"train.seed={seed}"])
    estimator = RankingEstimator(loaded.spec, loaded.model, loaded.train, data, model_dir)
    estimator.train()
    return {task: result["auc"] for task, result in estimator.evaluate().items()}


if __name__ == "__main__":
    main()

"""The stage evaluate: metrics of the latest checkpoint on the eval split → summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.errors import FunnelError
from funnel.config.config import Config
from funnel.console import load_tensorflow, text
from funnel.listener import listener
from funnel.stages.stage import Outcome, timed, warn


def evaluate(config: Config, beam_args: Sequence[str] = ()) -> Outcome:
    """The latest checkpoint on the eval split → summary.json. Its result is METRICS by task."""
    load_tensorflow()
    from funnel.stages.training import Run
    from model.evaluation.constants import no_better

    with timed(config, "evaluate") as done:
        run = Run(config)
        estimator = run.estimator
        rows = run.data.rows("eval")
        with listener().progress("evaluating", "rows") as progress:  # reads the rows twice
            predictions = estimator.predict(run.eval_input, lambda n: progress(n, 2 * rows))
            results = estimator.measure(predictions)
            if config.evaluation.truth is not None:
                _add_truth(config, config.evaluation.truth, predictions, results)
            health = estimator.health(run.eval_input, lambda n: progress(rows + n, 2 * rows))
        done(
            describe(results),
            results,
            evaluation=results,
            evaluation_warnings=no_better(results),
            health=health,
        )
    for line in health["warnings"]:
        warn(line)
    return done


def describe(results: dict[str, dict[str, Any]]) -> str:
    """AUC and log loss of probabilities, the mean squared error of numbers; in brackets what the
    training split's constant has.

    Example:
        >>> describe({"ctr": {"auc": 0.7123456}, "dwell": {"mse": 1.5, "constant_mse": 2.0}})
        'AUC ctr 0.7123; mse dwell 1.5 (constant 2)'
    """
    parts = []
    for key, title in (("auc", "AUC"), ("logloss", "log loss"), ("mse", "mse")):
        found = ", ".join(
            f"{name} {text(result[key])}{_constant(result.get(f'constant_{key}'))}"
            for name, result in results.items()
            if key in result
        )
        parts += [f"{title} {found}"] if found else []
    return "; ".join(parts)


def _constant(value: float | None) -> str:
    return "" if value is None else f" (constant {text(value)})"


def _add_truth(
    config: Config, truth: str, predictions: dict[str, Any], results: dict[str, dict[str, Any]]
) -> None:
    """Adds auc_entire_space to the tasks that follow a click: their scores on all impressions
    against the drawn outcome.
    """
    from model.evaluation.metrics import auc_entire_space

    if not Path(truth).exists():
        raise FunnelError(
            f"evaluation.truth = '{truth}': no such file; it is a simulation's truth.parquet"
        )
    outcomes = pq.read_table(truth, columns=["impression_id", "converts"])
    for task, declared in config.spec.tasks.items():
        if declared.given and f"p_{task}" in predictions:
            results[task]["auc_entire_space"] = auc_entire_space(
                list(predictions["id"]), predictions[f"p_{task}"], outcomes
            )

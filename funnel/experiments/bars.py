"""Criteria that the defaults must meet against the references, from medians over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from funnel.experiments.base import Metrics

# A task counts only with this many positives in training and in evaluation.
POSITIVES, EVAL_POSITIVES = 300, 500
# How far AUC may lie below that of each reference, and the allowed ratio of log losses.
BELOW_LR, BELOW_HGB, BELOW_BEST = 0.005, 0.01, 0.003
LOGLOSS = 1.01
WITHOUT_HGB = "adult"  # sets of this name are not compared with the trees

Medians = Mapping[str, Mapping[str, Metrics]]  # {set: {task: {metric: median}}}


def by_task(metrics: Metrics) -> dict[str, Metrics]:
    """Metrics of tasks, by task.

    Example:
        >>> by_task({"ctr/auc": 0.7, "rows": 100})
        {'ctr': {'auc': 0.7}}
    """
    found: dict[str, Metrics] = {}
    for key, value in metrics.items():
        task, slash, metric = key.rpartition("/")
        if slash:
            found.setdefault(task, {})[metric] = value
    return found


def counts(task: Metrics) -> bool:
    """Whether a task has enough positives to be compared."""
    enough = task["positives"] >= POSITIVES and task["eval_positives"] >= EVAL_POSITIVES
    return enough and "auc_lr" in task  # no references where one class is absent


def gain(task: Metrics) -> float:
    """AUC minus that of the better reference."""
    return task["auc"] - max(task["auc_lr"], task["auc_hgb"])


def bars(medians: Medians) -> list[dict[str, Any]]:
    """Each criterion with its rule, `pass`, the worst case, its margin and the cases that fail.

    Args:
        medians: The tasks that count.
    """
    cases = {f"{s}/{t}": found for s, tasks in medians.items() for t, found in tasks.items()}
    others = {name: t for name, t in cases.items() if not name.startswith(WITHOUT_HGB)}
    gains = {s: float(np.mean([gain(t) for t in tasks.values()])) for s, tasks in medians.items()}
    return [
        _everywhere(
            f"AUC >= LR's - {BELOW_LR}",
            {name: t["auc"] - (t["auc_lr"] - BELOW_LR) for name, t in cases.items()},
        ),
        _everywhere(
            f"AUC >= HGB's - {BELOW_HGB}, Adult left out",
            {name: t["auc"] - (t["auc_hgb"] - BELOW_HGB) for name, t in others.items()},
        ),
        _on_average(f"mean AUC over sets >= that of the better reference - {BELOW_BEST}", gains),
        _everywhere(
            f"log loss <= {LOGLOSS} x LR's",
            {name: LOGLOSS * t["logloss_lr"] - t["logloss"] for name, t in cases.items()},
        ),
        _everywhere(
            "log loss < the constant's",
            {name: t["logloss_constant"] - t["logloss"] for name, t in cases.items()},
            strict=True,
        ),
    ]


def _everywhere(rule: str, margins: Mapping[str, float], *, strict: bool = False) -> dict[str, Any]:
    """Every margin must be at least 0, or above it."""
    failed = [name for name, margin in margins.items() if margin < 0 or (strict and margin == 0)]
    return _bar(rule, margins, not failed, min(margins.values(), default=0.0), failed)


def _on_average(rule: str, gains: Mapping[str, float]) -> dict[str, Any]:
    """The mean gain of the sets must be at least −BELOW_BEST; if not, sets below it are listed."""
    margin = float(np.mean(list(gains.values()) or [0.0])) + BELOW_BEST
    failed = [name for name, each in gains.items() if each < -BELOW_BEST] if margin < 0 else []
    return _bar(rule, gains, margin >= 0, margin, failed)


def _bar(
    rule: str,
    cases: Mapping[str, float],
    passed: bool,
    margin: float,
    failed: list[str],
) -> dict[str, Any]:
    if not cases:
        return {"bar": rule, "pass": None, "cases": 0}  # not decided
    worst = min(cases, key=lambda name: cases[name])
    found = {"bar": rule, "pass": passed, "cases": len(cases), "worst": worst}
    return found | {"margin": round(margin, 6), "failed": failed}

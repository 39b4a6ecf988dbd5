"""Evaluations of a model directory's checkpoint, and the files that hold the last one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.files import write_text
from features.fitted import Outcome
from features.spec import Spec
from model.evaluation import metrics
from model.evaluation.conditions import Metrics
from model.evaluation.constants import no_better
from model.objectives.base_rates import BaseRates
from model.training.workers import worker


def measure(
    model_dir: Path,
    step: int | None,
    spec: Spec,
    outcomes: Sequence[Outcome],
    predictions: Mapping[str, np.ndarray],
) -> tuple[Metrics, list[str]]:
    """(METRICS beside those of the training split's constants, a line for each that is not better).

    Worker 0 writes both to evaluation.json, and the calibration curves to reliability.json.

    Args:
        model_dir: receives the files.
        step: that of the checkpoint that predicted.
        spec: labels and tasks.
        outcomes: the counts of labels over the training split.
        predictions: scores and labels [rows] by name.
    """
    constants = BaseRates(spec, outcomes).constants()
    results = metrics.evaluate(spec, predictions, predictions, constants)
    warnings = no_better(results)
    if worker() == 0:
        curves = metrics.reliability(spec, predictions, predictions)
        content = {"step": step, "evaluation": results, "warnings": warnings}
        write_text(model_dir / "reliability.json", json.dumps(curves) + "\n")
        write_text(model_dir / "evaluation.json", json.dumps(content, indent=1) + "\n")
    return results, warnings


def evaluation_of(model_dir: Path, step: int | None) -> dict[str, Any]:
    """{step, evaluation, warnings} of the checkpoint of a step. The evaluation is None, without
    warnings, unless the last one was of that step.
    """
    path = model_dir / "evaluation.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if step is not None and known.get("step") == step:
        return known
    return {"step": step, "evaluation": None, "warnings": []}

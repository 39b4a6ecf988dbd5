"""metrics.jsonl: a line for each report and each evaluation."""

from __future__ import annotations

import json
import math
from pathlib import Path

from features.errors import naming
from features.files import write_text
from features.manifest import read_json_lines
from model.training.progress import Progress


class MetricsLog:
    """Callback: appends a JSON line for each report and each evaluation to `path`.

    A number that is not finite is written as null. An evaluation that is repeated after a crash is
    not logged twice.

    Example:
        estimator.train(input_fn, max_steps=1000, callbacks=[MetricsLog(Path("metrics.jsonl"))])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._evaluated: set[int] = set()

    def __call__(self, progress: Progress) -> None:
        if progress.metrics is not None and progress.step in self._evaluated:
            return
        line: dict[str, object] = {"step": progress.step}
        if progress.metrics is not None:
            line |= {"evaluation": progress.metrics}
        else:
            line |= {
                "loss": progress.losses,
                "weight": progress.weights,
                "learning_rate": progress.learning_rates,
            }
            line |= {"rows_per_second": progress.rows_per_second, "waiting": progress.waiting}
            line |= {"touched": progress.touched, "entropy": progress.entropies}
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(_finite(line)) + "\n")

    def forget_after(self, step: int) -> None:
        """Drops the lines of later steps, which a resumed training takes again."""
        if not self.path.exists():
            return
        kept = [line for line in read_json_lines(self.path) if line["step"] <= step]
        self._evaluated = {line["step"] for line in kept if "evaluation" in line}
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def last_fall(path: Path, every: int) -> tuple[int, float, float] | None:
    """How the training loss Σ_k w_k·L_k changed between the last two full windows of a log.

    Args:
        path: a MetricsLog's file.
        every: steps in a window.

    Returns:
        (step, loss over the window before the last, loss over the last); None where there are not
        two windows with finite losses.
    """
    lines = read_json_lines(path)
    reports = [line for line in lines if "loss" in line and line["step"] % every == 0]
    if len(reports) < 2 or None in (*reports[-1]["loss"].values(), *reports[-2]["loss"].values()):
        return None
    before, last = (
        sum(line["weight"][name] * loss for name, loss in line["loss"].items())
        for line in reports[-2:]
    )
    return reports[-1]["step"], before, last


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

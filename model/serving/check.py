"""Compares the scores of a SavedModel in the loaders that serve it with those of its checkpoint."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from features.errors import FunnelError
from model.serving.requests import Inputs

TOLERANCE = 1e-5
LOADERS = {  # in the order in which they run
    "c_api": "TensorFlow's C API",
    "session": "the v1 loader with session.run",
    "python": "tf.saved_model.load",
}
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # ends the key of a variable, in which .S stands for /
PROCESS = Path(__file__).with_name("loaders")
# TensorFlow's start-up lines, which cannot be turned off.
NOISE = re.compile(r"[IWE]0000 |WARNING: All log")


@dataclass(frozen=True)
class LoaderCheck:
    """The result of one loader.

    Args:
        max_abs_difference: of its scores from the checkpoint's.
        seconds: it took to load and score.
        not_run: why it was not run; then the others are None.
    """

    max_abs_difference: float | None = None
    seconds: float | None = None
    not_run: str | None = None


@dataclass(frozen=True)
class Check:
    """The results of all loaders.

    Args:
        tensorflow: its version.
        rows: how many rows were scored.
        start_seconds: until TensorFlow was imported.
        loaders: the results, by name.
    """

    tensorflow: str
    rows: int
    start_seconds: float
    loaders: dict[str, LoaderCheck]

    def summary(self) -> dict[str, Any]:
        """As JSON; what does not apply is left out."""
        loaders = {
            name: {key: value for key, value in asdict(loader).items() if value is not None}
            for name, loader in self.loaders.items()
        }
        return asdict(self) | {"max_abs_difference": self.max_abs_difference, "loaders": loaders}

    @property
    def max_abs_difference(self) -> float:
        return max(
            c.max_abs_difference for c in self.loaders.values() if c.max_abs_difference is not None
        )


def check_loaders(
    path: Path,
    inputs: Inputs,
    expected: Mapping[str, np.ndarray],
    on_answer: Callable[[], None] = lambda: None,
) -> Check:
    """Compares each loader's scores of every signature with the expected ones.

    Args:
        path: the SavedModel.
        inputs: requests by signature.
        expected: the checkpoint's scores, {output: [rows]}.
        on_answer: called when the process has started, and after each loader.

    Raises:
        FunnelError: a loader fails, with its own message, or differs by more than 1e-5.
    """
    started, *answers = ask_loaders(path, inputs, on_answer)
    checks = {}
    for name, title in LOADERS.items():
        answer: dict[str, Any] = next(
            (a for a in answers if a["loader"] == name),
            {"error": "its process ended without an answer"},
        )
        if "error" in answer:
            message = "\n".join(filter(None, [answer["error"], unreadable_variable(path)]))
            raise FunnelError(f"{path}: {title} fails, so it is not published:\n{message}")
        if "absent" in answer:
            checks[name] = LoaderCheck(not_run=answer["absent"])
        else:
            worst = max(
                _difference(f"{path}: {title}: signature {signature}", scores, expected)
                for signature, scores in answer["scores"].items()
            )
            checks[name] = LoaderCheck(worst, answer["seconds"])
    rows = len(next(iter(expected.values())))
    return Check(started["tensorflow"], rows, started["seconds"], checks)


def _difference(
    where: str, scores: Mapping[str, list[float]], expected: Mapping[str, np.ndarray]
) -> float:
    """The largest difference; relative to a number above 1, since a float32 has seven digits."""
    if set(scores) != set(expected):
        raise FunnelError(
            f"{where} returns {sorted(scores)}, the checkpoint {sorted(expected)}; not published"
        )
    worst = 0.0
    for name, values in scores.items():
        if np.shape(values) != expected[name].shape:
            raise FunnelError(
                f"{where} returns {name} of shape {np.shape(values)}, the checkpoint "
                f"{expected[name].shape}; not published"
            )
        scale = np.maximum(1, np.abs(expected[name]))
        difference = float(np.max(np.abs(np.array(values) - expected[name]) / scale))
        if not difference <= TOLERANCE:
            raise FunnelError(
                f"{where} differs in {name} from the checkpoint's by {difference:.2g} on "
                f"{len(values)} rows, more than {TOLERANCE}; not published"
            )
        worst = max(worst, difference)
    return worst


def unreadable_variable(path: Path) -> str | None:
    """Names the first variable that cannot be read; None where all can.

    Loaders do not say which variable a truncated file lacks.
    """
    prefix, name = path / "variables" / "variables", None
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for key in sorted(reader.get_variable_to_shape_map()):
            if key.endswith(VALUE):
                name = key.removeprefix("weights/").removesuffix(VALUE).replace(".S", "/")
                reader.get_tensor(key)
    except (tf.errors.OpError, RuntimeError, ValueError, LookupError) as error:
        return f"{prefix}: {name or 'its index'} cannot be read ({error})"
    return None


def ask_loaders(
    path: Path, inputs: Inputs, on_answer: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """The answers of a process of loaders/: its start, then each loader, until one crashes.

    The process ends when this one is killed, since it watches a pipe that this one holds. It
    writes no file.
    """
    request = json.dumps({"path": str(path.resolve()), "inputs": inputs})
    lifeline, held = os.pipe()
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryFile("w+") as input_file, tempfile.TemporaryFile("w+") as stderr:
        input_file.write(request)
        input_file.seek(0)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", str(PROCESS), str(lifeline)],
                stdin=input_file,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                pass_fds=[lifeline],
            )
            with process:
                for line in process.stdout or ():
                    answers.append(json.loads(line))
                    on_answer()
            ended_with = process.returncode
        finally:
            os.close(lifeline)
            os.close(held)
        stderr.seek(0)
        errors = stderr.read()
    if ended_with:
        ended = f"its process ended with {ended_with}"
        message = [line for line in errors.strip().splitlines() if not NOISE.match(line)]
        error = {"error": "\n".join([ended, *message[-5:]])}
        if not answers:
            raise FunnelError(
                f"{path}: cannot be checked in a fresh process, so it is not "
                f"published:\n{error['error']}"
            )
        crashed = list(LOADERS)[len(answers) - 1]
        answers.append({"loader": crashed} | error)
    return answers

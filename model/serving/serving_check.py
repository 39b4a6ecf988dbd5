"""Scores rows with a SavedModel in a process that cannot import this project: python -I serving_check.py MODEL ROWS SCORES."""

from __future__ import annotations

import base64
import importlib.abc
import json
import os
import sys

PROJECT = ("features", "pipeline", "model", "funnel")


class Blocked(importlib.abc.MetaPathFinder):
    """Refuses the project's packages, which an editable install would make importable even here."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in PROJECT:
            raise ImportError(f"{name} is blocked: a SavedModel must load without the code that made it")


def main(model: str, rows: str, scores: str) -> None:
    """Reads {"columns": {name: [values]}, "examples": [base64]}; writes {signature: {output: [scores]}}."""
    sys.meta_path.insert(0, Blocked())
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    with open(rows) as file:
        content = json.load(file)
    signatures = tf.saved_model.load(model).signatures
    raw = signatures["serving_default"]
    wanted = raw.structured_input_signature[1]
    if set(wanted) != set(content["columns"]):
        raise SystemExit(f"serving_default takes {sorted(wanted)}, the columns are {sorted(content['columns'])}")
    tensors = {name: tf.constant(values, wanted[name].dtype) for name, values in content["columns"].items()}
    examples = tf.constant([base64.b64decode(e) for e in content["examples"]])
    results = {"serving_default": raw(**tensors), "examples": signatures["examples"](examples=examples)}
    with open(scores, "w") as file:
        json.dump({s: {name: p.numpy().tolist() for name, p in out.items()} for s, out in results.items()}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""python -I loaders/ LIFELINE < REQUEST: scores by each loader, a line of JSON each."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

# Found on the path of the process: this folder.
import c_api  # type: ignore[import-not-found]
import python_loaders  # type: ignore[import-not-found]
from inputs import arrays  # type: ignore[import-not-found]
from isolation import block_imports, end_with_parent  # type: ignore[import-not-found]


def by_c_api(path: str, inputs: python_loaders.Inputs) -> python_loaders.Scores:
    """By TensorFlow's C API. Raises c_api.Absent."""
    with c_api.Model(path) as model:
        return {signature: model.run(signature, columns) for signature, columns in inputs.items()}


LOADERS = {"c_api": by_c_api, "session": python_loaders.session, "python": python_loaders.python}


def main(lifeline: int) -> None:
    """Reads {"path", "inputs": {signature: {name: {"dtype", "values"}}}}, bytes as {"b64": text}.

    Writes {"tensorflow", "seconds"}, then for each loader {"loader", "seconds"} with "scores",
    {signature: {output: [values]}}, or "error" or "absent", why there are none.
    """
    end_with_parent(lifeline)
    block_imports()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # standard output is for answers only
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    request = json.load(sys.stdin)
    inputs = arrays(request["inputs"])
    begun = time.perf_counter()
    import tensorflow as tf

    def answer(begun: float, **content: Any) -> None:
        seconds = round(time.perf_counter() - begun, 3)
        print(json.dumps(content | {"seconds": seconds}), file=answers, flush=True)

    answer(begun, tensorflow=tf.__version__)
    for name, load in LOADERS.items():
        begun = time.perf_counter()
        try:
            answer(begun, loader=name, scores=listed(load(request["path"], inputs)))
        except c_api.Absent as error:
            answer(begun, loader=name, absent=str(error))
        except Exception as error:
            answer(begun, loader=name, error=str(error))


def listed(scores: python_loaders.Scores) -> dict[str, dict[str, list[float]]]:
    return {
        signature: {output: values.tolist() for output, values in outputs.items()}
        for signature, outputs in scores.items()
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Which of the processes that train together this one is, as TF_CONFIG says. No TensorFlow: other
stages ask too.
"""

from __future__ import annotations

import json
import os

from features.errors import FunnelError


def workers() -> int:
    """How many processes TF_CONFIG has train together: 1 without it. Raises FunnelError for what it
    cannot be.
    """
    return len(_cluster().get("cluster", {}).get("worker", [])) or 1


def worker() -> int:
    """Which of them this is."""
    return int(_cluster().get("task", {}).get("index", 0))


def _cluster() -> dict:
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise FunnelError(
            f"TF_CONFIG is not JSON ({error}); unset it, or give cluster.worker and task.index"
        ) from None
    names = set(found.get("cluster", {})) - {"worker"}
    if names:
        raise FunnelError(
            f"TF_CONFIG names {', '.join(sorted(names))} beside workers: all tasks are workers here, the first of them the chief"
        )
    return found

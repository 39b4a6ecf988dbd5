"""The number of worker processes and the index of this one, from TF_CONFIG.

No TensorFlow is imported here: other stages of the command call these functions too.
"""

from __future__ import annotations

import json
import os

from features.errors import FunnelError


def workers() -> int:
    """How many processes train together; 1 without TF_CONFIG.

    Raises:
        FunnelError: TF_CONFIG is not JSON, or names other tasks than workers.
    """
    return len(_cluster().get("cluster", {}).get("worker", [])) or 1


def worker() -> int:
    """The index of this process; worker 0 is the chief."""
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
            f"TF_CONFIG names {', '.join(sorted(names))} besides workers: "
            "all tasks are workers here, and worker 0 is the chief"
        )
    return found

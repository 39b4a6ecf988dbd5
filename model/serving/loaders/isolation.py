"""Isolates the process: it cannot import the project or Keras, and it ends with its parent."""

from __future__ import annotations

import os
import sys
import threading

PROJECT = ("features", "pipeline", "model", "funnel")
KERAS = ("keras", "tf_keras")


def block_imports() -> None:
    """Makes importing the project or Keras fail from here on, since a server has neither."""
    for name in (*PROJECT, *KERAS):
        sys.modules[name] = None  # type: ignore[assignment]  # None is how imports are blocked


def end_with_parent(lifeline: int) -> None:
    """Ends this process when the last writer of the pipe `lifeline` has ended, for any reason."""

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

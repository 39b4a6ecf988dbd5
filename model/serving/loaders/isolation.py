"""What keeps the process apart: no project, no Keras, and no life after its parent's."""

from __future__ import annotations

import os
import sys
import threading

PROJECT = ("features", "pipeline", "model", "funnel")
KERAS = ("keras", "tf_keras")


def block_imports() -> None:
    """Importing the project or Keras fails from here on, installed or not: a server has neither."""
    sys.modules.update(dict.fromkeys((*PROJECT, *KERAS)))


def end_with_parent(lifeline: int) -> None:
    """Ends this process when the last writer of the pipe `lifeline` is gone, however it went."""

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""A worker process: Beam's worker, which ends with the process that started it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

POLL = 0.5  # seconds


def main() -> None:
    """Works until the driver has no more to do. Ctrl-C reaches the driver, which ends the workers;
    what a worker raises reaches it, too, so nothing is printed here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


if __name__ == "__main__":
    main()

"""The driver's side of worker processes: it starts them, watches them and ends them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from google.protobuf import json_format, text_format

from features.errors import Fault, FunnelError

POLL = 0.2  # seconds between two looks at a worker
MIB = 2**20


@dataclass
class Workers:
    """The worker processes of a job.

    Attributes:
        on_death: called with the Fault of a worker that died.
        processes: those that were started.
        ending: whether the job is over, so that workers may end in any way.
    """

    on_death: Callable[[Fault], None]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ending: bool = False

    def end(self) -> None:
        """Kills the workers that still run, and waits for them: afterwards none writes a file."""
        self.ending = True
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


BEAM = ("apache_beam", "grpc")
_current: list[Workers] = []  # of the job that runs; Beam makes the handlers itself


@contextmanager
def workers(on_death: Callable[[Fault], None]) -> Iterator[None]:
    """Worker processes that are started inside the block end with it."""
    own = Workers(on_death)
    _current.append(own)
    try:
        yield
    except FunnelError:
        raise
    except BaseException:
        _silence()
        raise
    finally:
        _current.remove(own)
        own.end()


def _silence() -> None:
    """The runner works on in its thread, though its workers and files are gone: what it says then
    of lost connections is of no use.
    """
    for name in BEAM:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = threading.excepthook

    def hook(raised: threading.ExceptHookArgs) -> None:
        frames = traceback.extract_tb(raised.exc_traceback)
        if not any(f"/{name}/" in frame.filename for frame in frames for name in BEAM):
            before(raised)

    threading.excepthook = hook


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class ProcessHandler(GrpcWorkerHandler):
    """Takes the place of Beam's own handler, of whose workers nobody knows how they ended."""

    def __init__(self, command: bytes, state: Any, provision_info: Any, server: Any) -> None:
        super().__init__(state, provision_info, server)
        self.workers, self.closing = _current[-1], False

    def close(self) -> None:
        self.closing = True
        super().close()

    def start_worker(self) -> None:
        if self.workers.ending:
            raise RuntimeError("the job has ended")
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        options = self.provision_info.provision_info.pipeline_options
        environment = os.environ | {
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.workers.process"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.workers.processes.append(self.process)
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_worker(self) -> None:
        self.process.wait()

    def _watch(self) -> None:
        held = 0
        while True:
            held = max(held, memory_held(self.process.pid))
            try:
                code = self.process.wait(POLL)
                break
            except subprocess.TimeoutExpired:
                continue
        if code and not self.closing and not self.workers.ending:
            number = int(self.worker_id.rpartition("_")[2]) + 1
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            self.workers.on_death(died(number, self.process.pid, code, held, memory))


def memory_held(process: int) -> int:
    """The bytes of memory that a process holds; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = [line.split() for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0][1]) * 1024 if found else 0


def died(number: int, process: int, code: int, held: int, memory: int) -> Fault:
    """The error about a worker process that ended before its work was done.

    Example:
        >>> print(str(died(2, 4711, -9, 3 * 2**30, 24_064 * 2**20)).partition(". ")[0])
        worker 2 (process 4711) was ended by SIGKILL, as the system does where memory runs out; \
it held up to 3,072 of the machine's 24,064 MiB
    """
    if code < 0:
        try:
            by = signal.Signals(-code).name
        except ValueError:
            by = f"signal {-code}"
        ended = f"was ended by {by}"
    else:
        ended = f"ended with exit code {code}"
    usual = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
    return Fault(
        f"worker {number} (process {process}) {ended}{usual}; it held up to "
        f"{held // MIB:,} of the machine's {memory // MIB:,} MiB. "
        "Give fewer workers (--direct_num_workers), or smaller partitions (more output.shards)"
    )

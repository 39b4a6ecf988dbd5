"""Runs stages: one, or all whose inputs have changed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from features.errors import FunnelError, naming
from features.files import resolved
from features.locks import locked
from funnel.config.config import Config
from funnel.console import load_tensorflow
from funnel.stages import record
from funnel.stages.stage import Outcome, inform, warn
from funnel.stages.table import STAGES, with_defaults_of_the_data
from funnel.stages.train import train
from model.training.workers import worker, workers

if TYPE_CHECKING:
    from model.training.progress import Callback


def run_all(
    config: Config, beam_args: Sequence[str] = (), *, force: bool = False, wait: bool = True
) -> None:
    """Runs every stage whose inputs or configuration have changed since it was last done; with
    `force`, every stage. Without `wait` another job in the run's directory is an error.
    """
    if workers() > 1:
        raise FunnelError(
            f"TF_CONFIG names {workers()} workers, and each of them would preprocess: run "
            "`funnel preprocess` without TF_CONFIG, then `funnel train` on each worker, then "
            "`funnel evaluate` and `funnel export` without it"
        )
    config.check()
    load_tensorflow()
    _connect(beam_args)
    with _alone(config, "run", wait=wait):
        config.save()
        for name in STAGES if config.simulate else list(STAGES)[1:]:
            with _alone(config, name, wait=wait):
                _run_if_changed(config, name, beam_args, force=force)


def _run_if_changed(config: Config, name: str, beam_args: Sequence[str], *, force: bool) -> None:
    key, recorded = stage_key(config, name), record.read(config.run).get(name, {})
    done = recorded == {"key": key, "done": True} and STAGES[name].output(config).exists()
    if done and not force:
        inform(f"{name:<10}  unchanged")
        if name == "train":  # otherwise the stage itself writes what suits the data
            config.save(with_defaults_of_the_data(config))
        return
    restart = force or recorded.get("key", [None])[0] != key[0]
    _run_alone(config, name, beam_args, from_scratch=restart)


def run_stage(
    config: Config,
    name: str,
    beam_args: Sequence[str] = (),
    *,
    from_scratch: bool = False,
    callbacks: Sequence[Callback] = (),
    wait: bool = True,
) -> Outcome:
    """Runs one stage and records what it was done with. All workers train; only worker 0 runs the
    other stages.

    Args:
        from_scratch: Whether training starts over, where it would resume.
        callbacks: Called at each report of a training.
        wait: Whether to wait for another process that runs the stage in the run's directory.

    Returns:
        What the stage came to; an empty one where it is left to worker 0.

    Raises:
        FunnelError: Another process runs the stage there, and `wait` is false.
    """
    if name != "train" and worker():
        inform(f"{name:<10}  left to worker 0")
        return Outcome()
    if name != "simulate":  # which reads a file of [simulate] alone, too
        config.check()
    with _alone(config, name, wait=wait):
        return _run_alone(config, name, beam_args, from_scratch=from_scratch, callbacks=callbacks)


def _run_alone(
    config: Config,
    name: str,
    beam_args: Sequence[str],
    *,
    from_scratch: bool,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """As `run_stage`, for a process that holds the stage's lock."""
    STAGES[name].requires(config)
    if name == "preprocess":
        _connect(beam_args)
    key = functools.cache(lambda: stage_key(config, name))  # of what exists before the stage runs
    if name == "train":  # the record of an earlier training stays until this one has begun

        def begun() -> None:
            record.note(config.run, name, key(), done=False)

        outcome = train(
            config, beam_args, from_scratch=from_scratch, callbacks=callbacks, begun=begun
        )
    else:
        record.note(config.run, name, key(), done=False)
        outcome = STAGES[name].run(config, beam_args)
    record.note(config.run, name, key(), done=True)
    return outcome


def stage_key(config: Config, name: str) -> list[str]:
    """Identifies what a stage depends on: [its own inputs and the key of the stage before it, what
    it resumes with].
    """
    position = list(STAGES).index(name)
    earlier = list(STAGES)[position - 1] if position else None
    done = record.read(config.run).get(earlier, {}).get("key", "") if earlier else ""
    stage = STAGES[name]
    contents = [stage.inputs(config), done], stage.resumes_with(config)
    return [
        hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]
        for content in contents
    ]


@contextmanager
def _alone(config: Config, name: str, *, wait: bool) -> Iterator[None]:
    """Holds the lock of a stage, or of a `run` of all stages, in the run's directory. That of a
    simulation is beside its logs, which several runs may share. Only worker 0 holds any. Errors of
    files and disks in the block name at least the run's directory.
    """
    path = config.run / f".lock-{name}"
    if name == "simulate":
        logs = resolved(config.logs)
        path = logs.with_name(f".lock-simulate-{logs.name}")
    lock = nullcontext() if worker() else locked(path, name, wait=wait, on_wait=warn)
    with lock, naming(config.run):
        yield


def _connect(beam_args: Sequence[str]) -> None:
    """Gives Beam's filesystems their options: files are looked for before a pipeline runs."""
    from pipeline.sources.storage import connect

    connect(beam_args)

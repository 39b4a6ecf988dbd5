"""On which devices, and in how many processes, one training runs."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping

import tensorflow as tf

from features.errors import FunnelError
from model.training.interrupts import while_waiting
from model.training.workers import worker, workers


def make_strategy(cpu_devices: int | None = None) -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy where TF_CONFIG names several workers; MirroredStrategy over all
    GPUs, or over `cpu_devices` logical CPU devices; otherwise one device.

    Logical devices, and the servers of workers, are made before TensorFlow first runs anything:
    FunnelError afterwards.
    """
    if workers() > 1:
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU") if cpu_devices is None else []
    if gpus:
        return _mirrored(*(gpu.name for gpu in gpus))
    if cpu_devices is None:
        return tf.distribute.get_strategy()
    present = len(tf.config.list_logical_devices("CPU")) if _initialised() else 0
    if not present:
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * cpu_devices
        )
    elif present < cpu_devices:
        raise FunnelError(
            f"train.cpu_devices = {cpu_devices}, but TensorFlow already runs with {present}: start a new process"
        )
    return _mirrored(*(f"CPU:{i}" for i in range(cpu_devices)))


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    try:
        with while_waiting():
            return tf.distribute.MultiWorkerMirroredStrategy()  # once all workers are there
    except RuntimeError as error:
        raise FunnelError(
            f"MultiWorkerMirroredStrategy must be made before TensorFlow first runs anything: start a new process ({error})"
        ) from None


@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """One strategy for the same devices: a second in the process would number its all-reduces as
    the first did, and clash with them.
    """
    return tf.distribute.MirroredStrategy(list(devices))


def _initialised() -> bool:
    """Whether the set of devices is already fixed."""
    processor = tf.config.list_physical_devices("CPU")[0]
    known = tf.config.get_logical_device_configuration(processor)
    try:
        tf.config.set_logical_device_configuration(
            processor, known or [tf.config.LogicalDeviceConfiguration()]
        )
    except RuntimeError:
        return True
    return bool(known)


def input_context(strategy: tf.distribute.Strategy) -> tf.distribute.InputContext:
    """Which part of the input is this process's."""
    return tf.distribute.InputContext(workers(), worker(), strategy.num_replicas_in_sync)


def gathered(strategy: tf.distribute.Strategy, *values: int) -> list[list[int]]:
    """The values of each worker, in the workers' order. All of them must ask at the same place."""
    if workers() == 1:
        return [list(values)]
    found = _gather(strategy)(tf.constant([values], tf.int64)).numpy()  # [replicas, values]
    return found[:: len(found) // workers()].tolist()


@functools.cache
def _gather(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Traced once for a number of values."""

    @tf.function
    def gather(mine: tf.Tensor) -> tf.Tensor:
        found = strategy.run(
            lambda: tf.distribute.get_replica_context().all_gather(tf.identity(mine), axis=0)
        )
        return strategy.experimental_local_results(found)[0]

    return gather


def least(strategy: tf.distribute.Strategy, value: int) -> int:
    """The least value of all workers."""
    return min(gathered(strategy, value))[0]


def check_agreement(strategy: tf.distribute.Strategy, parts: Mapping[str, object]) -> None:
    """Raises FunnelError when another worker trains with another configuration: their gradients
    would be added up all the same, or one wait for the other for ever.
    """
    found = gathered(strategy, *map(_digest, parts.values()))
    mine = found[worker()] if workers() > 1 else found[0]
    others = [str(i) for i, theirs in enumerate(found) if theirs != mine]
    if others:
        unlike = [
            name for place, name in enumerate(parts) if len({theirs[place] for theirs in found}) > 1
        ]
        raise FunnelError(
            f"worker {worker()} and worker {', '.join(others)} disagree about the configuration ({', '.join(unlike)}): start all with the "
            "same file, data and version of this program; where machines differ, set train.precision and train.xla"
        )


def _digest(part: object) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(part).encode()).digest()[:7], "big")


def check_restored(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises FunnelError when the workers go on from different steps."""
    steps = [step for [step] in gathered(strategy, step)]
    if min(steps) != max(steps):
        raise FunnelError(
            f"worker {steps.index(min(steps))} goes on from step {min(steps)}, worker {steps.index(max(steps))} from step {max(steps)}: "
            "the run's directory must be on a file system that all workers share"
        )

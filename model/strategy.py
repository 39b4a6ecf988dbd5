"""On which devices, and in how many processes, one training runs."""

from __future__ import annotations

import functools
import hashlib
import json
import os

import tensorflow as tf

from features.errors import FunnelError


def make_strategy(cpu_devices: int | None = None) -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy where TF_CONFIG names several workers; MirroredStrategy over all GPUs, or over `cpu_devices` logical
    CPU devices; otherwise one device.

    Logical devices, and the servers of workers, are made before TensorFlow first runs anything: FunnelError afterwards.
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
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * cpu_devices)
    elif present < cpu_devices:
        raise FunnelError(f"train.cpu_devices = {cpu_devices}, but TensorFlow already runs with {present}: start a new process")
    return _mirrored(*(f"CPU:{i}" for i in range(cpu_devices)))


def workers() -> int:
    """How many processes TF_CONFIG has train together: 1 without it. Raises FunnelError for what it cannot be."""
    return len(_cluster().get("cluster", {}).get("worker", [])) or 1


def worker() -> int:
    """Which of them this is."""
    return int(_cluster().get("task", {}).get("index", 0))


def _cluster() -> dict:
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise FunnelError(f"TF_CONFIG is no JSON ({error}); unset it, or give cluster.worker and task.index") from None
    names = set(found.get("cluster", {})) - {"worker"}
    if names:
        raise FunnelError(
            f"TF_CONFIG names {', '.join(sorted(names))} beside workers: all tasks are workers here, the first of them the chief"
        )
    return found


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise FunnelError(
            f"MultiWorkerMirroredStrategy must be made before TensorFlow first runs anything: start a new process ({error})"
        ) from None


@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """One strategy for the same devices: a second in the process would number its all-reduces as the first did, and clash with them."""
    return tf.distribute.MirroredStrategy(list(devices))


def _initialised() -> bool:
    """Whether the set of devices is already fixed."""
    processor = tf.config.list_physical_devices("CPU")[0]
    known = tf.config.get_logical_device_configuration(processor)
    try:
        tf.config.set_logical_device_configuration(processor, known or [tf.config.LogicalDeviceConfiguration()])
    except RuntimeError:
        return True
    return bool(known)


def input_context(strategy: tf.distribute.Strategy) -> tf.distribute.InputContext:
    """Which part of the input is this process's."""
    return tf.distribute.InputContext(workers(), worker(), strategy.num_replicas_in_sync)


def check_agreement(strategy: tf.distribute.Strategy, configuration: object) -> None:
    """Raises FunnelError when another worker trains with another configuration: their gradients would be added up all the same."""
    if workers() == 1:
        return
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).digest()[:7]
    mine = int.from_bytes(digest, "big")

    @tf.function
    def gather() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(tf.constant([mine], tf.int64), axis=0)

    found = strategy.experimental_local_results(strategy.run(gather))[0].numpy().tolist()
    others = sorted({i * workers() // len(found) for i, one in enumerate(found) if one != mine})
    if others:
        raise FunnelError(
            f"worker {worker()} and worker {', '.join(map(str, others))} disagree about the configuration (spec, model or train): "
            "start all with the same file and the same version of this program"
        )

"""The devices and processes of a training."""

from __future__ import annotations

import functools

import tensorflow as tf

from features.errors import FunnelError
from model.training.interrupts import while_waiting
from model.training.workers import worker, workers


def make_strategy(cpu_devices: int | None = None) -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy where TF_CONFIG names several workers; MirroredStrategy over all
    GPUs, or over `cpu_devices` logical CPU devices; otherwise one device.

    Raises:
        FunnelError: logical devices or workers are needed, and TensorFlow has already run
            something, which fixed its devices.
    """
    if workers() > 1:
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU") if cpu_devices is None else []
    if gpus:
        return _mirrored(*(gpu.name for gpu in gpus))
    if cpu_devices is None:
        return tf.distribute.get_strategy()
    present = len(tf.config.list_logical_devices("CPU")) if _initialized() else 0
    if not present:
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * cpu_devices
        )
    elif present < cpu_devices:
        raise FunnelError(
            f"train.cpu_devices = {cpu_devices}, but TensorFlow already runs with {present}: start "
            "a new process"
        )
    return _mirrored(*(f"CPU:{i}" for i in range(cpu_devices)))


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    try:
        with while_waiting():
            return tf.distribute.MultiWorkerMirroredStrategy()  # once all workers are there
    except RuntimeError as error:
        raise FunnelError(
            "MultiWorkerMirroredStrategy must be made before TensorFlow first runs anything: "
            f"start a new process ({error})"
        ) from None


@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """One strategy for the same devices: a second one in the process would number its all-reduces
    like the first, and clash with them.
    """
    return tf.distribute.MirroredStrategy(list(devices))


def _initialized() -> bool:
    """Whether the set of devices is fixed already."""
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
    """The part of the input that this process reads."""
    return tf.distribute.InputContext(workers(), worker(), strategy.num_replicas_in_sync)

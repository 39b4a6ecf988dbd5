"""What the workers of one training agree on."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping

import tensorflow as tf

from features.errors import FunnelError
from model.training.workers import worker, workers

SUM = tf.distribute.ReduceOp.SUM


def gathered(strategy: tf.distribute.Strategy, *values: int) -> list[list[int]]:
    """The values of each worker, in the workers' order. Every worker must call it."""
    if workers() == 1:
        return [list(values)]
    found = _gather(strategy)(tf.constant([values], tf.int64)).numpy()  # [replicas, values]
    return found[:: len(found) // workers()].tolist()


@functools.cache
def _gather(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Traced once for each number of values."""

    @tf.function
    def gather(mine: tf.Tensor) -> tf.Tensor:
        found = strategy.run(
            lambda: tf.distribute.get_replica_context().all_gather(tf.identity(mine), axis=0)
        )
        return strategy.experimental_local_results(found)[0]

    return gather


def sum_over_replicas(strategy: tf.distribute.Strategy, value: tf.Tensor) -> tf.Tensor:
    """The sum of a tensor over all replicas, in a graph."""
    sums = strategy.run(
        lambda: tf.distribute.get_replica_context().all_reduce(SUM, tf.identity(value))
    )
    return strategy.experimental_local_results(sums)[0]


def min_over_workers(strategy: tf.distribute.Strategy, value: int) -> int:
    """The smallest value of all workers."""
    return min(gathered(strategy, value))[0]


def check_agreement(strategy: tf.distribute.Strategy, parts: Mapping[str, object]) -> None:
    """Raises FunnelError when another worker trains with another configuration.

    Otherwise their gradients would be added up all the same, or one would wait for the other
    forever.
    """
    found = gathered(strategy, *map(_digest, parts.values()))
    mine = found[worker()] if workers() > 1 else found[0]
    others = [str(i) for i, theirs in enumerate(found) if theirs != mine]
    if others:
        unlike = [
            name for index, name in enumerate(parts) if len({theirs[index] for theirs in found}) > 1
        ]
        raise FunnelError(
            f"worker {worker()} and worker {', '.join(others)} disagree about the configuration "
            f"({', '.join(unlike)}): start all with the same file, data and version of this "
            "program; where machines differ, set train.precision and train.xla"
        )


def _digest(part: object) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(part).encode()).digest()[:7], "big")


def check_restored(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises FunnelError when the workers resume from different steps."""
    steps = [step for [step] in gathered(strategy, step)]
    if min(steps) != max(steps):
        raise FunnelError(
            f"worker {steps.index(min(steps))} resumes from step {min(steps)}, worker "
            f"{steps.index(max(steps))} from step {max(steps)}: the run's directory must be on a "
            "file system that all workers share"
        )

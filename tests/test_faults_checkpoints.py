"""Checkpoints with a fault at every system call: the next process resumes from a whole one and ends
with the same bits.
"""

import sys
from pathlib import Path

import pytest
from faults import Faults
from system_calls import Process

from features.errors import FunnelError, naming

STEPS = 3


def work(folder: str) -> int:
    """Trains from the latest checkpoint to STEPS, with a checkpoint of each step."""
    import tensorflow as tf

    from model.estimator.checkpoints import Checkpoints

    directory = Path(folder) / "run"
    state = {"step": tf.Variable(0, dtype=tf.int64), "table": tf.Variable(tf.zeros([4]))}
    batches = iter(tf.data.Dataset.range(100))
    try:
        with naming(directory):
            checkpoints = Checkpoints(directory, state, keep=1)
            checkpoints.restore(batches, lambda line: print(line, file=sys.stderr))
            while state["step"].numpy() < STEPS:
                state["table"].assign_add(tf.fill([4], 1.0 + tf.cast(next(batches), tf.float32)))
                state["step"].assign_add(1)
                checkpoints.save(int(state["step"]), batches)
    except FunnelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def whole(before, now, after):
    """Checked by the next process: it warns of a checkpoint that it cannot read."""


def removed_last(calls):
    """The calls that remove a checkpoint before the disk holds the list of the others."""
    listed, early = -1, []
    for call in calls:
        if call.name == "rename" and call.to == "checkpoint":
            listed = 0
        elif call.name == "fsync" and call.path == "." and listed == 0:
            listed = 1
        elif call.name == "write":
            listed = -1
        elif call.name == "unlink" and call.path.startswith("ckpt-") and "_temp" not in call.path:
            early += [call] if listed != 1 else []
    return early


@pytest.mark.slow
def test_killed_before_every_call(tmp_path):
    with Process("test_faults_checkpoints:work", tmp_path / "run", forks=False) as process:
        found = Faults(process, [str(tmp_path)], tmp_path / "none", whole, named="run")
        assert removed_last(found.calls) == []
        assert found.every_state(tmp_path / "states") > 30

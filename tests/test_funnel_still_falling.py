"""Whether a training says at its end that its loss still fell."""

import json
from types import SimpleNamespace

import pytest

from funnel.stages.training import Run
from model.estimator.callbacks.metrics_log import last_fall


def log(path, losses: dict[int, float]):
    """metrics.jsonl of a run with two objectives; the second one's weight is 2."""
    found = [
        {"step": step, "loss": {"a": loss, "b": 0.25}, "weight": {"a": 1, "b": 2}}
        for step, loss in losses.items()
    ]
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ({4: 1.0, 8: 0.5, 10: 9.0}, (8, 1.5, 1.0)),  # the last line is not a window of its own
        ({4: 1.0, 8: 0.99}, (8, 1.5, 1.49)),
        ({4: 1.0}, None),
    ],
)
def test_the_fall_between_the_last_two_full_windows(tmp_path, losses, found):
    assert last_fall(log(tmp_path / "model", losses) / "metrics.jsonl", 4) == found


@pytest.mark.parametrize(
    ("last", "early_stop", "said"), [(0.5, False, True), (0.99, False, False), (0.5, True, False)]
)
def test_a_loss_that_still_falls_by_one_percent_is_said(tmp_path, last, early_stop, said):
    run = SimpleNamespace(
        model_dir=log(tmp_path / "model", {4: 1.0, 8: last}),
        config=SimpleNamespace(run_config=SimpleNamespace(log_every=4)),
        ranking=SimpleNamespace(train=SimpleNamespace(early_stop=early_stop)),
    )
    message = Run.still_falling(run)
    assert (message is not None) == said
    if message:
        assert message == (
            "the training loss was still falling at step 8: 1.5000 → 1.0000 over the last 4 steps; "
            "more epochs may help, and train.early_stop = true finds out"
        )

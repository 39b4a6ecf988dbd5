"""Evaluations that a killed process did not complete: run when training resumes, reported once, and
exported.
"""

from functools import partial

import pytest
from model_data import lines, make_estimator, make_model, write_data

from model.estimator.callbacks import EarlyStopping, MetricsLog
from model.estimator.estimator import RankingEstimator
from model.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate

SLOW = partial(pytest.param, marks=pytest.mark.slow)


class Killed(BaseException):
    pass


def kill(*arguments):
    raise Killed


class Watched:
    """A training of seven steps, evaluated every three, in a directory of its own."""

    def __init__(self, folder, data=None):
        self.folder, self.exported = folder, []
        if data is None:
            write_data(folder)
        else:
            folder.mkdir()
            (folder / "data").symlink_to(data / "data")

    def export(self, estimator, metrics, step, final):
        self.exported.append((step, final))

    def run(self, *exporters, callbacks=(), max_steps=7):
        """As a new process resumes."""
        run = make_estimator(self.folder, model=make_model("shared_bottom"), warn=lambda line: None)
        estimator = RankingEstimator(
            run.config,
            run.model_dir,
            run.run_config,
            warn=lambda line: None,
            inform=lambda line: None,
        )
        log = MetricsLog(estimator.model_dir / "metrics.jsonl")
        log.forget_after(estimator.train(run.train_input, steps=0).step)
        eval_spec = EvalSpec(run.eval_input, 3, exporters or [self.export], callbacks)
        return train_and_evaluate(
            estimator, TrainSpec(run.train_input, max_steps, [log]), eval_spec
        )[0]

    @property
    def evaluations(self):
        return [line for line in lines(self.folder / "model/metrics.jsonl") if "evaluation" in line]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    watched = Watched(tmp_path_factory.mktemp("undisturbed"))
    watched.run()
    assert watched.exported == [(3, False), (6, False), (7, True)]
    assert [line["step"] for line in watched.evaluations] == [3, 6, 7]
    return watched


@pytest.fixture
def watched(tmp_path, undisturbed):
    return Watched(tmp_path / "run", undisturbed.folder)


def kill_at(monkeypatch, watched, name, call):
    """Kills the training at the so many-th call of a method of the estimator."""
    calls, real = [], getattr(RankingEstimator, name)

    def counted(*arguments):
        calls.append(name)
        return kill() if len(calls) == call else real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RankingEstimator, name, counted)
        with pytest.raises(Killed):
            watched.run()


@pytest.mark.parametrize("call", [SLOW(1), SLOW(2), 3])  # the third is after the last step
def test_one_killed_after_its_checkpoint_is_made_up(monkeypatch, undisturbed, watched, call):
    kill_at(monkeypatch, watched, "evaluate", call)
    assert len(watched.evaluations if call > 1 else []) == call - 1
    trained = watched.run()
    assert (trained.step, trained.ended) == (7, "steps")
    assert watched.exported == undisturbed.exported
    assert watched.evaluations == undisturbed.evaluations


@pytest.mark.parametrize("step", [3, SLOW(7)])
def test_one_killed_while_it_exports_has_one_line_and_is_exported(undisturbed, watched, step):
    def killed(estimator, metrics, at, final):
        return kill() if at == step else watched.export(estimator, metrics, at, final)

    with pytest.raises(Killed):
        watched.run(killed)
    assert watched.evaluations[-1]["step"] == step  # its line was written before
    watched.run()
    assert watched.exported == undisturbed.exported
    assert watched.evaluations == undisturbed.evaluations


@pytest.mark.slow
def test_what_was_not_killed_is_not_made_up(monkeypatch, undisturbed, watched):
    watched.run(max_steps=3)
    watched.run()
    assert watched.exported == [(3, True), (6, False), (7, True)]
    assert watched.evaluations == undisturbed.evaluations
    watched.run()  # nothing is left to train: exported for new exporters, not reported
    assert watched.exported[3:] == [(7, True)]
    assert watched.evaluations == undisturbed.evaluations


@pytest.mark.slow
def test_what_comes_after_an_older_checkpoint_is_evaluated_again(monkeypatch, undisturbed, watched):
    watched.run()
    for step in (6, 7):
        (watched.folder / f"model/checkpoints/ckpt-{step}.index").unlink()
    kill_at(
        monkeypatch, watched, "evaluate", 1
    )  # at step 6, which the run evaluated once, before its checkpoint was lost
    assert [line["step"] for line in watched.evaluations] == [3]
    watched.run()
    assert watched.evaluations == undisturbed.evaluations
    assert watched.exported == [*undisturbed.exported, (6, False), (7, True)]


def test_a_training_that_stopped_early_stops_where_it_was_killed(undisturbed, watched):
    def stopping():
        callback = EarlyStopping(
            "ctr auc", patience=1, min_delta=1.0
        )  # the second is not an improvement
        callback.resume(watched.folder / "model/metrics.jsonl")
        return [callback]

    def killed(estimator, metrics, step, final):
        return kill() if step == 6 else None

    with pytest.raises(Killed):
        watched.run(killed, callbacks=stopping())
    trained = watched.run(callbacks=stopping())
    assert (trained.step, trained.ended) == (6, "callback")
    assert watched.exported == [(6, True)]
    assert watched.evaluations == undisturbed.evaluations[:2]

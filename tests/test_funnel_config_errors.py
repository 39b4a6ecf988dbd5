"""A mistake in the configuration ends a command before TensorFlow, Keras or Beam is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "funnel" / "examples" / "demo.toml"
MISTAKES = {
    "model.shraing=ple": "model: unknown key 'shraing': did you mean 'sharing'?",
    "model.sharing=plee": "model.sharing = 'plee': name = 'plee' is unknown: did you mean 'ple'?",
    "model.sharing={name='ple', level=3}": "unknown key 'level': did you mean 'levels'?",
    "model.sharing={name='mmoe', experts=1}": "model.sharing.experts = 1: Input should be greater",
    "model.sharing={name='ple', levels='many'}": "model.sharing.levels = 'many': Input should be",
    "model.sharing=mose": "mose reads a sequence, but no feature has kind = 'sequence'",
    "model.sharing={name='asymmetric', reads={x=['ctr']}}": "model.sharing.reads names 'x'",
    "model.funnel=esm": "model.funnel = 'esm': name = 'esm' is unknown: did you mean 'esmm'?",
    "model.funnel={name='esmm', tower_units={ctr=[4]}}": "model.funnel.tower_units lacks 'cvr'",
    "tasks.cvr={label='convert'}": "model.funnel = 'esmm' needs a chain of tasks, but none",
    "model.funnel=esm2": "model.funnel = 'esm2' needs three tasks",
    "model.weighting=gradnor": "name = 'gradnor' is unknown: did you mean 'gradnorm'?",
    "model.weighting={name='fixed', weights={cvr=2}}": (
        "model.weighting.weights names 'cvr', which is not an objective"
    ),
    "model.wide=perhaps": "model.wide = 'perhaps': Input should be a valid boolean",
    "train.step=5": "train: unknown key 'step': did you mean 'steps'?",
    "train.steps=0": "train.steps = 0: Input should be greater than or equal to 1",
    "train.epochs=two": "train.epochs = 'two': Input should be a valid number",
    "train.precision=float64": "train.precision = 'float64': Input should be 'auto', 'float32'",
    "train.features={user={l2=0.1}}": "train.features names 'user', which has no embedding table",
    "train.features={user_id={l3=0.1}}": "train.features.user_id: unknown key 'l3'",
    "train.optimizer=adan": "name = 'adan' is unknown: did you mean 'adam'?",
    "train.optimizer={name='adam', beta_3=0.1}": "keras.optimizers.Adam has no option 'beta_3'",
    "train.optimizer={name='sgd', momentum=2}": "train.optimizer.momentum = 2: Input should be",
    "train.optimizer={name='adam', epsilon='x'}": "train.optimizer.epsilon = 'x': Input should be",
    "train.optimizer={name='adam', clipnorm=1.0}": "clipnorm = 1.0 is not an option here",
    "train.embedding_optimizer=adam": "name = 'adam' is unknown: did you mean 'lazy_adam'?",
    "train.embedding_optimizer={name='sgd', l1=1}": "train.embedding_optimizer: unknown key 'l1'",
    "train.schedule=linear": "train.schedule",
    "train.schedule={name='cosine', decay_steps=0}": "train.schedule.decay_steps = 0: Input should",
    "train.profile=[5, 2]": "profile = [5, 2]: must be [first step, last step]",
    "evaluation.evry=5": "evaluation: unknown key 'evry': did you mean 'every'?",
    "exporters.best.metric=5": "exporters.best.metric = 5: Input should be a valid string",
    "exporters.best.metric=ctcvr gain": "'ctcvr gain' has no better direction: choose one of auc",
    "exporters.best={metric='ctr auc', provided=['ctr auc']}": "'ctr auc' is not a condition",
    "evaluation={every=5, early_stopping={metric='auc'}}": "'auc' does not name a metric",
    "split.eval.last=1 day": "split.eval.last = '1 day': must be a whole number and a unit",
}
CODE = """
import contextlib, io, json, sys
from funnel.cli.main import main

found = []
for command, mistake in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([command, sys.argv[1], "--set", mistake])
    late = {name.split(".")[0] for name in sys.modules}
    found.append([code, said.getvalue(), sorted(late & {"tensorflow", "keras", "apache_beam"})])
print(json.dumps(found))
"""
COMMANDS = ("preprocess", "train", "evaluate", "export", "report", "predict", "run")


def run(folder, given):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(EXAMPLE)],
        input=json.dumps(given),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{mistake: what `funnel train` said to it}, all in one process."""
    found = run(tmp_path_factory.mktemp("mistakes"), [("train", mistake) for mistake in MISTAKES])
    return dict(zip(MISTAKES, found, strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_before_tensorflow_is_imported(outcomes, mistake):
    code, said, late = outcomes[mistake]
    assert late == []
    assert said.startswith("error: ")
    assert MISTAKES[mistake] in said
    assert code == 2


def test_every_command_checks_every_section_first(tmp_path):
    mistakes = ("model.sharing=plee", "train.steps=0", "evaluation.evry=5")
    for code, said, late in run(tmp_path, [(c, m) for c in COMMANDS for m in mistakes]):
        assert (code, late) == (2, [])
        assert said.startswith(("error: model.sharing", "error: train.steps", "error: evaluation"))

"""Bad input to the model: what cannot be built is refused before any log is read."""

import pytest

from funnel.cli.main import main

MODEL = """
run = "{folder}/run"
[logs]
impressions = {{ files = "{folder}/nowhere.jsonl", id = "id", time = "ts" }}
clicks = {{ files = "{folder}/nowhere.jsonl", id = "id", time = "ts" }}
[labels]
click = {{ event = "clicks", within = "30m" }}
cart = {{ event = "clicks", within = "1d", after = "click" }}
convert = {{ event = "clicks", within = "3d", after = "click" }}
dwell = {{ event = "clicks", value = "seconds", after = "click" }}
[features]
user = {{ kind = "categorical", buckets = 100 }}
[tasks]
ctr = {{ label = "click" }}
cvr = {{ label = "convert", given = "click" }}
"""
TWO_ROOTS = 'tasks={a={label="click"}, b={label="convert"}}'
FORK = (
    'tasks={a={label="click"}, b={label="cart", given="click"}, c={label="convert", given="click"}}'
)
LINE = (
    'tasks={a={label="click"}, b={label="cart", given="click"}, c={label="convert", given="cart"}}'
)
NUMBER = 'tasks.dwell={label="dwell", given="click"}'


def said(folder, capsys, *overrides):
    (folder / "bad.toml").write_text(MODEL.format(folder=folder))
    assert (
        main(
            [
                "run",
                str(folder / "bad.toml"),
                *(part for override in overrides for part in ("--set", override)),
            ]
        )
        == 2
    )
    assert not (folder / "run" / "data").exists()
    return capsys.readouterr().err


def test_the_model_is_good_but_for_its_logs(tmp_path, capsys):
    assert said(tmp_path, capsys).startswith(
        f"error: logs.impressions.files = '{tmp_path}/nowhere.jsonl': no file matches"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.sharing=mmeo"],
            "model.sharing = 'mmeo': name = 'mmeo' is unknown: did you mean 'mmoe'? known: "
            "asymmetric, cgc, ",
        ),
        (
            ["model.funnel=funnel"],
            "model.funnel = 'funnel': name = 'funnel' is unknown: known: aitm, dbmtl, escm2, "
            "esm2, esmm, independent",
        ),
        (
            ["model.weighting=gradnor"],
            "model.weighting = 'gradnor': name = 'gradnor' is unknown: did you mean 'gradnorm'? "
            "known: decay, ",
        ),
        (
            ['model.sharing={name="ple", expert="rnn"}'],
            "model.sharing.expert = 'rnn': Input should be 'mlp', 'cross', 'fm' or 'lstm'",
        ),
        (
            [TWO_ROOTS, "model.funnel=esmm"],
            "model.funnel = 'esmm' needs a chain of tasks, but none of a, b has `given`; declare "
            "one, as in",
        ),
        (
            [TWO_ROOTS, "model.funnel=escm2"],
            "model.funnel = 'escm2' needs a chain of tasks, but none of a, b has `given`",
        ),
        (
            [FORK, "model.funnel=aitm"],
            "model.funnel = 'aitm' needs its tasks in one chain, but a → b leaves out 'c'",
        ),
        (
            [FORK, "model.funnel=dbmtl"],
            "model.funnel = 'dbmtl' needs its tasks in one chain, but a → b leaves out 'c'",
        ),
        (
            [LINE, "model.funnel=escm2"],
            "model.funnel = 'escm2' is defined for chains of at most 2 tasks, and these are a → b "
            "→ c",
        ),
        (
            [LINE, "model.funnel=esm2"],
            "model.funnel = 'esm2' needs three tasks: one of the click, and those",
        ),
        (
            [FORK, "model.funnel=esm2"],
            "model.funnel.action is not given: name the task of the action: known: b, c",
        ),
        (
            [NUMBER, "model.funnel=esmm"],
            "model.funnel = 'esmm' predicts probabilities, but the label 'dwell' of task 'dwell' "
            "is a number",
        ),
        (
            [NUMBER, "model.funnel=esm2"],
            "model.funnel = 'esm2' predicts probabilities, but the label 'dwell' of task 'dwell' "
            "is a number",
        ),
        (
            ['model.sharing={name="mmoe", expert="lstm"}'],
            "model.sharing: expert = 'lstm' reads a sequence, but no feature has kind = 'sequence'",
        ),
        (
            ["model.sharing=mose"],
            "model.sharing: mose reads a sequence, but no feature has kind = 'sequence'",
        ),
        (
            ['model.sharing={name="mmoe", experts=0}'],
            "model.sharing.experts = 0: Input should be greater than or equal to 2",
        ),
        (
            ['model.sharing={name="moe", experts=0}'],
            "model.sharing.experts = 0: Input should be greater than or equal to 2",
        ),
        (
            ['model.sharing={name="cgc", task_experts=0, shared_experts=0}'],
            "model.sharing.task_experts = 0: Input should be greater than or equal to 1",
        ),
        (
            ['model.sharing={name="ple", levels=0}'],
            "model.sharing.levels = 0: Input should be greater than or equal to 1",
        ),
        (
            ['model.sharing={name="ml_mmoe", levels=-1}'],
            "model.sharing.levels = -1: Input should be greater than or equal to",
        ),
        (
            ["tasks.cvr.given=clik"],
            "tasks.cvr.given = 'clik' must be the label of another task: did you mean 'click'?",
        ),
        (
            ['tasks.x={label="convert", given="dwell"}', NUMBER],
            "tasks.x.given = 'dwell' is a number: a sample space is where a label of 0 and 1 is 1",
        ),
        (
            ["tasks.cvr.positive_weight=-1"],
            "tasks.cvr.positive_weight = -1: Input should be greater than 0",
        ),
        (
            ['model.weighting={name="fixed", weights={ctr=-0.5}}'],
            "model.weighting.weights.ctr = -0.5: Input should be greater than or equal to 0",
        ),
        (
            ['model.weighting={name="fixed", weights={ctrs=1}}'],
            "model.weighting.weights names 'ctrs', which is not an objective: did you mean 'ctr'?",
        ),
        (
            ["model.funnel=aitm", 'model.weighting={name="fixed", weights={calibrator_cvr=2}}'],
            "model.weighting.weights names 'calibrator_cvr', a penalty, which has no weight but "
            "its own coefficient: set model.funnel.calibrator_weight (objectives: ctr, ctcvr)",
        ),
        (
            ['model.funnel={name="escm2", estimator="dr"}', "model.weighting=uncertainty"],
            "model.weighting = 'uncertainty' needs losses that are at least 0, and that of 'cvr' "
            "may be negative: choose another weighting, or model.funnel.estimator = 'ipw'",
        ),
        (
            ["model.sharing=single_task", "model.weighting=gradnorm"],
            "model.weighting = 'gradnorm' compares gradients of a layer that all of several "
            "heads share, and sharing 'single_task' with funnel 'independent' of ctr, cvr has "
            "none: choose another of the three",
        ),
        (
            ["model.sharing=single_task", "model.weighting=pareto"],
            "model.weighting = 'pareto' compares gradients of dense weights that several "
            "objectives reach, and sharing 'single_task' with funnel 'independent' of ctr, cvr "
            "has none: choose another of the three",
        ),
        (
            ['model.sharing={name="asymmetric", reads={}}', "model.weighting=pcgrad"],
            "model.weighting = 'pcgrad' compares gradients of dense weights that several "
            "objectives reach, and sharing 'asymmetric' with funnel 'independent' of ctr, cvr "
            "has none: choose another of the three",
        ),
    ],
)
def test_a_model_that_cannot_be_built(tmp_path, capsys, overrides, message):
    assert message in said(tmp_path, capsys, *overrides)

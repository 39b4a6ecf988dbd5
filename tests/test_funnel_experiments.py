"""Experiments: their data by hand, their statistics, and that a rerun measures only what is
missing.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from features.errors import FunnelError
from funnel import experiments
from funnel.cli import arguments
from funnel.cli import main as cli
from funnel.experiments import EXPERIMENTS, census, mmoe_synthetic, training
from funnel.experiments.base import Experiment, Results, figure, run, statistics
from funnel.experiments.census import Census
from funnel.experiments.esmm_bias import METHODS, METRICS, SELECTIONS, ESMMBias
from funnel.experiments.mmoe_synthetic import MODELS, Learner, MMoESynthetic, Steps, Task, train
from funnel.experiments.training import flat
from funnel.stages.interrupted import Interrupted
from model.sharing import SHARING

ROOT = Path(__file__).resolve().parents[1]
TINY = Steps(steps=3, batch_size=8, test_rows=50)


@dataclass(frozen=True)
class Sum(Experiment):
    """Measures setting + seed, and dies before the seed `dies_at`."""

    power: int = 1
    dies_at: int = 100

    @property
    def groups(self):
        return [["10", "20"], ["30"]]

    def describe(self, setting):
        return {"power": self.power, "of": int(setting)}

    def measure(self, settings, seed):
        for setting in settings:
            if seed >= self.dies_at:
                raise KeyboardInterrupt
            with (self.out / "measured").open("a") as file:
                file.write(f"{setting}/{seed} ")
            yield setting, {"value": float((int(setting) + seed) ** self.power)}

    def show(self, results):
        print("shown", results.summary())

    def draw(self, results):
        drawn, (axis,) = figure(1, width=2)
        axis.plot(results.values("10", "value"))
        return drawn


def test_a_training_that_a_signal_ended_gives_no_result(monkeypatch, tmp_path):
    ended = SimpleNamespace(ended="signal", step=3)
    estimator = SimpleNamespace(train=lambda batches, max_steps: ended)
    half = SimpleNamespace(estimator=estimator, train_input=None, max_steps=9)
    monkeypatch.setattr(training, "Run", lambda *arguments: half)
    with pytest.raises(Interrupted) as error:
        training.train(None, tmp_path)
    assert error.value.step == 3


def test_the_command_line_knows_every_experiment():
    assert tuple(EXPERIMENTS) == arguments.EXPERIMENTS


def measured(out):
    return (out / "measured").read_text().split()


def test_statistics_by_hand():
    found = statistics([1.0, 2.0, 6.0])
    # mean 9/3; variance (4 + 1 + 9)/2 = 7; t(.975, 2 degrees) = 4.302653; half of the interval =
    # 4.302653·√7/√3
    assert found == pytest.approx(
        {
            "mean": 3,
            "std": 7**0.5,
            "median": 2,
            "interval": 4.302653 * (7 / 3) ** 0.5,
            "n": 3,
        },
        rel=1e-6,
    )
    assert statistics([4.0]) == {
        "mean": 4.0,
        "std": 0.0,
        "median": 4.0,
        "interval": 0.0,
        "n": 1,
    }


def test_results_go_on_disk_one_by_one_and_a_rerun_measures_what_is_missing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Sum(tmp_path, dies_at=2), 3)
    assert measured(tmp_path) == ["10/1", "20/1", "30/1"]
    assert not (tmp_path / "summary.json").exists()
    summary = run(Sum(tmp_path), 3)
    assert measured(tmp_path)[3:] == ["10/2", "20/2", "30/2", "10/3", "20/3", "30/3"]
    assert summary["20"]["value"] == pytest.approx(
        {"mean": 22, "std": 1, "median": 22, "interval": 4.302653 / 3**0.5, "n": 3}
    )
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert run(Sum(tmp_path), 2) == summary  # seeds once measured stay
    assert len(measured(tmp_path)) == 9


def test_a_line_that_was_cut_off_is_measured_again(tmp_path):
    run(Sum(tmp_path), 1)
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    run(Sum(tmp_path), 1)
    assert measured(tmp_path) == ["10/1", "20/1", "30/1", "30/1"]
    assert [json.loads(line)["metrics"] for line in path.read_text().splitlines()] == [
        {"value": 11.0},
        {"value": 21.0},
        {"value": 31.0},
    ]


def test_some_settings_alone(tmp_path):
    assert set(run(Sum(tmp_path), 1, ["20"])) == {"20"}
    assert measured(tmp_path) == ["20/1"]
    with pytest.raises(
        FunnelError, match=r"--only 21: is not a setting of this experiment: known: 10, 20, 30$"
    ):
        run(Sum(tmp_path), 1, ["21"])


def test_other_options_are_refused(tmp_path):
    run(Sum(tmp_path), 1)
    with pytest.raises(
        FunnelError,
        match=(
            r"results.jsonl: 10 was measured with power = 1, but power is now 2: give another "
            r"--out"
        ),
    ):
        run(Sum(tmp_path, power=2), 1)


def test_synthetic_task_by_hand():
    task = Task(0.6, seed=3)
    w = task.weights
    np.testing.assert_allclose(
        w.T @ w, [[1, 0.6], [0.6, 1]], atol=1e-12
    )  # unit weights of cosine p
    x, y = (t.numpy().astype(np.float64) for t in task.rows(4000, tf.constant(7)))
    z = x @ w
    rest = y - z - sum(np.sin(i * z + i) for i in range(1, 11))
    assert abs(rest.std() - 0.1) < 0.003
    assert abs(x.std() - 1) < 0.005
    assert abs(np.corrcoef(rest.T)[0, 1]) < 0.06
    assert (
        np.abs(x - task.rows(4000, tf.constant(8))[0].numpy()).max() > 1
    )  # a batch for each number


@pytest.mark.parametrize(("p", "correlation"), [(0.5, 0.10), (0.9, 0.30), (0.98, 0.60)])
def test_synthetic_labels_correlate_as_the_paper_reports(p, correlation):
    y = Task(p, seed=1).rows(20_000, tf.constant(0))[1].numpy()
    assert abs(np.corrcoef(y.T)[0, 1] - correlation) < 0.08


def test_models_have_the_papers_sizes():
    # shared bottom 100·113 + 113; experts 8·(100·16 + 16); a gate 100·8; two towers of 8 units over
    # the representation, and their outputs
    def towers(width):
        return 2 * (width * 8 + 8 + 8 + 1)

    expected = {
        "shared_bottom": 11_413 + towers(113),
        "moe": 12_928 + 800 + towers(16),
        "mmoe": 12_928 + 1600 + towers(16),
    }
    assert {model: Learner(model, 1, TINY).model.count_params() for model in MODELS} == expected


def test_models_trained_side_by_side_are_those_trained_alone():
    together = train(list(MODELS), 0.9, 1, TINY)
    assert train(["mmoe"], 0.9, 1, TINY)["mmoe"] == pytest.approx(together["mmoe"], rel=1e-5)
    longer = train(["shared_bottom"], 0.9, 1, replace(TINY, steps=300, batch_size=128))
    assert longer["shared_bottom"] < 0.9 * together["shared_bottom"]


def test_mmoe_synthetic_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mmoe_synthetic, "CORRELATIONS", (1.0,))
    monkeypatch.setitem(
        experiments.EXPERIMENTS,
        "mmoe-synthetic",
        lambda out, config: MMoESynthetic(out, config, TINY),
    )
    command = ["experiment", "mmoe-synthetic", "--seeds", "2", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary) == ["shared_bottom@1.0", "moe@1.0", "mmoe@1.0"]
    assert all(found["loss"]["n"] == 2 for found in summary.values())
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    capsys.readouterr()
    assert cli.main(command) == 0
    assert (tmp_path / "out" / "results.jsonl").read_text().splitlines() == lines
    assert "Final loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["mmoe-synthetics"],
            "'mmoe-synthetics' is not an experiment: did you mean 'mmoe-synthetic'?",
        ),
        (
            ["mmoe-synthetic", "--config", "my.toml"],
            "--config my.toml: mmoe-synthetic draws its own data",
        ),
        (["census", "--config", "none.toml"], "none.toml: cannot be read"),
        (
            ["census", "--only", "mmo"],
            "--only mmo: is not a setting of this experiment: did you mean 'mmoe'?",
        ),
        (["census", "--only", "mose"], "--only mose: is not a setting of this experiment"),
        (
            ["esmm-bias", "--config", "funnel/examples/census.toml"],
            "funnel/examples/census.toml: no task has `given`",
        ),
        (["census", "--seeds", "0"], "0 is not a whole number of at least 1"),
    ],
)
def test_what_the_user_can_fix(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(ROOT)
    try:
        code = cli.main(["experiment", *arguments, "--out", str(tmp_path)])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results.jsonl").exists()


@pytest.mark.slow
def test_esmm_bias_measures_every_method_against_the_truth(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = ESMMBias(tmp_path, impressions=3000)
    of = experiment.describe("hidden/escm2_dr")
    assert of["simulate.selection"] == 1.0
    assert of["model.funnel.estimator"] == "dr"
    summary = run(experiment, 1, ["features/esmm", "features/clicks_only"])
    assert list(summary) == ["features/clicks_only", "features/esmm"]
    for found in summary.values():
        assert set(found) == set(METRICS)
        assert 0.3 < found["auc"]["mean"] < 0.9
        assert 0.2 < found["unclicked"]["mean"] < 5
    assert experiment.groups == [[f"{s}/{m}" for m in METHODS] for s in SELECTIONS]


def test_census_compares_every_sharing_but_those_without_their_features(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = Census(tmp_path)
    assert set(census.OPTIONS) == set(SHARING)
    assert experiment.groups == [[sharing for sharing in SHARING if sharing != "mose"]]
    assert experiment.left_out == {
        "mose": "model.sharing: mose reads a sequence, but no feature has kind = 'sequence': "
        "declare one"
    }
    assert experiment.describe("ple")["model.sharing.levels"] == 2


@pytest.mark.parametrize(("kind", "setting"), [(ESMMBias, "hidden/escm2_ipw"), (Census, "cgc")])
def test_the_numbers_are_not_the_machines_choice(tmp_path, monkeypatch, kind, setting):
    monkeypatch.chdir(ROOT)
    of = kind(tmp_path).describe(setting)
    assert (of["train.precision"], of["train.xla"]) == ("float32", False)


CENSUS = """
[logs.table]
files = "{folder}/rows.csv"
format = "csv"
columns = ["age", "work", "income", "married"]

[split]
eval = {{ fraction = 0.5 }}

[labels]
income = {{ column = "income", equals = "1" }}
never_married = {{ column = "married", equals = "0" }}

[tasks]
income = {{ label = "income" }}
never_married = {{ label = "never_married" }}

[features]
age = {{ kind = "numeric" }}
work = {{ kind = "categorical", buckets = 10, dim = 2 }}
"""


@pytest.mark.slow
def test_census_on_a_table_of_ones_own(tmp_path):
    rng = np.random.default_rng(1)
    rows = [f"{20 + n % 50},w{n % 3},{int(n % 3 == 0)},{rng.integers(2)}" for n in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "my.toml").write_text(CENSUS.format(folder=tmp_path))
    experiment = Census(tmp_path / "out", tmp_path / "my.toml")
    summary = run(experiment, 2, ["shared_bottom", "cgc"])
    assert list(summary) == ["shared_bottom", "cgc"]
    assert {task: found["n"] for task, found in summary["cgc"].items()} == {
        "income": 2,
        "never_married": 2,
    }
    assert Results(experiment).values("cgc", "income") != [0.5, 0.5]
    assert (tmp_path / "out" / "data" / "manifest.json").exists()


def test_nested_options_have_flat_names():
    assert flat("model", {"name": "x", "funnel": {"units": [1], "a": {"b": 2}}}) == {
        "model.name": "x",
        "model.funnel.units": [1],
        "model.funnel.a.b": 2,
    }


def test_every_experiment_says_what_it_claims():
    assert list(EXPERIMENTS) == ["mmoe-synthetic", "esmm-bias", "census", "defaults"]
    assert all(kind.__doc__.startswith("Claim: ") for kind in EXPERIMENTS.values())

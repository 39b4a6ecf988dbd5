"""The `defaults` experiment: its references by hand, its bars from literal results, its sets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from features.errors import FunnelError
from features.spec import Spec
from funnel import experiments
from funnel.cli import main as cli
from funnel.experiments.bars import bars, by_task, counts
from funnel.experiments.base import Results
from funnel.experiments.defaults import Defaults
from funnel.experiments.public_sets import movielens
from funnel.experiments.references import (
    Rows,
    boosted,
    linear_inputs,
    logistic,
    one_hot,
    read,
    tree_inputs,
)
from funnel.experiments.sets import SETS, simulated

ROOT = Path(__file__).resolve().parents[1]
TINY = simulated("studied", 2000, evaluated=1500, ctr=0.4, cvr=0.5)
SPEC = Spec.parse(
    {
        "features": {
            "color": {"kind": "categorical", "buckets": 10},
            "tags": {"kind": "categorical", "buckets": 10, "max_length": 2},
            "price": {"kind": "numeric", "transform": "log1p"},
        },
        "labels": {"click": {"column": "click"}},
        "tasks": {"ctr": {"label": "click"}},
    }
)


def rows(ids, dense):
    n = len(ids)
    dense = np.array(dense, np.float32).reshape(n, 1)
    return Rows(np.array(ids), dense, {"click": np.zeros(n, np.int64)}, np.ones(n))


TRAIN = rows([[3, 5, 7], [3, 5, 0], [4, 0, 0], [0, 7, 5]], [0.0, np.e - 1, np.nan, np.e - 1])
HELD = rows([[9, 7, 9], [4, 0, 0]], [np.e**2 - 1, -5.0])


def test_a_list_is_the_mean_of_its_one_hots():
    ids = np.array([[5, 7, 0], [7, 0, 0], [0, 0, 0], [5, 5, 7], [9, 7, 0]])
    levels = np.array([0, 5, 7])  # 9 is unknown
    expected = [[0, 0.5, 0.5], [0, 0, 1], [1, 0, 0], [0, 2 / 3, 1 / 3], [0, 0, 0.5]]
    np.testing.assert_allclose(one_hot(ids, levels).toarray(), expected)


def test_linear_inputs_by_hand():
    """color 0, 3, 4; tags 0, 5, 7; price: log1p 0, 1, 1 of mean 2/3 and variance 2/9; missing."""
    low, high = -(2**0.5), 0.5**0.5
    expected = [
        [0, 1, 0, 0, 0.5, 0.5, low, 0],
        [0, 1, 0, 0, 1, 0, high, 0],
        [0, 0, 1, 1, 0, 0, 0, 1],
        [1, 0, 0, 0, 0.5, 0.5, high, 0],
    ]
    held = [[0, 0, 0, 0, 0, 0.5, 2 * 2**0.5, 0], [0, 0, 1, 1, 0, 0, low, 0]]
    found = linear_inputs(SPEC, TRAIN, HELD)
    np.testing.assert_allclose(found.train.toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(found.held.toarray(), held, atol=1e-6)


def test_tree_inputs_by_hand():
    """Colors by frequency: 3, 0, 4. Flags of the tags 5, 7, 0 by frequency."""
    found = tree_inputs(SPEC, TRAIN, HELD)
    assert found.categorical == [True, False, False, False, False]
    np.testing.assert_allclose(found.train[:, 0], [0, 0, 2, 1])
    np.testing.assert_allclose(found.held[:, 0], [np.nan, 2])
    np.testing.assert_allclose(found.train[:, 1:3], [[1, 1], [1, 0], [0, 0], [1, 1]])
    np.testing.assert_allclose(found.train[:, 4], [0, 1, np.nan, 1], atol=1e-6)


def test_references_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    ids = np.stack([rng.integers(1, 5, 400), rng.integers(0, 4, 400), np.zeros(400, int)], 1)
    train = rows(ids[:300], rng.random(300))
    held = rows(ids[300:], rng.random(100))
    y = (ids[:300, 0] + rng.random(300) * 3 > 4).astype(int)
    weight = rng.integers(1, 4, 300).astype(float)
    x = linear_inputs(SPEC, train, held)
    dense, held_dense = x.train.toarray(), x.held.toarray()
    expected = LogisticRegression().fit(dense, y, sample_weight=weight).predict_proba(held_dense)
    found = logistic(x.train, y, weight, x.held)
    np.testing.assert_allclose(found, expected[:, 1], atol=2e-3)
    trees = tree_inputs(SPEC, train, held)
    model = HistGradientBoostingClassifier(categorical_features=[0]).fit(trees.train, y, weight)
    found = boosted(trees.train, y, weight, trees.held, trees.categorical)
    np.testing.assert_allclose(found, model.predict_proba(trees.held)[:, 1])


def task(auc, lr, hgb, logloss, **more):
    found = {"auc": auc, "auc_lr": lr, "auc_hgb": hgb, "logloss": logloss}
    found |= {"logloss_lr": 0.5, "logloss_constant": 0.6, "positives": 300, "eval_positives": 500}
    return found | more


def test_bars_by_hand():
    medians = {
        "sim": {"ctr": task(0.70, 0.70, 0.70, 0.50), "cvr": task(0.60, 0.61, 0.60, 0.505)},
        "adult-1k": {"income": task(0.80, 0.80, 0.90, 0.52)},
    }
    lr, hgb, mean, logloss, constant = bars(medians)
    assert (lr["pass"], lr["worst"], lr["failed"]) == (False, "sim/cvr", ["sim/cvr"])
    assert lr["margin"] == pytest.approx(-0.005)
    assert (hgb["pass"], hgb["worst"], hgb["cases"]) == (True, "sim/ctr", 2)
    assert hgb["margin"] == pytest.approx(0.01)
    # sim: (0 − .01) / 2; adult: −.1; their mean −.0525, and .003 are allowed
    assert (mean["pass"], mean["worst"], mean["cases"]) == (False, "adult-1k", 2)
    assert mean["margin"] == pytest.approx(-0.0495)
    assert (logloss["pass"], logloss["failed"]) == (False, ["adult-1k/income"])
    assert logloss["margin"] == pytest.approx(-0.015)
    assert (constant["pass"], constant["worst"]) == (True, "adult-1k/income")
    assert bars({"sim": {"ctr": task(0.7, 0.7, 0.7, 0.6)}})[-1]["pass"] is False  # not below
    assert [bar["pass"] for bar in bars({})] == [None] * 5


def test_tasks_with_few_positives_do_not_count():
    metrics = {"rows": 9, "ctr/auc": 0.7, "ctr/auc_lr": 0.6}
    assert by_task(metrics) == {"ctr": {"auc": 0.7, "auc_lr": 0.6}}
    assert counts(task(0.7, 0.7, 0.7, 0.5))
    assert not counts(task(0.7, 0.7, 0.7, 0.5, positives=299))
    assert not counts(task(0.7, 0.7, 0.7, 0.5, eval_positives=499))


def test_the_table_holds_medians_of_what_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    sets = {"tiny": TINY, "held": replace(TINY, half="held-out"), "bank": SETS["bank-29k"]}
    experiment = Defaults(tmp_path, None, tmp_path / "public", sets)
    results = Results(experiment)
    for seed, auc in enumerate((0.6, 0.8, 0.7), 1):
        metrics = {f"ctr/{name}": value for name, value in task(auc, 0.7, 0.7, 0.4).items()}
        metrics["rows"] = 2000
        few = {f"cvr/{n}": v for n, v in task(auc, 0.5, 0.5, 0.4, positives=9).items()}
        one_class = {"up/positives": 900, "up/eval_positives": 900}
        results.add("tiny", seed, metrics | few | one_class)
    table = experiment.table(results)
    assert table["sets"]["tiny"]["tasks"] == {"ctr": task(0.7, 0.7, 0.7, 0.4)}
    about = {key: value for key, value in table["sets"]["tiny"].items() if key != "tasks"}
    assert about == {"half": "studied", "rows": 2000, "seeds": 3}
    assert table["not_counted"] == ["tiny/cvr", "tiny/up"]
    assert table["not_measured"] == ["held"]
    assert table["left_out"] == {"bank": f"{tmp_path}/public/bank is absent; see --public"}
    assert list(table["bars"]) == ["studied"]
    assert all(bar["pass"] for bar in table["bars"]["studied"])
    assert experiment.table(results, ["held"])["sets"] == {}


def test_every_set_leaves_training_to_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(SETS) >= 12
    assert sum(found.half == "studied" for found in SETS.values()) == 8
    for name, found in SETS.items():
        config = found.config(tmp_path / name, seed=7)
        assert config.sections.train == {"seed": 7, "precision": "float32", "xla": False}
        model = {"sharing": {"name": "mmoe"}, "funnel": {"name": found.funnel}}
        assert config.sections.model == model
        assert {f.dim for f in config.spec.embedded.values()} == {8}
        described = found.describe(tmp_path / name)
        assert described == found.describe(Path("elsewhere"))
        assert str(tmp_path) not in json.dumps(described)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_set_fits_its_model(tmp_path, monkeypatch, name):
    monkeypatch.chdir(ROOT)
    config = SETS[name].config(tmp_path)
    objectives = [o.name for o in config.model.check(config.spec)]
    assert len(objectives) == len(config.spec.tasks)


def test_movielens_is_joined(tmp_path):
    (tmp_path / "u.data").write_text("1\t2\t5\t881250949\n")
    (tmp_path / "u.user").write_text("1|24|M|writer|85711\n")
    flags = "|".join("0" if n not in (1, 3) else "1" for n in range(19))
    item = f"2|Café (1995)|01-Jan-1995||url|{flags}\n"
    (tmp_path / "u.item").write_bytes(item.encode("latin-1"))
    movielens(tmp_path, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        "user_id,movie_id,rating,time,age,gender,occupation,zip,year,genres",
        "1,2,5,881250949,24,M,writer,85711,1995,1|3",
    ]


def test_the_command_measures_once_and_prints_json_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    class Tiny(Defaults):
        def __init__(self, out, config=None, public=None):
            super().__init__(out, config, public, {"tiny": TINY})

    monkeypatch.setitem(experiments.EXPERIMENTS, "defaults", Tiny)
    command = ["experiment", "defaults", "--seeds", "1", "--out", str(tmp_path), "--table"]
    assert cli.main(command) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["not_counted"] == ["tiny/cvr"]
    ctr = table["sets"]["tiny"]["tasks"]["ctr"]
    data = Tiny(tmp_path).data("tiny")
    train = read(data, "train")
    counted = json.loads((data.directory / "statistics.json").read_text())["labels"]["train"]
    assert int((train.labels["click"] == 1).sum()) == counted["click"]["positive"]
    assert len(train.ids) == data.rows("train")
    kept = json.loads((tmp_path / "data" / "tiny" / "references.json").read_text())["tasks"]["ctr"]
    assert 0.5 < kept["auc_lr"] < 0.9
    assert ctr["auc_lr"] == kept["auc_lr"]
    assert 0.3 < ctr["auc"] < 0.9
    assert (tmp_path / "plot.png").exists()
    lines = (tmp_path / "results.jsonl").read_text()
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out) == table
    assert (tmp_path / "results.jsonl").read_text() == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["defaults", "--config", "my.toml"], "--config my.toml: defaults has its own sets"),
        (["census", "--table"], "--table: 'census' does not have it; leave it out"),
        (["census", "--public", "x"], "--public: 'census' does not have it; leave it out"),
        (["defaults", "--only", "sim-30"], "--only sim-30: is not a setting of this experiment"),
    ],
)
def test_what_the_user_can_fix(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(ROOT)
    assert cli.main(["experiment", *arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_too_few_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = replace(SETS["adult-1600"], lines=10**6)
    if found.missing(tmp_path):
        pytest.skip(found.missing(tmp_path))
    with pytest.raises(FunnelError, match=r"adult.data.gz: has 32561 lines, fewer than 1000000"):
        found.make(tmp_path, tmp_path)

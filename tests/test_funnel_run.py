"""The whole way on a small simulation: every stage, what is skipped the next time, and what each
leaves behind.
"""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from funnel.cli.main import main
from funnel.console import text
from model.evaluation.constants import no_better

CONFIG = """
run = "{folder}/run"

[simulate]
out = "{folder}/logs"
impressions = 6000
users = 300
items = 100
days = 4
cvr = 0.3

[logs]
impressions = {{ files = "{folder}/logs/impressions/*/*", id = "impression_id", time = "ts" }}
clicks = {{ files = "{folder}/logs/clicks/*/*", id = "impression_id", time = "ts" }}
conversions = {{ files = "{folder}/logs/conversions/*/*", id = "impression_id", time = "ts" }}

[labels]
click = {{ event = "clicks", within = "30m" }}
convert = {{ event = "conversions", within = "1d", after = "click" }}

[features]
user_id = {{ kind = "categorical", buckets = 500, dim = 4 }}
item_id = {{ kind = "categorical", buckets = 200, dim = 4, dtype = "int64" }}
tags = {{ kind = "categorical", buckets = 50, dim = 4, max_length = 3 }}
price = {{ kind = "numeric", transform = "log1p" }}
user_x_item = {{ kind = "cross", of = ["user_segment", "item_id"], buckets = 500, dim = 4 }}

[split]
eval = {{ last = "1d" }}

[tasks]
ctr = {{ label = "click", threshold = 0.2 }}
cvr = {{ label = "convert", given = "click" }}

[model]
sharing = {{ name = "ple", expert_units = [8] }}
funnel = {{ name = "esmm", tower_units = [4] }}

[train]
batch_size = 256
log_every = 5

[evaluation]
truth = "{folder}/logs/truth.parquet"
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.toml").write_text(CONFIG.format(folder=folder))
    assert main(["run", str(folder / "small.toml"), "--debug"]) == 0
    return folder


def summary(folder):
    return json.loads((folder / "run" / "summary.json").read_text())


def test_summary_accounts_for_every_row(done):
    rows, simulated = (
        summary(done)["rows"],
        json.loads((done / "logs" / "simulation.json").read_text())["impressions"],
    )
    assert rows["impressions_read"] == simulated["rows"]
    assert rows["impressions_read"] == sum(
        rows[k] for k in ("examples_written", "rejected", "dropped_immature", "sampled_out")
    )
    assert rows["duplicates"] == simulated["duplicates"]
    assert rows["rejected"] == simulated["duplicates"] + simulated["malformed"]


def test_summary_holds_metrics_parity_and_seconds(done):
    result = summary(done)
    keys = {"auc", "logloss", "calibration", "precision", "recall", "accuracy", "rows", "threshold"}
    keys |= {"constant", "constant_logloss"}
    assert {task: set(metrics) for task, metrics in result["evaluation"].items()} == {
        "ctr": keys,
        "cvr": keys | {"auc_entire_space"},
        "ctcvr": keys,
    }
    statistics = json.loads((done / "run" / "data" / "statistics.json").read_text())
    clicked = statistics["labels"]["eval"]["click"]["positive"]
    assert result["evaluation"]["cvr"]["rows"] == clicked
    assert (
        result["evaluation"]["ctr"]["rows"]
        == result["evaluation"]["ctcvr"]["rows"]
        == statistics["rows"]["eval"]
    )
    assert result["parity"]["max_abs_difference"] <= 1e-5
    assert result["export"]["outputs"] == ["p_ctcvr", "p_ctr", "p_cvr"]
    assert set(result["seconds"]) == {
        "simulate",
        "preprocess",
        "train",
        "evaluate",
        "export",
        "report",
    }


def test_resolved_configuration_reloads_to_itself(done):
    from funnel.config.config import load

    resolved = load(done / "run" / "config.toml").resolved()
    given = load(done / "small.toml").resolved()
    assert resolved == given | {"train": given["train"] | {"epochs": 2.0}}  # what suits the rows


@pytest.mark.parametrize(
    "file", ["small.toml", "run/config.toml"], ids=["as it was", "with every default written out"]
)
def test_what_has_not_changed_is_skipped(done, capsys, file):
    assert main(["run", str(done / file)]) == 0
    assert [
        line.split()[1] for line in capsys.readouterr().out.splitlines() if "unchanged" in line
    ] == [
        "simulate",
        "preprocess",
        "train",
        "evaluate",
        "export",
        "report",
    ]


def test_a_new_process_says_nothing_of_its_libraries(done):
    command = [
        sys.executable,
        "-c",
        "from funnel.cli.main import program; program()",
        "run",
        str(done / "small.toml"),
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()[:6]] == ["·"] * 6


@pytest.mark.slow
def test_a_new_dimension_trains_again_without_preprocessing(done, capsys):
    before = (done / "run" / "data" / "manifest.json").stat().st_mtime_ns
    assert main(["run", str(done / "small.toml"), "--set", "features.user_id.dim=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "unchanged" in line] == ["simulate", "preprocess"]
    assert (done / "run" / "data" / "manifest.json").stat().st_mtime_ns == before
    assert len(list((done / "run" / "export").iterdir())) == 2
    assert main(["run", str(done / "small.toml")]) == 0  # back to what the other tests expect


def test_predict_scores_every_valid_row(done, capsys):
    output = done / "scores.parquet"
    inputs = str(done / "logs" / "impressions" / "2026-11-01" / "*")
    assert (
        main(["predict", str(done / "small.toml"), "--input", inputs, "--output", str(output)]) == 0
    )
    scores = pq.read_table(output)
    assert scores.column_names == ["id", "p_ctr", "p_cvr", "p_ctcvr"]
    read = sum(
        pq.read_metadata(p).num_rows
        for p in (done / "logs" / "impressions" / "2026-11-01").iterdir()
    )
    rejected = capsys.readouterr().out.count("not scored:")
    assert len(scores) + rejected == read
    product = scores["p_ctr"].to_numpy() * scores["p_cvr"].to_numpy()
    assert abs(product - scores["p_ctcvr"].to_numpy()).max() < 1e-6


def test_inspect_shows_rows_events_and_metrics(done, capsys):
    assert main(["inspect", str(done / "run")]) == 0
    shown = capsys.readouterr().out
    for expected in ("Impressions", "orphan", "Calendar", "price", "auc entire space"):
        assert expected in shown


def test_report_is_one_whole_file(done):
    page = (done / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # calibration, gates, losses
    assert 'src="http' not in page
    for task in ("ctr", "cvr", "ctcvr"):
        assert f"<td>{task}</td>" in page


def test_gates_are_in_the_summary(done):
    health = summary(done)["health"]
    assert set(health["gates"]) == {
        "level_0/ctr",
        "level_0/cvr",
        "level_0/_shared",
        "level_1/ctr",
        "level_1/cvr",
    }
    for gate in health["gates"].values():
        assert sum(gate["weights"].values()) == pytest.approx(1)
    assert json.loads((done / "run" / "model" / "health.json").read_text()) == health


def test_layers_and_embedding_rows_are_in_the_summary_and_the_report(done):
    health, page = summary(done)["health"], (done / "run" / "report.html").read_text()
    assert {"funnel/tower_ctr/layer_0", "funnel/tower_cvr/layer_0"} < set(health["layers"])
    for name, one in health["layers"].items():
        assert 0 <= one["dead"] <= one["zero"] <= 1  # of ReLU
        assert f"<td>{name}</td><td>{one['units']}</td><td>{100 * one['zero']:.1f} %</td>" in page
    for name, one in health["embeddings"].items():
        assert one["share"] == one["untouched"] / one["rows"]
        assert f"<td>{name}</td><td>{one['rows']:,}</td><td>{one['untouched']:,}</td>" in page


def test_a_warning_is_a_line_on_the_screen_and_in_the_report(done, monkeypatch, capsys):
    from model.evaluation import health

    line = "gate [level_0/ctr] gives expert_1 0.995 of its mass"
    monkeypatch.setattr(health, "gate_warnings", lambda gates: [line])
    for stage in ("evaluate", "report"):
        assert main([stage, str(done / "small.toml")]) == 0
    assert f"warning: {line}" in capsys.readouterr().out.splitlines()
    assert f'<p class="warning">{line}</p>' in (done / "run" / "report.html").read_text()


def test_constants_are_in_the_manifest_the_tables_and_the_report(done, capsys):
    evaluation = summary(done)["evaluation"]
    path = Path(summary(done)["export"]["path"]) / "assets.extra/manifest.json"
    manifest = json.loads(path.read_text())
    entire = {"auc_entire_space"}  # measured against a simulation's truth alone
    assert manifest["evaluation"] == {
        task: {key: own[key] for key in own if key not in entire}
        for task, own in evaluation.items()
    }
    assert manifest["warnings"] == summary(done)["evaluation_warnings"] == no_better(evaluation)
    page = (done / "run" / "report.html").read_text()
    assert "<th>log loss</th><th>log loss of the constant</th>" in page
    assert f"<td>{text(evaluation['ctr']['constant_logloss'])}</td>" in page
    for path in (done / "run", done / "run" / "export"):
        assert main(["inspect", str(path)]) == 0
        shown = capsys.readouterr().out
        assert "constant logloss" in shown
        assert text(evaluation["ctr"]["constant_logloss"]) in shown


def test_a_model_worse_than_a_constant_is_warned_of_everywhere(done, monkeypatch, capsys):
    def perfect(constant, label, metric):
        return {"constant": constant, f"constant_{metric}": 0.0}

    with monkeypatch.context() as patch:
        patch.setattr("model.evaluation.metrics.measure_constant", perfect)
        for stage in ("evaluate", "export", "report"):
            assert main([stage, str(done / "small.toml")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "not better" in line]
    page = (done / "run" / "report.html").read_text()
    for stage in ("evaluate", "export", "report"):  # what the other tests expect
        assert main([stage, str(done / "small.toml")]) == 0
    assert all(line.startswith("warning: '") for line in lines)
    assert [line.split("'")[1] for line in lines] == ["ctr", "cvr", "ctcvr"] * 2  # export repeats
    for task in ("ctr", "cvr", "ctcvr"):
        assert f'<p class="warning">&#39;{task}&#39; is not better than a constant: ' in page


def test_a_warning_about_the_data_is_in_the_report(done, tmp_path):
    from funnel.reports.report import write_report

    line = "labels.click: no row of the training split is positive"
    data = done / "run" / "data"
    manifest = json.loads((data / "manifest.json").read_text()) | {"warnings": [line]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "statistics.json").write_bytes((data / "statistics.json").read_bytes())
    page = write_report(done / "run", tmp_path).read_text()
    write_report(done / "run", data)  # what the other tests expect
    assert f'<p class="warning">{line}</p>' in page


@pytest.fixture(scope="module")
def numbers(done):
    """The same logs, with a task on a number; each stage but the simulation."""
    config = (
        (done / "small.toml")
        .read_text()
        .replace(f'run = "{done}/run"', f'run = "{done}/numbers/run"')
    )
    config = config.replace("esmm", "independent").replace("ple", "mmoe")
    spent = (
        'spent = { event = "conversions", within = "1d", after = "click", value = "value", '
        'transform = "log1p" }'
    )
    config = config.replace("\n[features]", f"{spent}\n\n[features]")
    config = config.replace(
        "\n[model]", 'spent = { label = "spent", given = "click", loss = "huber" }\n\n[model]'
    )
    (done / "numbers").mkdir()
    (done / "numbers" / "numbers.toml").write_text(config)
    for stage in ("preprocess", "train", "evaluate", "export", "report"):
        assert main([stage, str(done / "numbers" / "numbers.toml"), "--debug"]) == 0
    return done / "numbers"


@pytest.mark.slow
def test_a_task_on_a_number_goes_the_whole_way(numbers, capsys):
    result = summary(numbers)
    measured = {"mse", "mae", "calibration", "rows", "constant", "constant_mse"}
    assert set(result["evaluation"]["spent"]) == measured
    assert result["evaluation"]["spent"]["rows"] == result["evaluation"]["cvr"]["rows"]
    assert "auc_entire_space" in result["evaluation"]["cvr"]
    assert result["export"]["outputs"] == ["p_ctcvr", "p_ctr", "p_cvr", "y_spent"]
    assert result["parity"]["max_abs_difference"] <= 1e-5
    page = (numbers / "run" / "report.html").read_text()
    assert "<th>squared error</th>" in page
    assert "<td>spent</td>" in page
    assert main(["inspect", str(numbers / "run")]) == 0
    assert "mse" in capsys.readouterr().out


@pytest.mark.slow
def test_a_number_is_scored_offline_too(numbers):
    output = numbers / "scores.parquet"
    inputs = str(numbers.parent / "logs" / "impressions" / "2026-11-01" / "*")
    assert (
        main(["predict", str(numbers / "numbers.toml"), "--input", inputs, "--output", str(output)])
        == 0
    )
    assert pq.read_table(output).column_names == ["id", "p_ctr", "p_cvr", "p_ctcvr", "y_spent"]


@pytest.mark.parametrize(
    ("results", "line"),
    [
        (
            {"ctr": {"auc": 0.7}, "cvr": {"auc": None}, "dwell": {"mse": 1.5}},
            "AUC ctr 0.7, cvr –; mse dwell 1.5",
        ),
        ({"dwell": {"mse": 1.5}}, "mse dwell 1.5"),
        (
            {
                "ctr": {"auc": 0.7, "logloss": 0.25, "constant_logloss": 0.5},
                "dwell": {"mse": 1.5, "constant_mse": 2.0},
            },
            "AUC ctr 0.7; log loss ctr 0.25 (constant 0.5); mse dwell 1.5 (constant 2)",
        ),
    ],
)
def test_the_line_of_an_evaluation(results, line):
    from funnel.stages.evaluate import describe

    assert describe(results) == line


@pytest.mark.slow
def test_training_goes_on_after_an_interruption(done, monkeypatch, capsys):
    from model.estimator.callbacks import MetricsLog

    real = MetricsLog.__call__

    def interrupted(log, progress):
        real(log, progress)
        if progress.step == 10:
            raise KeyboardInterrupt

    config, changed = (
        str(done / "small.toml"),
        ["--set", "train.checkpoint_every=5", "--set", "train.seed=2"],
    )
    monkeypatch.setattr(MetricsLog, "__call__", interrupted)
    assert main(["run", config, *changed]) == 130
    assert (done / "run" / "model" / "checkpoints" / "ckpt-5.index").exists()
    monkeypatch.setattr(MetricsLog, "__call__", real)
    assert main(["run", config, *changed]) == 0
    steps = [
        json.loads(line)
        for line in (done / "run" / "model" / "metrics.jsonl").read_text().splitlines()
    ]
    seen = [line["step"] for line in steps if "step" in line]
    assert seen == sorted(
        set(seen)
    )  # step 10, logged before the interruption but after the checkpoint, is not there twice
    assert seen[:2] == [5, 10]


def test_predict_and_export_need_the_model_directory_alone(done, tmp_path, capsys):
    """They give the same as with the preprocessed data, which is gone here."""
    shutil.copytree(done / "run" / "model", tmp_path / "run" / "model")
    arguments = [str(done / "small.toml"), "--set", f"run={tmp_path}/run"]
    inputs = str(done / "logs" / "impressions" / "2026-11-01" / "*")
    scores = []
    for folder, more in (("with", []), ("without", arguments[1:])):
        output = tmp_path / f"{folder}.parquet"
        command = ["predict", arguments[0], *more, "--input", inputs, "--output", str(output)]
        assert main(command) == 0
        scores.append(pq.read_table(output))
    assert scores[0].equals(scores[1])
    assert main(["export", *arguments]) == 0
    assert summary(tmp_path)["parity"]["max_abs_difference"] <= 1e-5
    assert not (tmp_path / "run" / "data").exists()
    (tmp_path / "run" / "model" / "sample.parquet").unlink()
    assert main(["export", *arguments]) == 2
    assert "sample.parquet: is missing" in capsys.readouterr().err


def test_predict_and_export_before_any_training(done, tmp_path, capsys):
    for command in ("predict", "export"):
        assert main([command, str(done / "small.toml"), "--set", f"run={tmp_path}/run"]) == 2
        assert "holds no checkpoint; run `funnel train` first" in capsys.readouterr().err


@pytest.mark.slow
def test_bars_of_an_evaluation_and_an_export_reach_their_ends(done, monkeypatch):
    from funnel.cli import terminal

    seen = {}

    @contextmanager
    def bar(title, unit):
        seen[title] = []
        yield lambda done, of: seen[title].append((done, of))

    monkeypatch.setattr(terminal, "progress_bar", bar)
    for command in ("evaluate", "export"):
        assert main([command, str(done / "small.toml")]) == 0
    rows = 2 * summary(done)["evaluation"]["ctr"]["rows"]
    for title, end in (("evaluating", rows), ("exporting", 8)):
        counts = [count for count, _ in seen[title]]
        assert counts == sorted(set(counts))
        assert seen[title][-1] == (end, end)


def test_json_of_every_stage_and_of_the_run(done, capsys):
    config = str(done / "small.toml")
    capsys.readouterr()
    for command, keys in (("report", {"report"}), ("train", {"training"})):
        assert main([command, config, "--json", "--quiet"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown.keys() == {"run", "stage", "seconds"} | keys
        assert shown["stage"] == command
    assert main(["run", config, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(done / "run")} | summary(done)

"""Paths of a configuration and of the command line: ~ and variables are replaced, everywhere."""

import os
from pathlib import Path

import pytest
from pipeline_logs import write_logs
from test_funnel_cli import END, GOOD, TOML, fails, run

import funnel
from features.errors import FunnelError
from features.files import expand_path
from funnel.cli.arguments import parser


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """$HOME, and the current directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DAY", "2026-11-01")
    monkeypatch.delenv("ABSENT", raising=False)
    monkeypatch.chdir(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("runs/my", "runs/my"),
        ("~/runs", "{home}/runs"),
        ("~", "{home}"),
        ("$HOME/runs/${DAY}.csv", "{home}/runs/2026-11-01.csv"),
        ("s3://logs/$DAY/part-*", "s3://logs/2026-11-01/part-*"),
        ("./~/runs", "./~/runs"),
        ("backup~/a$1.csv", "backup~/a$1.csv"),
        ("price-in-$", "price-in-$"),
        ("", ""),
    ],
)
def test_what_is_replaced(home, text, path):
    assert expand_path(text) == path.format(home=home)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ABSENT/runs", "$ABSENT is not a variable of the environment: set it"),
        ("runs/${ABSENT}", "${ABSENT} is not a variable of the environment: set it"),
        ("~nobody-here/x", "~nobody-here is not the home directory of a user; of a file, give ./~"),
    ],
)
def test_what_nothing_replaces_is_an_error(text, message):
    with pytest.raises(FunnelError) as raised:
        expand_path(text)
    assert str(raised.value).startswith(message)


SECTIONS = {
    "run": "~/run",
    "data": "~/data",
    "logs": {
        "impressions": {
            "files": ["~/imp.csv", "$HOME/more/*.csv"],
            "id": "id",
            "time": "ts",
            "common": "~/common.csv",
            "format": "csv",
            "lookups": {"items": {"files": "~/items.csv", "key": "item"}},
        },
        "clicks": {"files": "~/clk.csv", "id": "id", "time": "ts"},
    },
    "labels": {"click": {"event": "clicks", "within": "30m"}},
    "features": {"user": {"kind": "categorical", "vocabulary": "~/users.txt"}},
    "split": {"eval": {"files": "~/eval.csv"}},
    "tasks": {"ctr": {"label": "click"}},
    "warm_start": {"run": "~/before"},
    "evaluation": {"truth": "~/truth.parquet"},
    "simulate": {"out": "~/logs"},
}


def test_every_path_of_a_configuration(home):
    config = funnel.load_config(SECTIONS)
    sections = config.sections
    from pipeline.config import Stream
    from pipeline.labeling.config import Split

    rows = Stream.parse(sections.logs["impressions"])
    assert config.run == Path(home, "run")
    assert config.source == f"{home}/data"
    assert config.logs == Path(home, "logs")
    assert rows.files == [f"{home}/imp.csv", f"{home}/more/*.csv"]
    assert rows.common == f"{home}/common.csv"
    assert rows.lookups["items"].files == f"{home}/items.csv"
    assert Split.parse(sections.split).eval.files == f"{home}/eval.csv"
    assert config.spec.vocabularies["user"].file == f"{home}/users.txt"
    assert config.warm_start.run == f"{home}/before"
    assert config.evaluation.truth == f"{home}/truth.parquet"


ARGUMENTS = {
    "init ~/a.csv clicks=~/b.csv --output=~/my.toml --eval=~/e.csv --columns=~/c.txt": {
        "logs": ["{home}/a.csv", "clicks={home}/b.csv"],
        "output": "{home}/my.toml",
        "eval": "{home}/e.csv",
        "columns": "{home}/c.txt",
    },
    "train ~/my.toml": {"config": "{home}/my.toml"},
    "inspect ~/run": {"path": "{home}/run"},
    "predict my.toml --input ~/a.csv $HOME/b.csv --output=~/p.parquet": {
        "input": ["{home}/a.csv", "{home}/b.csv"],
        "output": "{home}/p.parquet",
    },
    "experiment census --out=~/out --config=~/c.toml": {
        "out": "{home}/out",
        "config": "{home}/c.toml",
    },
    "experiment defaults --public=~/public": {"public": "{home}/public"},
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_path_of_the_command_line(home, command):
    options = vars(parser().parse(command.split()))
    for name, expected in ARGUMENTS[command].items():
        found = options[name]
        shown = found if isinstance(found, list) else str(found)
        filled = [e.format(home=home) for e in expected] if isinstance(expected, list) else expected
        assert shown == (filled if isinstance(filled, list) else filled.format(home=home))


def test_a_job_writes_where_the_home_directory_is(home, capsys, monkeypatch):
    write_logs(Path(home), GOOD, [END])
    text = TOML.replace('run = "run"', 'run = "~/out"').replace(
        '"clicks.jsonl', '"$HOME/clicks.jsonl'
    )
    Path("my.toml").write_text(text)
    elsewhere = Path(home, "elsewhere")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    files = "logs.impressions.files=~/impressions*.jsonl"
    code, out, err = run(capsys, "preprocess", "~/my.toml", "--set", files)
    assert (code, err) == (0, "")
    assert f"→ {home}/out/data" in out
    assert os.listdir(elsewhere) == []
    assert funnel.Dataset("~/out/data").rows == {"train": 11, "eval": 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("run", '"$ABSENT/run"'), "run = '$ABSENT/run': $ABSENT is not a variable of the env"),
        (
            ("logs.clicks.files", '["a.csv", "~nobody-here/b.csv"]'),
            "logs.clicks.files = ['a.csv', '~nobody-here/b.csv']: ~nobody-here is not the home",
        ),
        (("simulate.out", '"$ABSENT"'), "simulate.out = '$ABSENT': $ABSENT is not a variable of"),
    ],
)
def test_a_mistake_is_an_error_before_any_work(home, capsys, change, message):
    write_logs(Path(home), GOOD, [END])
    Path("my.toml").write_text(TOML)
    before = sorted(os.listdir(home))
    err = fails(capsys, message, "preprocess", "my.toml", "--set", "=".join(change))
    assert err.count("\n") == 1
    assert sorted(os.listdir(home)) == before


def test_a_mistake_of_the_command_line_is_one_line(capsys):
    err = fails(capsys, "error: argument path: $ABSENT is not a variable", "inspect", "$ABSENT/run")
    assert err.count("\n") == 1


def test_a_linked_run_directory_is_written_through(home, capsys):
    write_logs(Path(home), GOOD, [END])
    Path("my.toml").write_text(TOML)
    Path("run").symlink_to(Path(home, "disk", "run"))  # which is absent
    for _ in range(2):
        assert run(capsys, "preprocess", "my.toml")[0] == 0
    assert Path("run").is_symlink()
    assert sorted(os.listdir("disk/run")) == [".stages.json", "data", "summary.json"]


@pytest.mark.parametrize(("name", "target"), [("run", "run"), ("run/data", "data")])
def test_a_link_to_itself_is_refused(home, capsys, name, target):
    write_logs(Path(home), GOOD, [END])
    Path("my.toml").write_text(TOML)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).symlink_to(target)
    err = fails(capsys, f"{name}: is a link that leads back to itself", "preprocess", "my.toml")
    assert err.count("\n") == 1

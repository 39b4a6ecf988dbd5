"""The command: exit codes, one clear error on stderr, help with examples, and what is passed on to
Beam.
"""

import json
from pathlib import Path

import pytest
from pipeline_logs import write_logs

from funnel.cli import main as cli
from funnel.cli.arguments import COMMANDS, overrides, parser
from funnel.config import config
from pipeline.config import Dates

T0 = 1_790_000_000
GOOD = [{"id": str(i), "ts": T0, "user": "u"} for i in range(20)]
END = {"id": "nobody", "ts": T0 + 1860}  # after the longest window
TOML = """
run = "run"

[logs]
impressions = { files = "impressions*.jsonl", id = "id", time = "ts" }
clicks = { files = "clicks.jsonl", id = "id", time = "ts" }

[labels]
click = { event = "clicks", within = "30m" }

[features]
user = { kind = "categorical", buckets = 100 }

[split]
eval = { fraction = 0.5 }

[tasks]
ctr = { label = "click" }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty directory with logs and my.toml, as the current one."""
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


def run(capsys, *arguments):
    """(exit code, stdout, stderr); argparse's own exits count as exit codes."""
    try:
        code = cli.main(list(arguments))
    except SystemExit as exit_:
        code = exit_.code
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def fails(capsys, message, *arguments, code=2):
    got, _, err = run(capsys, *arguments)
    assert got == code, err
    assert message in err
    assert "Traceback" not in err
    return err


def test_preprocess_and_inspect(folder, capsys):
    code, out, err = run(capsys, "preprocess", "my.toml")
    assert (code, err) == (0, "")
    assert "20 examples of 20 impressions → run/data" in out
    assert (
        json.loads((folder / "run" / "summary.json").read_text())["rows"]["examples_written"] == 20
    )
    code, out, err = run(capsys, "inspect", "run")
    assert (code, err) == (0, "")
    assert "Impressions" in out
    assert "clicks" in out


def test_simulate_and_preprocess(capsys):
    assert run(capsys, "simulate", "my.toml")[0] == 2
    sizes = [
        "--set",
        "simulate.impressions=500",
        "--set",
        "simulate.days=2",
        "--set",
        "simulate.out=logs",
    ]
    code, out, _ = run(capsys, "simulate", "my.toml", *sizes)
    assert code == 0
    assert "impressions" in out
    logs = [
        f"logs.{s}={{files='logs/{s}/*/*', id='impression_id', time='ts'}}"
        for s in ("impressions", "clicks")
    ]
    changes = [*logs, "features.user.column=user_id", "output.max_rejects=1.0"]
    code, out, err = run(
        capsys, "preprocess", "my.toml", *(part for change in changes for part in ("--set", change))
    )
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["preprocess", "none.toml"],
            "none.toml: cannot be read (No such file or directory); `funnel init` writes one",
        ),
        (
            ["preprocess", "my.toml", "--set", "logs.clicks.mising=[]"],
            "logs.clicks: unknown key 'mising': did you mean 'missing'?",
        ),
        (
            ["preprocess", "my.toml", "--set", "outptu.shards=2"],
            "unknown key 'outptu': did you mean 'output'?",
        ),
        (
            ["preprocess", "my.toml", "--set", "output"],
            "--set output: must be section.key=value, as in train.steps=1000",
        ),
        (
            ["preprocess", "my.toml", "--set", "logs.clicks.files=no.csv"],
            "logs.clicks.files = 'no.csv': no file matches",
        ),
        (
            ["preprocess", "my.toml", "--set", "features.user.column=usr"],
            "impressions.jsonl: has no column 'usr': did you mean 'user'?",
        ),
        (["simulate", "my.toml"], "the configuration has no [simulate] section"),
        (
            ["simulate", "my.toml", "--set", "simulate.userz=5"],
            "simulate: unknown key 'userz': did you mean 'users'?",
        ),
        (
            ["inspect", "nowhere"],
            "nowhere: there is no such file or directory; give a run's directory, as in runs/demo",
        ),
        (
            ["inspect", "my.toml", "--", "--runner=x"],
            "arguments after -- go to Beam, which `inspect` does not use",
        ),
        (["preproces", "my.toml"], "invalid choice: 'preproces'"),
        (["preprocess"], "the following arguments are required: config"),
        (["preprocess", "my.toml", "--frce"], "unrecognized arguments: --frce"),
        ([], "the following arguments are required: command"),
    ],
)
def test_what_the_user_can_fix(folder, capsys, arguments, message):
    fails(capsys, message, *arguments)
    assert not (folder / "run" / "data").exists()


def test_a_file_that_is_not_toml(folder, capsys):
    (folder / "my.toml").write_text("[logs")
    fails(capsys, "my.toml: is not TOML: ", "preprocess", "my.toml")


def test_an_unknown_section(folder, capsys):
    (folder / "my.toml").write_text(TOML.replace("[split]", "[splits]"))
    fails(capsys, "unknown key 'splits': did you mean 'split'?", "preprocess", "my.toml")


def test_debug_shows_the_traceback(capsys):
    for arguments in (
        ["--debug", "preprocess", "none.toml"],
        ["preprocess", "none.toml", "--debug"],
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert "Traceback" in err
        assert "none.toml: cannot be read" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_an_example(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"example: funnel {command} " in " ".join(out.split())
    assert f"  {command}" in run(capsys, "--help")[1]


def test_errors_of_beams_workers_come_bare(folder, capsys):
    # Of files with a header only the first is looked at before the job starts.
    (folder / "impressions-2.csv").write_text(f"id,ts\nb,{T0}\n")
    files = 'logs.impressions.files=["impressions*.jsonl", "impressions-2.csv"]'
    message = "impressions-2.csv: has no column 'user': known: id, ts"
    err = fails(capsys, message, "preprocess", "my.toml", "--set", files)
    assert err == f"error: {message}\n"
    assert [p.name for p in (folder / "run").iterdir() if "data" in p.name] == []


def test_arguments_for_beam(folder, capsys):
    beam = ["--direct_num_workers=2", "--direct_running_mode=in_memory"]
    code, _, err = run(capsys, "preprocess", "my.toml", "--", *beam)
    assert (code, err) == (0, "")
    (folder / "run" / "data" / "kept").touch()
    fails(
        capsys,
        "--direct_num_wrkers is not an option of Beam: did you mean 'direct_num_workers'?",
        "preprocess",
        "my.toml",
        "--",
        "--direct_num_wrkers=2",
    )
    err = fails(
        capsys, "NoSuchRunner", "preprocess", "my.toml", "--", "--runner=NoSuchRunner", code=1
    )
    assert "(--debug shows the traceback)" in err
    assert (folder / "run" / "data" / "kept").exists()
    assert [p.name for p in (folder / "run").iterdir() if "data" in p.name] == ["data"]


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["--dates", "2026-11-07"], "dates", "2026-11-07"),
        (["--warm-start", "2026-11-07"], "warm_start", {"run": "2026-11-07"}),
        (["--warm-start", 'runs/"é"\\1'], "warm_start", {"run": 'runs/"é"\\1'}),
        (["--refresh-statistics"], "warm_start", {"refresh_statistics": True}),
        (["--set", "run=2026-11-08"], "run", "2026-11-08"),
    ],
)
def test_flags_are_texts(arguments, key, value):
    loaded = config.load(
        Path("my.toml"), overrides(parser().parse_args(["run", "my.toml", *arguments]))
    )
    assert getattr(loaded.sections, key) == value


def test_a_single_day(folder):
    assert str(config.load(folder / "my.toml", ["dates=2026-11-07"]).preprocess.dates) == str(
        Dates.parse("2026-11-07")
    )

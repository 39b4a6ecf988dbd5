"""What the command prints: where lines and JSON go, in which characters, at which width, and what
is imported before the first of them.
"""

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from pipeline_logs import write_logs
from rich.console import Console
from test_funnel_cli import END, GOOD, TOML, run

from funnel import console as screen
from funnel.cli import streams
from funnel.console import Lines, progress_bar, table
from funnel.layout import blocks

HEAVY = ("apache_beam", "keras", "numpy", "pyarrow", "pydantic", "rich", "tensorflow")
FUNNEL = [sys.executable, "-m", "funnel"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current directory: logs and my.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    write_logs(tmp_path, GOOD, [END])
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path


def on_a_terminal(command, columns=80, **env):
    """What a command prints on a terminal of so many columns."""
    ours, its = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment | {"TERM": "xterm", "COLUMNS": str(columns)} | env,
    )
    os.close(its)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # Linux' end of a terminal
        pass
    os.close(ours)
    return process.wait(), shown.decode()


def test_json_alone_goes_to_stdout(capsys):
    code, out, err = run(capsys, "preprocess", "my.toml", "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["run"], document["stage"]) == ("run", "preprocess")
    assert document["rows"]["examples_written"] == 20
    lines = err.splitlines()
    assert (lines[0], lines[1][:19]) == ("· reading my.toml", "· logs.impressions:")
    assert (lines[2][-20:], lines[3][:12]) == (" bytes, clicks.jsonl", "✓ preprocess")


def test_quiet_prints_errors_alone(capsys):
    assert run(capsys, "preprocess", "my.toml", "--quiet") == (0, "", "")
    code, out, err = run(capsys, "preprocess", "none.toml", "--quiet")
    assert (code, out) == (2, "")
    assert err.startswith("error: none.toml: cannot be read")


def test_quiet_with_json_prints_json_alone(capsys):
    code, out, err = run(capsys, "preprocess", "my.toml", "--quiet", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["seconds"] > 0


def test_json_of_an_error_is_nothing(capsys):
    code, out, err = run(capsys, "preprocess", "my.toml", "--json", "--set", "logs.clicks.id=x")
    assert (code, out) == (2, "")
    assert "has no column 'x'" in err


BEFORE = """
import sys
from funnel.cli import main
real = main.emit

def first(text):
    heavy = sorted(set(%r) & set(sys.modules))
    real(f"{text} {heavy}")
    sys.exit(0)

main.emit = first
main.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        *((f"{name} my.toml", "· reading my.toml []") for name in ("run", "train", "predict")),
        ("inspect runs/demo", "· reading runs/demo []"),
        ("experiment census", "· preparing census []"),
    ],
)
def test_the_first_line_waits_for_no_import(arguments, line):
    command = [sys.executable, "-c", BEFORE % (HEAVY,), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == line + "\n"


MODULES = """
import sys
from funnel.cli import main
try:
    code = main.main(sys.argv[1:])
except SystemExit as exit_:
    code = exit_.code
print("modules", code, sorted(set(%r) & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments):
    command = [sys.executable, "-c", MODULES % (HEAVY,), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "modules 0 []"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("simulate.userz=1", "simulate: unknown key 'userz'"),
        ("logs.clicks.idd=x", "logs.clicks: unknown key 'idd'"),
        ("labels.click.within=3", "labels.click.within = 3: must be a whole number and a unit"),
        ("features.user.kind=numbr", "features.user: kind = 'numbr' is unknown"),
        ("split.eval.last=0.5", "split.eval.last"),
        ("sampling.negativs=1", "sampling: unknown key 'negativs'"),
        ("output.shrds=1", "output: unknown key 'shrds'"),
        ("tasks.ctr.label=clik", "tasks.ctr"),
        ("evaluation.evry=1", "evaluation: unknown key 'evry'"),
        ("exporters.best.keep=0", "exporters.best"),
        ("warm_start.rn=x", "warm_start: unknown key 'rn'"),
        ("dates=yesterday", "dates"),
    ],
)
def test_every_section_is_checked_before_a_training(capsys, change, message):
    code, _, err = run(capsys, "train", "my.toml", "--set", change)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("name", ["[red]", "[/b]", "a[b]c"])
def test_a_path_is_shown_as_it_is(capsys, name):
    code, out, err = run(capsys, "preprocess", "my.toml", "--set", f"run={name}/run")
    assert (code, err) == (0, "")
    assert out.splitlines()[3].endswith(f"→ {name}/run/data")


def test_a_byte_order_mark_is_skipped(folder, capsys):
    (folder / "bom.toml").write_text(TOML, encoding="utf-8-sig")
    assert run(capsys, "preprocess", "bom.toml")[0] == 0


def test_characters_that_a_screen_lacks(folder):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C"}
    command = [*FUNNEL, "simulate", "my.toml", "--set", "simulate.impressions=100"]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("ascii").splitlines()
    assert lines[0] == "- reading my.toml"
    assert lines[1].startswith("ok simulate")
    assert lines[1].endswith("-> run/logs")


@pytest.mark.parametrize("encoding", [None, "latin-1"])
def test_files_are_utf8_in_every_locale(folder, encoding):
    (folder / "my.toml").write_text("# Ünï → code\n" + TOML, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONIOENCODING"}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env |= {"PYTHONIOENCODING": encoding} if encoding else {}
    command = [*FUNNEL, "simulate", "my.toml", "--set", "simulate.impressions=100"]
    done = subprocess.run([*command, "--set", "run=né"], capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    end = "-> né/logs" if encoding else "-> n?/logs"
    assert done.stdout.decode(encoding or "ascii").splitlines()[1].endswith(end)
    assert (folder / "né" / "logs").is_dir()


def test_help_in_ascii():
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*FUNNEL, "--help"], capture_output=True, env=env, check=True)
    assert b"preprocess  logs -> TFRecords" in done.stdout


def test_a_reader_that_has_enough():
    """The first line fills no pipe: its reader is gone before it is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*FUNNEL, "completion", "bash"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


COLORED = """
from funnel.console import console, table
from funnel.cli.terminal import Terminal
from funnel.listener import reporting_to
from funnel.stages.stage import inform, warn
with reporting_to(Terminal()):
    warn("look")
    inform("note")
table("Rows", ["name", "n"], [["a", 1]])
"""


@pytest.mark.parametrize(
    ("env", "has"),
    [
        ({}, "\x1b[33mwarning:\x1b[0m look"),
        ({"NO_COLOR": "1"}, "warning: look"),
        ({"TERM": "dumb"}, "warning: look"),
    ],
)
def test_colors_on_a_terminal(env, has):
    code, shown = on_a_terminal([sys.executable, "-c", COLORED], **env)
    assert code == 0
    assert has in shown
    assert ("\x1b[33m" in shown) == (env == {})
    assert "│ a    │ 1 │" in re.sub("\x1b\\[[0-9;]*m", "", shown)


def test_no_terminal_no_escapes():
    command = [sys.executable, "-c", COLORED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert "warning: look\n· note\nRows\n" in done.stdout


NUMBERS = [f"metric_{n}" for n in range(12)]


def shown_at(width, monkeypatch, *, terminal=True):
    """A table of twelve numbers at a width."""
    drawn = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, soft_wrap=True
    )
    monkeypatch.setattr(screen, "console", drawn)
    table("Numbers of all tasks", ["task", *NUMBERS], [["ctr", *[0.123456] * 12]])
    return drawn.file.getvalue().splitlines()


def test_a_table_at_80_columns_keeps_its_numbers_whole(monkeypatch):
    lines = shown_at(80, monkeypatch)
    assert max(map(len, lines)) <= 80
    assert sum(line.count("0.1235") for line in lines) == 12
    assert sum(line.startswith("│ ctr") for line in lines) == 2  # the name is in every block
    assert all(name in "".join(lines) for name in NUMBERS)


def test_a_table_away_from_a_terminal_is_as_wide_as_it_needs(monkeypatch):
    lines = shown_at(80, monkeypatch, terminal=False)
    (row,) = (line for line in lines if "ctr" in line)
    assert row.count("0.1235") == 12
    assert len(row) > 80


def test_headers_wrap_before_columns_are_moved():
    rows = [["user", "1,000"]]
    assert blocks(["feature", "values that share theirs"], rows, 40) == [[(0, 7), (1, 24)]]
    assert blocks(["feature", "values that share theirs"], rows, 30) == [[(0, 7), (1, 6)]]


def test_a_text_wider_than_the_screen_wraps():
    ((first, second),) = blocks(["name", "path"], [["n" * 50, "/a" * 50]], 40)
    assert (first, second) == ((0, 20), (1, 13))


def test_a_bar_has_rate_and_time_left():
    drawn = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with progress_bar("evaluating", "rows", drawn) as progress:
        for done in range(0, 1001, 500):
            progress(done, 1000)
    shown = drawn.file.getvalue()
    assert "evaluating" in shown
    assert "1000/1000" in shown
    assert re.search(r"[\d,]+ rows/s", shown)
    assert re.search(r"0:00:00 0:00:00", shown)  # elapsed, left
    assert max(len(line) for line in re.sub("\x1b\\[[0-9?;]*[a-zA-Z]", "", shown).split("\r")) <= 81


@pytest.mark.parametrize("options", [{"force_terminal": False}, {"force_terminal": True}])
def test_lines_where_nothing_can_be_drawn_over(monkeypatch, options):
    now = [100.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "dumb")
    drawn = Console(file=io.StringIO(), width=80, **options)
    with progress_bar("scoring", "rows", drawn) as progress:
        for now[0], done in ((110.0, 1000), (130.0, 3000), (140.0, 4000), (160.0, 6000)):
            progress(done, 12000)
    assert drawn.file.getvalue().splitlines() == [
        "· scoring: 3,000 of 12,000 rows, 100 rows/s, 1:30 left",
        "· scoring: 6,000 of 12,000 rows, 100 rows/s, 1:00 left",
    ]


def test_no_line_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    drawn = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(screen, "EVERY", 0.0)
    Lines(drawn).show(lambda: "never")
    assert drawn.file.getvalue() == ""


def test_only_our_own_characters_have_a_substitute():
    assert "✓ · – − → … × ± ≈ • é".encode("ascii", errors="plain").decode() == (
        "ok - - - -> ... x +- ~ * ?"
    )
    assert set("✓·→") <= set(streams.PLAIN)

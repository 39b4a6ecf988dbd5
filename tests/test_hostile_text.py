"""Texts of logs, paths and configurations that act on a terminal: no command passes them on."""

import json
import re
import tomllib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from features.errors import UNSEEN, FunnelError, hide_credentials, one_line, printable
from features.files import expand_path
from funnel import console
from funnel.cli.main import main
from funnel.cli.streams import document, lines_to
from funnel.config.config import load
from funnel.init import toml
from funnel.reports.report import write_report
from pipeline.job import preprocess

EVIL = "e\x1b[31m\x1b]0;title\x07\x9b2J\u202eb[/red][bold]:bug:\u2028\x7fend"
SHOWN = r"e\x1b[31m\x1b]0;title\x07\x9b2J\u202eb[/red][bold]:bug:\u2028\x7fend"
# What no output may hold. Our own lines have no style where they are not on a terminal.
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def write(path, name="user", rows=60):
    """A log of JSON lines with hostile values, ids and a hostile column."""
    lines = [
        {"id": f"{EVIL}{n}", "ts": 1_790_000_000 + 60 * n, name: f"{EVIL}{n % 3}", EVIL: n % 2}
        for n in range(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def table(files="log.jsonl", **sections):
    """A configuration of one wide table."""
    content = {
        "run": "run",
        "logs": {"table": {"files": files, "id": "id", "time": "ts"}},
        "labels": {"like": {"column": EVIL, "equals": "1"}},
        "features": {"user": {"kind": "categorical", "buckets": 100}},
        "split": {"eval": {"fraction": 0.5}},
        "tasks": {"likes": {"label": "like"}},
    }
    return content | sections


def run(capfd, *arguments):
    """(exit code, all that it printed), which acts on no terminal."""
    try:
        code = main(list(arguments))
    except SystemExit as ended:
        code = ended.code
    out, err = capfd.readouterr()
    assert not ACTS.search(out), ascii(out)
    assert not ACTS.search(err), ascii(err)
    return code, out + err


@given(st.text())
def test_nothing_printable_acts(text):
    shown = one_line(text)
    assert not UNSEEN.search(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


def test_plain_texts_stay_as_they_are():
    for text in ("é 日本 👨‍👩‍👧 [a] :x: 1\u00a0000\n", "s3://bucket/day=*/a@b.csv?x=1", "می‌خواهم"):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://key:secret@bucket/a.csv", "s3://***@bucket/a.csv"),
        ("s3://AKIA:a/b+c@bucket/*.csv", "s3://***@bucket/*.csv"),
        ("https://user:pw@host:8080/a", "https://***@host:8080/a"),
        ("https://token@host/a", "https://***@host/a"),
        ("hdfs://user:pw@host/a", "hdfs://***@host/a"),
        (
            "https://b.s3.amazonaws.com/a?X-Amz-Credential=K%2F1&X-Amz-Signature=5f&v=1",
            "https://b.s3.amazonaws.com/a?X-Amz-Credential=***&X-Amz-Signature=***&v=1",
        ),
        ("gs://b/a?X-Goog-Signature=5f", "gs://b/a?X-Goog-Signature=***"),
        ("https://b/a?sv=2&sig=5f", "https://b/a?sv=2&sig=***"),
        ("https://b/a?access_token=5f", "https://b/a?access_token=***"),
    ],
)
def test_credentials_in_addresses_are_refused_and_hidden(address, shown):
    assert hide_credentials(f"see '{address}' there") == f"see '{shown}' there"
    with pytest.raises(FunnelError, match="holds credentials") as error:
        expand_path(address)
    assert shown in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a:b@c.csv",
        "https://host:8080/a@b",
        "hdfs://user@namenode:8020/a",
        "abfss://container@account.dfs.core.windows.net/a",
        "gs://b/a?generation=5",
        "logs/a:b@c.csv",
    ],
)
def test_other_addresses_are_taken_as_they_are(address):
    assert expand_path(address) == address == hide_credentials(address)


@pytest.mark.parametrize("key", ["logs.table.files", "data", "warm_start.run"])
def test_no_command_repeats_credentials(capfd, folder, key):
    (folder / "my.toml").write_text(toml_of(table()))
    secret = "s3://AKIA0:verysecret@bucket/x"
    code, shown = run(capfd, "preprocess", "my.toml", "--set", f"{key}={secret}")
    assert code == 2
    assert "holds credentials" in shown
    assert "verysecret" not in shown
    assert not (folder / "run").exists()
    for command in (
        ["inspect", secret],
        ["init", secret],
        ["inspect", f"{secret}?token=verysecret"],
    ):
        code, shown = run(capfd, *command)
        assert (code, "verysecret" in shown) == (2, False)


@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "", "a b", "a\n", "é", "_x", "x" * 101])
def test_a_stream_name_is_a_name(name):
    streams = table()["logs"] | {name: {"files": "x.jsonl", "id": "id", "time": "ts"}}
    with pytest.raises(FunnelError, match="is not a name"):
        _ = load(table(logs=streams)).preprocess


@pytest.mark.parametrize("section", ["features", "labels", "tasks"])
@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "a\n", EVIL])
def test_features_labels_and_tasks_have_names(section, name):
    content = table()
    content[section] = {name: next(iter(content[section].values()))}
    with pytest.raises(FunnelError, match=rf"(?s){section}.*should match pattern"):
        _ = load(content).spec


def test_a_lookup_has_a_name():
    rows = table()["logs"]["table"] | {"lookups": {"../x": {"files": "x.csv", "key": "k"}}}
    with pytest.raises(FunnelError, match=r"logs\.table\.lookups: '\.\./x' is not a name"):
        _ = load(table(logs={"table": rows})).preprocess


def toml_of(content):
    sections = [
        toml.Section(name, [toml.Line(key, value) for key, value in section.items()])
        for name, section in content.items()
        if isinstance(section, dict)
    ]
    head = [toml.Line(k, v) for k, v in content.items() if not isinstance(v, dict)]
    return toml.render([], [toml.Section("", head), *sections])


def test_a_configuration_quotes_and_comments_hostile_texts():
    line = toml.Line(EVIL, EVIL, f"{EVIL}\n[logs]\nevil = 1")
    text = toml.render([EVIL], [toml.Section("features", [line], EVIL, [EVIL])])
    assert not ACTS.search(text)
    assert tomllib.loads(text) == {"features": {EVIL: EVIL}}


def test_tables_show_texts_as_they_are(capfd):
    console.table(EVIL, ["a", EVIL], [[EVIL, 1.0], [Text("red", "red"), None]])
    out, _ = capfd.readouterr()
    assert not ACTS.search(out)
    assert out.count(SHOWN) == 3
    widths = {len(line) for line in out.splitlines()[1:]}
    assert len(widths) == 1  # what is escaped has the width that it takes


def test_errors_show_texts_as_they_are():
    assert str(FunnelError(f"{EVIL}: must be 2\nb")) == f"{SHOWN}: must be 2\nb"


def test_documents_are_escaped_json(capfd):
    with lines_to(with_json=True, quiet=False):
        document({EVIL: [EVIL, "\U000e0001"]})
    out, _ = capfd.readouterr()
    assert not ACTS.search(out)
    assert json.loads(out) == {EVIL: [EVIL, "\U000e0001"]}


def test_inspect_shows_rows_of_logs_as_texts(capfd, folder):
    write(folder / f"{EVIL.replace('/', '')}" / "log.jsonl")
    pq.write_table(pa.table({EVIL: [EVIL, None], "l": [[EVIL], []]}), folder / "a.parquet")
    (folder / "b.csv").write_text(f"id,{EVIL}\n1,{EVIL}\n")
    for path in (".", "a.parquet", "b.csv"):
        code, shown = run(capfd, "inspect", path, "--rows", "2")
        assert code == 0
        assert r"\x1b[31m" in shown
        code, shown = run(capfd, "inspect", path, "--rows", "2", "--json")
        assert code == 0


@pytest.mark.parametrize("command", ["inspect", "preprocess", "init", "run", "report", "predict"])
def test_an_absent_path_is_named_as_a_text(capfd, command):
    code, shown = run(capfd, command, f"absent{EVIL.replace('/', '')}")
    assert code == 2
    assert r"absente\x1b[31m" in shown


def test_a_wrong_argument_is_named_as_a_text(capfd):
    code, shown = run(capfd, "preprocess", "my.toml", f"--{EVIL}")
    assert code == 2
    assert r"\x1b[31m" in shown
    assert run(capfd, EVIL)[0] == 2


def test_init_shows_columns_and_values_as_texts(capfd, folder):
    write(folder / "log.jsonl", rows=400)
    code, shown = run(capfd, "init", "log.jsonl", "--label", f"{EVIL}=1", "--id", "id")
    assert (code, shown) == (0, shown), shown
    text = (folder / "funnel.toml").read_text(encoding="utf-8")
    assert not ACTS.search(text)
    assert tomllib.loads(text)["logs"]["table"]["files"] == "log.jsonl"


def test_preprocess_and_inspect_show_rejects_and_warnings_as_texts(capfd, folder):
    write(folder / "log.jsonl")
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"id": "x", "ts": EVIL, "user": "u", EVIL: 1}) + "\n")
    (folder / "my.toml").write_text(toml_of(table()))
    code, shown = run(capfd, "preprocess", "my.toml", "--set", "output.max_rejects=0")
    assert code == 2
    assert "1 of the first 61 rows" in shown
    assert "more than output.max_rejects = 0.0 allows in all" in shown
    code, shown = run(capfd, "preprocess", "my.toml", "--set", "output.max_rejects=1")
    assert code == 0, shown
    code, shown = run(capfd, "inspect", "run/data")
    assert code == 0
    assert r"\x1b[31m" in shown  # the column, the most frequent values
    code, shown = run(capfd, "inspect", "run/data", "--rows", "2")
    assert code == 0
    code, shown = run(capfd, "inspect", "run/data", "--json")
    assert code == 0


def test_a_report_shows_texts_as_they_are(folder):
    evil = f"<script>{EVIL}</script>"
    (folder / "data").mkdir()
    write(folder / "log.jsonl")
    preprocess(load(table()).preprocess, folder / "data")
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    manifest["warnings"] = [evil]
    manifest["inputs"]["table"]["rejected"] = {evil: 1}
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model").mkdir()
    (folder / "model" / "metrics.jsonl").write_text('{"step": 1, "loss": {"likes": 1}}\n')
    (folder / "model" / "reliability.json").write_text('{"likes": []}')
    results = {
        "seconds": {},
        "evaluation": {"likes": {"rows": 1}},
        "health": {"layers": {}, "embeddings": {}, "warnings": [evil]},
        "export": {"path": evil, "outputs": [evil]},
        "parity": {"rows": 1, "max_abs_difference": 0.0, "loaders": {}},
    }
    (folder / "summary.json").write_text(json.dumps(results))
    page = write_report(folder, folder / "data").read_text(encoding="utf-8")
    assert not ACTS.search(page)
    assert "<script>" not in page
    assert r"&lt;script&gt;e\x1b[31m" in page

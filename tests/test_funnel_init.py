"""`funnel init` on event logs and wide tables: what it writes, and that the pipeline reads it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from funnel.cli import main as cli
from funnel.cli.init import write_config
from funnel.config.config import load
from funnel.examples import EXAMPLES
from funnel.init.init import Request, propose_config
from funnel.init.sections import text
from pipeline.job import preprocess
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.simulate import simulate
from pipeline.sources.files import find_sources

LOGS = ["logs/impressions", "logs/clicks", "logs/conversions"]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A folder with logs/ of 6 days: Parquet, gzipped JSON lines and CSV in dated folders."""
    folder = tmp_path_factory.mktemp("init")
    simulate(
        SimulateConfig(impressions=20_000, days=6, users=500, items=200, trailing="1d"),
        folder / "logs",
    )
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    try:
        code = cli.main(["init", *map(str, arguments)])
    except SystemExit as exit_:
        code = exit_.code
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def proposed(*logs, **options):
    """The content of the file that would be written."""
    return tomllib.loads(text(propose_config(Request([str(log) for log in logs], **options))))


def write_csv(path, **columns):
    pa_csv.write_csv(pa.table(columns), path)
    return path


def test_event_logs(logs, capsys, monkeypatch):
    monkeypatch.chdir(logs)
    code, out, err = run(capsys, *LOGS, "--output", "event.toml")
    assert (code, err) == (0, "")
    assert "  funnel run event.toml\n" in out
    shown = [line.replace(" ", "").strip("│") for line in out.splitlines() if "│" in line]
    assert shown[0].startswith("impressions│6│20,2")
    assert shown[0].endswith("│impression_id│ts│–")
    assert [row.split("│")[1::4] for row in shown[1:]] == [["7", "click"], ["7", "convert"]]
    content = tomllib.loads(Path("event.toml").read_text())
    keys = {"id": "impression_id", "time": "ts"}
    assert content["logs"] == {
        "impressions": {"files": "logs/impressions/*/*.parquet"} | keys,
        "clicks": {"files": "logs/clicks/*/*.jsonl.gz"} | keys,
        "conversions": {"files": "logs/conversions/*/*.csv"} | keys,
    }
    assert content["labels"] == {
        "click": {"event": "clicks", "within": "5m"},
        "convert": {"event": "conversions", "within": "1d", "after": "click"},
    }
    vocabulary = {"kind": "categorical", "min_count": 1, "dim": 8}
    assert content["features"] == {
        "ts_hour": {"kind": "time", "column": "ts", "part": "hour", "dim": 4},
        "user_id": vocabulary,
        "user_segment": vocabulary,
        "country": vocabulary,
        "user_age": {"kind": "numeric"},
        "item_id": vocabulary,
        "category": vocabulary,
        "advertiser_id": vocabulary,
        "tags": vocabulary | {"max_length": 4},
        "price": {"kind": "numeric", "transform": "log1p"},
        "device_type": vocabulary,
        "position": vocabulary,
    }
    assert content["split"] == {"eval": {"last": "1d"}}
    assert content["tasks"] == {
        "ctr": {"label": "click"},
        "cvr": {"label": "convert", "given": "click"},
    }
    assert content["model"] == {"sharing": "mmoe", "funnel": "esmm"}
    written = Path("event.toml").read_text()
    assert "20,000 rows" not in written  # the rows read are more: 1 % of them are duplicates
    assert "came within" in written


def test_the_file_is_preprocessed_unchanged(logs, capsys, monkeypatch):
    monkeypatch.chdir(logs)
    assert run(capsys, *LOGS, "--output", "whole.toml")[0] == 0
    config = load(Path("whole.toml"))
    on_disk = {str(p) for p in Path("logs").glob("*/*/*")}
    assert {source.path for source in find_sources(config.preprocess)} == on_disk
    manifest = preprocess(config.preprocess, config.data)
    assert manifest["rows"]["examples_written"] > 15_000


def test_a_folder_of_streams_is_those_streams(logs, monkeypatch):
    monkeypatch.chdir(logs)
    assert proposed("logs") == proposed(*LOGS)


def test_streams_have_the_names_that_the_user_gives(logs, monkeypatch):
    monkeypatch.chdir(logs)
    content = proposed(*LOGS[:2], "buys=logs/conversions/*/*.csv")
    assert list(content["logs"]) == ["impressions", "clicks", "buys"]
    assert content["labels"]["buy"]["event"] == "buys"
    assert content["tasks"]["buy"] == {"label": "buy", "given": "click"}


def test_the_result_for_programs(logs, monkeypatch):
    monkeypatch.chdir(logs)
    found = write_config(Request(LOGS), Path("json.toml"))
    assert found["next"] == "funnel run json.toml"
    assert found["streams"]["clicks"]["id"] == "impression_id"
    assert found["streams"]["clicks"]["files"] == 7
    assert found["labels"]["click"] == {"event": "clicks", "within": "5m"}
    assert found["left_out"] == found["check"] == {}


def test_json(logs, capsys, monkeypatch):
    monkeypatch.chdir(logs)
    code, out, err = run(capsys, *LOGS, "--output", "printed.toml", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["next"] == "funnel run printed.toml"
    assert json.loads(out)["labels"]["click"]["within"] == "5m"


LOADED = """
import sys
from funnel.cli.main import main
code = main(["init", "people.csv", "--label", "income=>50K"])
found = {name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras", "apache_beam"}
sys.exit(f"imported: {sorted(found)}" if found else code)
"""


def test_neither_tensorflow_nor_beam_is_loaded(folder):
    table(folder)
    done = subprocess.run(
        [sys.executable, "-c", LOADED], input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert Path("funnel.toml").is_file()


def test_nothing_is_overwritten(folder, capsys):
    Path("funnel.toml").write_text("mine")
    code, _, err = run(capsys)
    assert code == 2
    assert err == (
        "error: funnel.toml: exists, and is not overwritten; give --output another name\n"
    )
    assert Path("funnel.toml").read_text() == "mine"


def test_without_logs_it_writes_the_example_to_fill_in(folder, capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert "funnel run funnel.toml" in out
    assert Path("funnel.toml").read_text() == (EXAMPLES / "ads.toml").read_text()


@pytest.mark.parametrize("name", ["demo", "census", "adult", "obd", "ads"])
def test_every_example_can_be_written(folder, capsys, name):
    assert run(capsys, "--example", name, "--output", "x.toml")[0] == 0
    assert Path("x.toml").read_text() == (EXAMPLES / f"{name}.toml").read_text()


def test_an_example_has_its_own_name(folder, capsys):
    run(capsys, "--example", "demo")
    assert [p.name for p in folder.iterdir()] == ["demo.toml"]
    code, _, err = run(capsys, "--example", "dmo")
    assert code == 2
    assert "--example dmo: did you mean 'demo'? known: ads, adult, census, demo, obd" in err


def table(folder, **more):
    """people.csv with 400 rows."""
    n = 400
    columns = {
        "name": [f"person {i}" for i in range(n)],
        "age": [20 + i % 50 for i in range(n)],
        "city": [f"city {i % 7}" for i in range(n)],
        "income": [">50K" if i % 4 == 0 else "<=50K" for i in range(n)],
        "same": ["x"] * n,
    }
    return write_csv(folder / "people.csv", **(columns | more))


def test_a_wide_table(folder):
    content = proposed(table(folder).name, labels=["income=>50K"])
    assert content == {
        "logs": {"table": {"files": "people.csv"}},
        "labels": {"income": {"column": "income", "equals": ">50K"}},
        "features": {
            "age": {"kind": "numeric"},
            "city": {"kind": "categorical", "min_count": 1, "dim": 8},
        },
        "split": {"eval": {"fraction": 0.1}},
        "tasks": {"income": {"label": "income"}},
        "model": {"sharing": "shared_bottom", "funnel": "independent"},
    }


def test_what_is_left_out_is_said(folder):
    table(folder)
    written = text(propose_config(Request(["people.csv"], labels=["rich:income=>50K"])))
    assert "#   name  looks like an id of the row: 400 distinct in 400 rows\n" in written
    assert "#   same  constant: 'x' in all 400 rows\n" in written
    assert 'rich = { column = "income", equals = ">50K" }  # 25 % of 400 rows' in written


def test_several_labels_are_several_tasks(folder):
    content = proposed(
        table(folder).name, labels=["rich:income=>50K", "young:age=20"], dropped=["name"]
    )
    assert list(content["tasks"]) == ["rich", "young"]
    assert content["model"] == {"sharing": "mmoe", "funnel": "independent"}


def test_an_evaluation_file_and_its_spelling(folder):
    table(folder)
    same = {name: ["1", "2"] for name in ("name", "age", "city", "same")}
    write_csv(folder / "test.csv", income=[">50K.", "<=50K."], **same)
    content = proposed("people.csv", labels=["income=>50K"], evaluation="test.csv")
    assert content["labels"] == {"income": {"column": "income", "equals": [">50K", ">50K."]}}
    assert content["split"] == {"eval": {"files": "test.csv"}}


def test_columns_of_a_file_without_header(folder):
    (folder / "people.data").write_text(
        "39, a, 1\n40, b, 0\n38, b, 1\n40, a, 1\n39, b, 1\n39, a, 0\n" * 50
    )
    (folder / "names.txt").write_text("age\nletter\nclick\n")
    for given in ("age,letter,click", "names.txt"):
        content = proposed("people.data", columns=given)
        assert content["logs"]["table"]["columns"] == ["age", "letter", "click"]
        assert content["labels"] == {"click": {"column": "click"}}


def test_times_split_a_table_by_days(folder):
    days = [f"2026-11-{1 + i // 40:02d}T{i % 24:02d}:00:00" for i in range(400)]
    content = proposed(table(folder, seen=days).name, labels=["income=>50K"])
    assert content["logs"]["table"]["time"] == "seen"
    assert content["split"] == {"eval": {"last": "1d"}}


def test_users_are_on_one_side_of_a_share(folder):
    users = [f"u{i % 90}" for i in range(400)]
    content = proposed(table(folder, user_id=users).name, labels=["income=>50K"])
    assert content["split"] == {"eval": {"fraction": 0.1, "by": "user_id"}}


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        ([True, False], {"column": "click", "equals": "true"}),
        ([1, 0], {"column": "click"}),
        ([1.0, 0.0], {"value": "click", "at_least": 1.0}),
        (["yes", "no"], {"column": "click", "equals": "yes"}),
        ([0.5, 0.1, 7.25, 300.0], {"value": "click", "transform": "log1p"}),
    ],
)
def test_a_label_of_any_type(folder, values, declared):
    n = 40 * len(values)
    rows = pa.table({"click": values * 40, "city": [f"c{i % 3}" for i in range(n)]})
    pq.write_table(rows, folder / "t.parquet")
    content = proposed("t.parquet", labels=["click"])
    assert content["labels"] == {"click": declared}
    config = folder / "c.toml"
    config.write_text(text(propose_config(Request(["t.parquet"], labels=["click"]))))
    written = preprocess(load(config).preprocess, folder / "data")["rows"]
    assert written["examples_written"] == n

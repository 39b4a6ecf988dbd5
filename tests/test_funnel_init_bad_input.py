"""What `funnel init` says of logs that it cannot use: what it saw, guessed, and what is missing.
Nothing is written then.
"""

import gzip
import os
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline_logs import write_jsonl

from features.errors import FunnelError
from funnel.cli import main as cli
from funnel.init import init

T0 = 1_790_000_000
COLUMN = pa.array(range(40))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fails(folder, capsys):
    """Runs `funnel init` and expects an error for the user and no new file; returns the message."""

    def run(*arguments, code=2):
        before = sorted(folder.rglob("*"))
        assert cli.main(["init", *map(str, arguments)]) == code
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        assert sorted(folder.rglob("*")) == before
        return shown.err.removeprefix("error: ").rstrip("\n")

    return run


def event_logs(**changes):
    """impressions.jsonl and clicks.jsonl, 40 and 20 rows; `changes` add to each impression."""
    shown = [{"imp_id": f"i{i}", "ts": T0 + i * 3600, "user": f"u{i % 7}"} for i in range(40)]
    for name, make in changes.items():
        for i, row in enumerate(shown):
            row[name] = make(i)
    write_jsonl(Path("impressions.jsonl"), shown)
    clicks = [{"imp_id": f"i{i}", "ts": T0 + i * 3600 + 9} for i in range(20)]
    write_jsonl(Path("clicks.jsonl"), clicks)
    return "impressions.jsonl", "clicks.jsonl"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("people.csv", b"", "people.csv: is empty; the stream 'people' needs at least one row"),
        (
            "people.csv",
            b"age,click\n",
            "people.csv: holds a header (age, click) and no row; 'people' needs at least one row",
        ),
        (
            "people.csv",
            b"age\n1\n2\n",
            "people.csv: has one column, 'age', cut by no comma, tab, semicolon or |. Missing: at "
            "least one column to predict from, and one to predict",
        ),
        (
            "people.jsonl",
            b"not json\n" * 9,
            "people.jsonl: holds no JSON object; the stream 'people' needs one a line; if it is "
            "another format, give the file the extension of that",
        ),
        (
            "people.jsonl",
            b'{"a": 1}\n' + b"{broken\n" * 5,
            "people.jsonl: has one column, 'a'. Missing: at least one column to predict from, and "
            "one to predict",
        ),
        (
            "people.csv",
            b"39, yes, 7\n40, no, 8\n",
            "people.csv: has no header: its first line '39, yes, 7' looks like a row. Missing: the "
            "names of its 3 columns; give --columns a,b,c or --columns FILE",
        ),
        (
            "people.csv",
            b"a,b\nb,b\na,b\na,a\n" * 9,
            "people.csv: has no header: its first line 'a, b' looks like a row. Missing: the names "
            "of its 2 columns; give --columns a,b,c or --columns FILE",
        ),
        (
            "people.csv",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "people.csv: is neither text nor Parquet (it begins with b'\\x89PNG\\r\\n\\x1a\\n'); "
            "Parquet, CSV and JSON lines are read, also .gz and .zst",
        ),
        (
            "people.parquet",
            b"age,click\n1,2\n",
            "people.parquet: is not Parquet (it begins with b'age,'); Parquet, CSV and JSON lines "
            "are read, also .gz and .zst, so rename it",
        ),
        (
            "people.csv.gz",
            b"age,click\n1,2\n",
            "people.csv.gz: cannot be read (",
        ),
        (
            "people.csv.gz",
            gzip.compress(b"age,click\n" + b"1,0\n" * 99999)[:-200],
            "cannot be read",
        ),
        ("people.parquet", b"PAR1 and nothing else", "people.parquet: cannot be read ("),
    ],
)
def test_a_file_that_cannot_be_used(folder, fails, name, content, message):
    (folder / name).write_bytes(content)
    assert message in fails(name, "--label", "click")


def test_a_path_that_does_not_exist(folder, fails):
    (folder / "impressions.csv").touch()
    assert fails("impresions.csv") == (
        "impresions.csv: no such file or folder, nor a glob that matches one; did you mean "
        "'impressions.csv'?"
    )
    assert fails("logs/x*.csv") == (
        "logs/x*.csv: no such file or folder, nor a glob that matches one; there is no folder "
        "'logs'"
    )
    (folder / "logs").mkdir()
    assert fails("logs") == (
        "logs: no file is in this folder; table needs Parquet, CSV or JSON lines"
    )


def test_a_folder_of_mixed_formats(folder, fails):
    (folder / "clicks").mkdir()
    for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
        (folder / "clicks" / name).write_text("id,ts\n1,2\n")
    write_jsonl(folder / "clicks" / "e.jsonl", [{"id": 1}])
    assert fails("clicks") == (
        "clicks: holds files of several formats: 4 csv (a.csv, b.csv, c.csv, …), 1 jsonl "
        "(e.jsonl); a stream has one format, so name one stream by a glob in quotes, as in "
        "'clicks/*.csv'"
    )


def test_files_of_one_stream_with_other_columns(folder, fails):
    (folder / "t").mkdir()
    (folder / "t" / "1.csv").write_text("a,click\n1,0\n")
    (folder / "t" / "2.csv").write_text("b,click\n1,0\n")
    assert fails("t") == (
        "t/2.csv: its columns differ from those of t/1.csv (a, b); name the files of one stream "
        "by a glob in quotes"
    )


def test_no_permission(folder, fails, monkeypatch):
    """Root may read every file, so `open` refuses here as it does for other users."""
    (folder / "people.csv").write_text("age,click\n1,0\n")
    message = "people.csv: cannot be read (permission denied); give yourself permission to read it"

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", refuse)
        assert fails("people.csv") == message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_no_permission_for_this_user(folder, fails):
    (folder / "people.csv").write_text("age,click\n1,0\n")
    (folder / "people.csv").chmod(0)
    assert "cannot be read (permission denied)" in fails("people.csv")
    (folder / "logs").mkdir(mode=0)
    assert "logs: cannot be read (Permission denied)" in fails("logs")


def test_no_time_column(fails):
    write_jsonl(Path("impressions.jsonl"), [{"id": f"i{i}", "user": "u"} for i in range(9)])
    write_jsonl(Path("clicks.jsonl"), [{"id": "i1", "ts": T0}])
    assert fails("impressions.jsonl", "clicks.jsonl") == (
        "impressions: no column holds times; it has id (text), user (text). Missing: when each "
        "row happened, as ISO-8601, a timestamp or an epoch in a column named like ts or time; "
        "--time COLUMN names it"
    )


def test_a_time_column_that_holds_no_times(fails):
    logs = event_logs()
    assert fails(*logs, "--time", "user") == (
        "--time: 'user' of impressions holds no times; give a column of dates, ISO-8601 texts or "
        "epochs"
    )
    assert fails(*logs, "--time", "tz") == (
        "--time: 'tz' is a column of no stream: known: imp_id, ts, user"
    )


def test_two_candidates_for_the_id(folder, capsys):
    logs = event_logs(row=lambda i: f"i{i}")
    assert cli.main(["init", *logs]) == 0
    note = "impressions: row could be the id as well as imp_id: --id takes another\n"
    assert note in capsys.readouterr().out
    assert f"# {note}" in Path("funnel.toml").read_text()
    assert 'id = "imp_id"' in Path("funnel.toml").read_text()
    assert cli.main(["init", *logs, "--id", "row", "--output", "b.toml"]) == 0
    assert 'id = "row"' in Path("b.toml").read_text()


def test_no_column_identifies_an_impression(fails):
    event_logs()
    write_jsonl(Path("impressions.jsonl"), [{"user": f"u{i % 5}", "ts": T0 + i} for i in range(50)])
    assert fails("impressions.jsonl", "clicks.jsonl") == (
        "impressions: no column identifies a row, and clicks need one to join. Closest: user (5 "
        "distinct in 50). Missing: a column without repetition that the events hold too; name it "
        "with --id COLUMN, or give one wide table"
    )


def test_a_stream_that_joins_nothing(fails):
    event_logs()
    write_jsonl(Path("clicks.jsonl"), [{"imp_id": f"x{i}", "ts": T0 + i} for i in range(30)])
    assert fails("impressions.jsonl", "clicks.jsonl") == (
        "clicks: no column holds ids of impressions (impressions.imp_id); in clicks.imp_id 0 of "
        "30 values occur there. Missing: logs of the same days, or a column that names the "
        "impression; --id COLUMN names the column of impressions, and without clicks the other "
        "streams can be used"
    )


def table(**columns):
    pq.write_table(pa.table({"age": range(40), "click": [0, 0, 0, 1] * 10} | columns), "t.parquet")
    return "t.parquet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--label", "clik"],
            "--label: 'clik' is not a column of t.parquet: did you mean 'click'?",
        ),
        (
            ["--label", "city=nowhere"],
            "--label city=nowhere: no row has this value: known: a, b (most frequent: a (50.0 %), "
            "b (50.0 %))",
        ),
        (
            ["--label", "city"],
            "--label city: no value of it means yes: it holds a (50.0 %), b (50.0 %). Missing: "
            'the value, as in --label city="b"',
        ),
        (["--label", "rate=0.5"], "--label rate=0.5: the column holds fractions, which a label"),
        (["--label", "balance"], "--label balance: holds numbers below 0 (-5), and −1 means"),
        (["--drop", "agee"], "--drop: 'agee' is not a column of table: did you mean 'age'?"),
        (["--group", "usr"], "--group: 'usr' is not a column of table: known: age, balance,"),
        (["--id", "usr"], "--id: 'usr' is not a column of table"),
        (["--eval", "e.parquet"], "e.parquet: no such file or folder, nor a glob that matches"),
        (["--columns", "age"], "--columns age: holds one name and is not a file; give names"),
        (["--columns", "a,b,a"], "--columns: 'a' is repeated; give each column a name of its own"),
        (["--columns", "a,,b"], "--columns: a name is blank; give each column a name of its own"),
        (
            ["--columns", "a,b"],
            "--columns names the columns of CSV files, and t.parquet is parquet",
        ),
        (["--output", "no/x.toml"], "no/x.toml: the folder no does not exist; create it, or give"),
        (["--label", "age=1", "--label", "age=2"], "2 labels are named 'age'; give each a name"),
        (["--example", "demo"], "--example writes a shipped file: leave the logs out, or"),
    ],
)
def test_arguments_that_do_not_fit_the_table(fails, arguments, message):
    table(city=["a", "b"] * 20, balance=[-5, 3, 4, 5] * 10, rate=[0.5, 1.5] * 20)
    assert message in fails("t.parquet", *arguments)


def test_a_table_without_a_label(fails):
    columns = {"age": range(40), "city": ["a", "b"] * 20}
    columns |= {"click_a": [0, 1] * 20, "click_b": [1, 0] * 20}
    pq.write_table(pa.table(columns), "two.parquet")
    assert fails("two.parquet") == (
        "two.parquet: a table of 4 columns needs a label, and several could be: click_a, click_b. "
        "Columns of two values: city: a (50.0 %), b (50.0 %); click_a: 0 (50.0 %), 1 (50.0 %); "
        "click_b: 1 (50.0 %), 0 (50.0 %). Missing: --label COLUMN for one of 0 and 1, or --label "
        'COLUMN="VALUE"'
    )
    pq.write_table(pa.table({"age": range(40), "name": ["x"] * 40}), "none.parquet")
    assert "needs a label, and none is named so. Columns of two values: none." in fails(
        "none.parquet"
    )


def test_no_column_is_left_to_predict_from(fails):
    pq.write_table(pa.table({"click": [0, 1] * 20, "name": ["x"] * 40}), "t.parquet")
    assert fails("t.parquet") == (
        "table: no column is left to predict from (name: constant: 'x' in all 40 rows). Missing: "
        "a column that is known when the row is shown"
    )


def test_an_evaluation_file_of_other_columns(fails):
    table()
    pq.write_table(pa.table({"click": [0, 1]}), "e.parquet")
    assert fails("t.parquet", "--eval", "e.parquet") == (
        "--eval e.parquet: lacks the columns age of table; give rows of the same columns"
    )
    assert fails("t.parquet", "--eval", "t.parquet") == (
        "--eval t.parquet: t.parquet is among the files to train on, too; a row trains or "
        "evaluates, so name the others by a glob in quotes"
    )
    Path("e.csv").write_text("age,click\n1,0\n")
    assert fails("t.parquet", "--eval", "e.csv") == (
        "--eval e.csv: is csv, and table is parquet; give rows of the same format and columns"
    )


def test_options_of_a_table_with_event_logs(fails):
    logs = event_logs()
    assert fails(*logs, "--label", "x") == (
        "--label is for one wide table, and these are 2 streams: impressions, clicks; leave it "
        "out, or name one file"
    )


def test_options_without_logs(fails):
    assert fails("--label", "click") == "--label is for logs: name their files"


def test_columns_that_do_not_fit_the_file(fails):
    Path("people.csv").write_text("1,2,3\n4,5,6\n")
    assert fails("people.csv", "--columns", "a,b") == (
        "people.csv: its first line has 3 values, and --columns names 2; name every column, in "
        "order"
    )
    Path("people.csv").write_text("a,b\n4,5\n")
    assert fails("people.csv", "--columns", "a,b") == (
        "people.csv: has a header of these names; leave --columns out"
    )


def test_5000_columns_take_some_seconds(folder):
    rng = np.random.default_rng(0)
    columns = {f"c{i}": rng.integers(0, 3 + i % 40, 200) for i in range(5000)}
    pq.write_table(pa.table(columns | {"click": rng.integers(0, 2, 200)}), "wide.parquet")
    start = time.process_time()
    assert cli.main(["init", "wide.parquet"]) == 0
    assert time.process_time() - start < 20  # 4 on the machine that this was written on
    assert len(Path("funnel.toml").read_text().splitlines()) > 5000


def test_columns_that_no_kind_reads(folder, capsys):
    n = 40
    pq.write_table(
        pa.table(
            {
                "click": [0, 1] * 20,
                "age": range(n),
                "place": [{"x": 1}] * n,
                "vector": [[0.5, 0.25]] * n,
                "empty": pa.nulls(n),
                "nan": pa.array([float("nan")] * n),
                "born": pa.array([date(1950 + i, 5, 1) for i in range(n)]),
                "blob": pa.array([b"\xff\xfe"] * n),
                "ok": [f"{i % 3}" for i in range(n)],
            }
        ),
        "t.parquet",
    )
    assert cli.main(["init", "t.parquet"]) == 0
    written = Path("funnel.toml").read_text()
    assert "#   place   it holds struct<x: int64>, not single values or lists\n" in written
    assert "#   vector  holds list<element: double>: no kind of feature reads it\n" in written
    assert "#   empty   no value in 40 rows\n" in written
    assert "#   nan     no value in 40 rows\n" in written
    assert "#   born    40 times are not within 1990 … 2100: their rows would be" in written
    assert "#   blob    no value in 40 rows\n" in written


def test_a_configuration_that_funnel_refuses_is_not_written(folder):
    with pytest.raises(FunnelError, match=r"x.toml: was not written, since .* is refused: labels"):
        init.write(Path("x.toml"), "[features]\nx = { kind = 'numeric' }\n")
    assert list(folder.iterdir()) == []

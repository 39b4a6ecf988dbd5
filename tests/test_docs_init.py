"""docs/init.md: its commands run, and its figures are those of the code."""

import re
import shlex
from pathlib import Path

import pytest

from funnel.cli import main as cli
from funnel.cli.arguments import parser
from funnel.init import crosses, joins, keys, kinds, labels, leaks
from funnel.init.reading import columns, sample
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.simulate import simulate

PAGE = (Path(__file__).parents[1] / "docs" / "init.md").read_text()
BLOCK = [line[4:] for line in PAGE.splitlines() if line.startswith("    funnel ")]
TABLE = [c for line in PAGE.splitlines() for c in re.findall(r"`(funnel init[^`]*)`", line)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the page names, the current one."""
    monkeypatch.chdir(tmp_path)
    simulate(SimulateConfig(impressions=6000, days=6, users=200, trailing="1d"), Path("logs"))
    ages = [f"{20 + i * 7 % 50},{'abc'[i % 3]}" for i in range(300)]
    rows = [f"{row},{('<=50K', '>50K')[i % 4 == 0]}\n" for i, row in enumerate(ages)]
    Path("people.data").write_text("".join(rows))
    for name in ("people.csv", "test.csv"):
        Path(name).write_text("age,city,income\n" + "".join(rows))
    clicks = [f"{row},{i % 5 // 4}\n" for i, row in enumerate(ages)]
    Path("visits.csv").write_text("age,city,click\n" + "".join(clicks))
    return tmp_path


def words(command):
    return shlex.split(command)[1:]


def test_every_command_of_the_table_writes_a_configuration(folder, capsys):
    assert len(TABLE) > 6
    for number, command in enumerate(TABLE):
        output = f"{number}.toml"
        code = cli.main([*words(command), "--output", output])
        assert code == 0, (command, capsys.readouterr().err)
        assert Path(output).is_file()


@pytest.mark.slow
def test_two_commands_lead_to_a_report(folder):
    init, run = BLOCK
    assert cli.main(words(init)) == 0
    assert cli.main(words(run)) == 0
    assert Path("runs/my/report.html").is_file()


def test_every_option_is_on_the_page(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["init", "--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help", "--debug"}
    known = {option for option in options if option in PAGE}
    assert options - known <= {"--json", "--quiet"}  # of every command


@pytest.mark.parametrize(
    ("figure", "of"),
    [
        ("first 200,000 rows", sample.ROWS == 200_000),
        ("a tenth of them from its last", sample.FIRST == 0.9),
        ("10 million values and 128 MiB", (sample.VALUES, sample.BYTES) == (10**7, 128 << 20)),
        ("99 % of rows have one", keys.FILLED == 0.99),
        ("at least 90 % distinct", keys.UNIQUE == 0.9),
        ("half of the events", joins.JOINED == 0.5),
        ("in samples 1 %, and 20 events", (joins.JOINED_SAMPLE, joins.MATCHES) == (0.01, 20)),
        ("if 90 % of its impressions", labels.FOLLOWS == 0.9),
        ("the 99th percentile", labels.COVERED == 0.99),
        ("a quarter of the logs' span", labels.LONGEST == 0.25),
        ("up to 1,000: a vocabulary", kinds.VOCABULARY == 1000),
        ("holds 99 % of them, at most 100", (kinds.LIST_COVERS, kinds.LONGEST) == (0.99, 100)),
        ("up to 20 values", kinds.FEW == 20),
        ("by .01 AUC", kinds.CATEGORY_GAIN == 0.01),
        ("at most 2,000 pairs", crosses.CELLS == 2000),
        ("apart by .05 AUC; at most three", (crosses.GAIN, crosses.MOST) == (0.05, 3)),
        ("skewness is above 1", kinds.SKEWED == 1),
        ("with 10 rows of label 1", kinds.POSITIVES == 10),
        ("texts that are 95 % distinct", kinds.ROW_ID == 0.95),
        ("fewer than .5 % of the rows", kinds.CONSTANT == 0.005),
        ("AUC .98 or more", leaks.LEAK == 0.98),
        ("reach AUC .9 alone", leaks.SUSPECT == 0.9),
        ("98 % of the others", leaks.ONLY_WITH == 0.98),
        ("on at least half of the rows", leaks.RARE == 0.5),
    ],
)
def test_the_figures_of_the_rules(figure, of):
    assert figure in " ".join(PAGE.split())
    assert of


def test_the_missing_values_of_the_page():
    row = next(line for line in PAGE.splitlines() if line.startswith("| missing values"))
    shown = set(re.findall(r"`([^`]+)`", row))
    assert shown <= {*columns.MISSING, *columns.MISSING_NUMBERS}

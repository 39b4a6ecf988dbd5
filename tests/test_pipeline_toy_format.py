"""A log format is one class and one line of FORMATS: a toy format read from a configuration file to
a preprocessed directory, as logs and as a look-up table.
"""

import json

import numpy as np
import pyarrow as pa
import pytest
from pipeline_logs import read_examples, rejects

from funnel.cli.main import main
from pipeline.sources.formats import FORMATS
from pipeline.sources.formats.base import LogFile, ParsedRows

T0 = 1_790_000_000
CONFIG = """
run = "{folder}/run"

[logs.impressions]
files = "{folder}/impressions*"
id = "id"
time = "ts"
lookups = {{ items = {{ files = "{folder}/items.kv", key = "item" }} }}

[logs.clicks]
files = "{folder}/clicks*"
id = "id"
time = "ts"
format = "pairs"

[labels]
click = {{ event = "clicks", within = "30m" }}

[features]
user = {{ kind = "categorical", buckets = 100 }}
price = {{ kind = "numeric" }}

[split]
eval = {{ fraction = 0.5 }}
logs_end = 2026-10-01T00:00:00Z

[output]
shards = 2
max_rejects = 1.0

[tasks]
ctr = {{ label = "click" }}
"""


class PairsFile(LogFile):
    """Lines of key=value pairs."""

    endings = (".kv",)

    def __init__(self, file, stream):
        self._lines = file.read().decode().splitlines()

    @property
    def names(self):
        return [pair.partition("=")[0] for pair in self._lines[0].split()] if self._lines else None

    def read(self, columns, start=None, end=None):
        rows, positions, malformed = [], [], []
        for position, line in enumerate(self._lines, 1):
            if "=" in line:
                rows.append(dict(pair.split("=") for pair in line.split()))
                positions.append(position)
            else:
                malformed.append((position, "no pair", line))
        values = {name: pa.array([row[name] for row in rows], pa.binary()) for name in columns}
        yield ParsedRows(pa.table(values), np.array(positions), malformed)


@pytest.fixture
def logs(tmp_path):
    rows = [f"id=i{n} ts={T0 + n} user=u{n % 3} item=x{n % 2}" for n in range(40)]
    (tmp_path / "impressions.kv").write_text("\n".join([*rows, "nonsense"]) + "\n")
    (tmp_path / "clicks.log").write_text(f"id=i1 ts={T0 + 5}\nid=i7 ts={T0 + 9}\n")
    (tmp_path / "items.kv").write_text("item=x0 price=1.5\nitem=x1 price=2\n")
    (tmp_path / "toy.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def test_a_toy_format_is_read_end_to_end(logs, monkeypatch):
    monkeypatch.setitem(FORMATS, "pairs", PairsFile)
    assert main(["preprocess", str(logs / "toy.toml"), "--debug"]) == 0
    data = logs / "run" / "data"
    examples = read_examples(data)
    assert len(examples) == 40
    assert {id_ for id_, row in examples.items() if row["click"] == 1} == {"i1", "i7"}
    assert examples["i2"]["dense"] == [1.5]
    assert examples["i1"]["dense"] == [2.0]
    assert rejects(data, "impressions") == [("impressions.kv", 41, "no pair")]
    manifest = json.loads((data / "manifest.json").read_text())
    assert manifest["inputs"]["impressions"]["rejected"] == {"no pair": 1}


def test_an_unknown_format_is_refused_with_the_known_ones(logs, capsys):
    assert main(["preprocess", str(logs / "toy.toml")]) == 2
    assert (
        "logs.clicks.format = 'pairs' is not a format; known: aliccp, csv, jsonl, parquet"
        in " ".join(capsys.readouterr().err.split())
    )

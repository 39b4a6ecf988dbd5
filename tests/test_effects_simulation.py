"""Every option of a simulation, and of how a log file is read, changes a byte or a row."""

import pytest
from effects import differs, digest
from log_files import read_file

from features.errors import FunnelError
from pipeline.config import Lookup
from pipeline.rows.lookups import Join
from pipeline.rows.read import load
from pipeline.simulation.config import SimulateConfig
from pipeline.simulation.simulate import simulate
from pipeline.sources.files import find_lookup

WORLD = {
    "impressions": 400,
    "users": 20,
    "items": 10,
    "days": 2,
    "ctr": 0.5,
    "cvr": 0.5,
    "late": 0.3,
}
WORLD |= {"duplicates": 0.1, "orphans": 0.1, "malformed": 0.1, "late_by": "1h"}
SIMULATED = {
    "SimulateConfig.impressions": {"impressions": 401},
    "SimulateConfig.days": {"days": 3},
    "SimulateConfig.start": {"start": "2026-10-01"},
    "SimulateConfig.trailing": {"trailing": "1h"},
    "SimulateConfig.duplicates": {"duplicates": 0.2},
    "SimulateConfig.orphans": {"orphans": 0.2},
    "SimulateConfig.malformed": {"malformed": 0.2},
    "SimulateConfig.seed": {"seed": 2},
    "SimulateConfig.users": {"users": 21},
    "SimulateConfig.items": {"items": 11},
    "SimulateConfig.ctr": {"ctr": 0.2},
    "SimulateConfig.cvr": {"cvr": 0.2},
    "SimulateConfig.correlation": {"correlation": -0.5},
    "SimulateConfig.selection": {"selection": 2.0},
    "SimulateConfig.signal": {"signal": 0.1},
    "SimulateConfig.click_delay": {"click_delay": "1m"},
    "SimulateConfig.conversion_delay": {"conversion_delay": "1h"},
    "SimulateConfig.late_by": {"late_by": "2h"},
    "SimulateConfig.late": {"late": 0.1},
    **{f"Formats.{name}": {f"format.{name}": "jsonl"} for name in ("impressions", "conversions")},
    "Formats.clicks": {"format.clicks": "csv"},
    "Compression.impressions": {"compress.impressions": True},
    "Compression.clicks": {"compress.clicks": False},
    "Compression.conversions": {"compress.conversions": True},
}


@pytest.mark.parametrize("option", SIMULATED)
def test_a_simulation(tmp_path, monkeypatch, option):
    monkeypatch.setattr("pipeline.simulation.world.SAMPLE_ROWS", 2000)

    def logs(sections):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        simulate(SimulateConfig.parse(sections, "simulate"), out)
        (out / "simulation.json").unlink()  # repeats the options
        return digest(out)

    text = {"format": {"impressions": "csv"}} if option == "Compression.impressions" else {}
    differs(logs, WORLD | text, SIMULATED[option])


CSV = {  # option → (the text of a file, the other options, the option's value)
    "columns": (
        "1,5,1790000000\n2,6,1790000001\n",
        {"columns": ["id", "n", "ts"]},
        ["n", "id", "ts"],
    ),
    "separator": ("id,n,ts;id\n1,2,1790000000;3\n", {}, ";"),
    "quote": ("id,n,ts\n'1',2,1790000000\n", {}, "'"),
    "multiline": ('id,n,ts\n"1\n2",3,1790000000\n', {}, True),
    "max_line_bytes": (f"id,n,ts\n1,{'2' * 70},1790000000\n", {}, 64),
    "strip": ("id,n,ts\n 1,2,1790000000\n", {}, False),
    "missing": ("id,n,ts\n1,?,1790000000\n", {}, ["?"]),
    "time_unit": ("id,n,ts\n1,2,1790000000000\n", {}, "us"),
}


@pytest.mark.parametrize("option", CSV)
def test_how_a_file_is_read(tmp_path, option):
    text, others, value = CSV[option]
    (tmp_path / "log.csv").write_text(text)

    def rows(stream):
        try:
            return read_file(tmp_path / "log.csv", {"n": "text"}, **stream)
        except FunnelError as error:
            return str(error)

    differs(rows, others, {option: value})


def test_common(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.csv").write_text("1,0,0,c1,1,205\x024000\x031.0\n")
    (tmp_path / "one.csv").write_text("c1,1,101\x0224\x031.0\n")
    (tmp_path / "two.csv").write_text("c1,1,101\x0225\x031.0\n")

    def rows(stream):
        wanted = {"101": "text"}
        return read_file(tmp_path / "samples.csv", wanted, time=None, id="sample_id", **stream)

    differs(rows, {"format": "aliccp", "common": "one.csv"}, {"common": "two.csv"})


def test_the_longest_line_of_a_table(tmp_path):
    (tmp_path / "t.csv").write_text(f"k,v\n1,{'x' * 70}\n")

    def keys(options):
        lookup = Lookup(files=str(tmp_path / "t.csv"), key="k", **options)
        sources = tuple(find_lookup("impressions", "t", lookup))
        try:
            join = Join("t", sources, lookup.model_dump_json(), "k", "k", (("v", "text"),))
            return load(join).keys.to_pylist()
        except FunnelError as error:
            return str(error)

    differs(keys, {}, {"max_line_bytes": 64})


OPTIONS = {
    *SIMULATED,
    "Lookup.max_line_bytes",
    *(f"Stream.{name}" for name in CSV),
    "Stream.common",
}

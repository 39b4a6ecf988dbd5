"""Options of logs, features and simulations that would change nothing are refused."""

import pytest
from effects import ALONE, BASE, NUMBERS, TABLE, changed

from features.errors import FunnelError
from funnel.config.config import load
from pipeline.plan import make_plan

REFUSED = [  # sections instead of BASE's, changes, the error
    (
        {},
        {"logs.clicks.multiline": True, "logs.clicks.quote": ""},
        r"logs\.clicks\.multiline = true is for quoted values, and quote = \"\" has none",
    ),
    *(
        (
            {},
            {"logs.clicks.format": "jsonl", f"logs.clicks.{option}": value},
            rf"logs\.clicks\.{option} = .* is for csv.*, and the files are jsonl: leave it out",
        )
        for option, value in (
            *(("columns", ["a"]), ("separator", ";"), ("quote", "'")),
            *(("multiline", True), ("strip", False)),
        )
    ),
    ({}, {"logs.clicks.common": "c.csv"}, r"logs\.clicks\.common is read only with format = 'ali"),
    (
        TABLE,
        {"logs.table.time_unit": "s"},
        r"logs\.table\.time_unit = 's' is the unit of times, and no column is read as one",
    ),
    (TABLE, {"split.immature": "keep"}, r"split\.immature = 'keep' is for labels from events"),
    (
        TABLE,
        {"split.logs_end": "2026-11-01T00:00:00Z"},
        r"split\.logs_end = '2026-11-01 00:00:00\+00:00' is for labels from events",
    ),
    (
        {},
        {"output.shards": 2, "output.shard_input": 1 << 21},
        r"output\.shard_input = 2097152 decides the number of shards, and shards = 2 gives it",
    ),
    ({}, {"logs.clicks.touch": "last"}, r"logs\.clicks\.touch = 'last' chooses nothing"),
    (
        {},
        {"simulate.compress": {"impressions": True}},
        r"simulate: compress is for text, and format\.impressions = 'parquet' compresses itself",
    ),
    (
        {},
        {"simulate.compress": True, "simulate.format": "parquet"},
        r"simulate: compress is for text, and format\.impressions = 'parquet' compresses itself",
    ),
    (
        {},
        {"simulate.late": 0, "simulate.late_by": "1d"},
        r"simulate: late_by = 1d changes nothing where late = 0: give late, or leave late_by out",
    ),
    (
        {},
        {"simulate.signal": 0, "simulate.correlation": 0.9},
        r"simulate: correlation = 0\.9 changes nothing where signal = 0: give signal, or leave",
    ),
]


@pytest.mark.parametrize(("sections", "changes", "error"), REFUSED)
def test_an_option_that_would_do_nothing_is_refused(sections, changes, error):
    with pytest.raises(FunnelError, match=error):
        load(changed(BASE | sections, changes)).check()


@pytest.mark.parametrize("sections", [{}, TABLE, ALONE, NUMBERS])
def test_without_it_the_configuration_is_valid(sections):
    """And again where every default is written out, as in a run's config.toml."""
    resolved = load(BASE | sections).resolved()
    load(resolved).check()
    assert load(resolved).resolved() == resolved


def test_options_of_files_that_turn_out_to_be_of_another_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.jsonl").write_text('{"click": "1", "user": "u"}\n')
    (tmp_path / "users.jsonl").write_text('{"user": "u", "age": 3}\n')
    own = changed(BASE | TABLE, {"logs.table.files": "table.jsonl"})
    make_plan(load(own).preprocess)
    with pytest.raises(
        FunnelError, match=r"logs\.table\.separator = ';' is for csv and aliccp, .*jsonl"
    ):
        make_plan(load(changed(own, {"logs.table.separator": ";"})).preprocess)
    lookup = {"files": "users.jsonl", "key": "user", "separator": ";"}
    with pytest.raises(
        FunnelError, match=r"logs\.table\.lookups\.users\.separator = ';' is for csv"
    ):
        make_plan(load(changed(own, {"logs.table.lookups": {"users": lookup}})).preprocess)

"""The parts of `funnel init`: names, profiles, keys, kinds, windows, leaks, and TOML."""

import itertools
import string
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.settings import parse_duration
from funnel.init import keys, kinds
from funnel.init.crosses import propose_crosses
from funnel.init.joins import find_join, rows_stream
from funnel.init.labels import Label, event_labels
from funnel.init.leaks import find_leak, folds
from funnel.init.reading.columns import missing_texts, profiles, times
from funnel.init.reading.sample import Sample
from funnel.init.reading.streams import Log, stream_name
from funnel.init.toml import Line, Section, key, render, value

T0, HOUR, DAY = 1_790_000_000, 3600, 86_400


def stream(name, *, total=None, **columns):
    """A stream with its profiles and time; `total` rows of which the columns are a sample."""
    arrays = {k: v if isinstance(v, pa.Array) else pa.array(v) for k, v in columns.items()}
    rows = len(next(iter(arrays.values())))
    log = Log(name, [f"{name}.parquet"], [])
    sample = Sample(log, arrays, total or rows, total is None)
    missing = missing_texts(sample)
    found = keys.Stream(name, sample, profiles(sample, missing), missing)
    keys.find_time(found, None)
    return found


def profile(values, total=None):
    return stream("table", total=total, x=values).profiles["x"]


def proposal(values, name="x", labels=None, total=None):
    found = stream("table", total=total, **{name: values}).profiles[name]
    return kinds.propose(found, labels or {}, folds(found.rows))


# Names of streams


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("logs/impressions/*/part-0.parquet", "impressions"),
        ("s3://bucket/Ad_Clicks/2026/11/01/x.jsonl.gz", "clicks"),
        ("dt=2026-11-01/part-00001.csv", "table"),
        ("../data/adult.data.gz", "adult"),
        ("data/*.csv", "table"),
        ("user-events.v2.csv", "user_events_v2"),
    ],
)
def test_the_name_of_a_stream(path, name):
    assert stream_name(path) == name


# Profiles


def test_types_of_texts():
    found = stream(
        "table",
        whole=["1", "2", None],
        number=["1.5", "2", "-3e4"],
        time=["2026-11-01", "2026-11-02T10:00:00Z", None],
        text=["1", "x", "2026-11-01"],
        gone=pa.nulls(3),
    ).profiles
    assert [p.type for p in found.values()] == ["integer", "number", "time", "text", "text"]
    assert found["number"].numbers.tolist() == [1.5, 2, -30_000]
    assert found["whole"].missing == 1


@pytest.mark.parametrize("separator", ["|", ";", ","])
def test_texts_that_hold_lists(separator):
    texts = [separator.join(parts) for parts in itertools.permutations("abcd", 3)]
    found = profile([*texts, "a", None])
    assert found.separator == separator
    assert found.counts.tolist() == [3] * 24 + [1, 0]
    assert found.distinct == 4
    assert profile([f"{i}{separator}{i}" for i in range(40)]).separator is None


def test_texts_that_stand_for_nothing():
    found = stream("table", a=["1", "NA", "3"], b=["x", "NA", "?"], c=["none", "x", "y"])
    assert found.missing == ["?", "NA"]
    assert found.profiles["a"].type == "integer"
    assert found.profiles["c"].distinct == 3


def test_a_name_is_not_a_missing_value():
    assert stream("table", country=["NA", "DE", "FR"]).missing == []


def test_estimated_distinct_values():
    seen = [0, 0, 1, 1, 2, 3]  # 2 and 3 once
    assert profile(seen).estimate == 4
    assert profile(seen, total=6 * 9).estimate == 4 + (3 - 1) * 2  # √9 = 3


def test_the_estimate_is_near_the_truth():
    rng = np.random.default_rng(1)
    drawn = rng.zipf(1.5, 200_000) % 50_000
    truth = len(np.unique(drawn))
    estimate = profile(drawn[:20_000], total=200_000).estimate
    assert truth / 2 < estimate < 2 * truth


def test_times_of_every_unit():
    seconds = np.arange(3) * HOUR + T0
    for values in (seconds, seconds * 1000, seconds.astype(str), seconds * 1_000_000):
        assert times(profile(values)).tolist() == (seconds * 1e6).tolist()


# Kinds


@pytest.mark.parametrize(
    ("values", "name", "declared"),
    [
        (["a", "b"] * 50, "x", {"kind": "categorical", "min_count": 1, "dim": 8}),
        (
            [f"v{i % 2000}" for i in range(6000)],
            "x",
            {"kind": "categorical", "buckets": 20_000, "dim": 8},
        ),
        (list(range(5)) * 20, "x", {"kind": "categorical", "min_count": 1, "dim": 8}),
        (list(range(5)) * 20, "weeks", {"kind": "numeric"}),
        ([7, *range(99)] * 2, "x", {"kind": "numeric"}),
        ([7, *range(99)] * 2, "shop_id", {"kind": "categorical", "min_count": 1, "dim": 8}),
        ([0.5, 1.5, 99.25, 1.25] * 10, "x", {"kind": "numeric", "transform": "log1p"}),
        ([-0.5, 1.5, 99.25, 1.25] * 10, "x", {"kind": "numeric"}),
        ([True, False] * 20, "x", {"kind": "categorical", "min_count": 1, "dim": 8}),
        (
            [["a"], ["a", "b"], [], None] * 20,
            "x",
            {"kind": "categorical", "min_count": 1, "dim": 8, "max_length": 2},
        ),
        (
            ["a|b", "c", "b|c|a", "b"] * 20,
            "x",
            {"kind": "categorical", "min_count": 1, "dim": 8, "max_length": 3, "separator": "|"},
        ),
        (
            [["a", "b", "c"], ["c"]] * 20,
            "recent_items",
            {"kind": "sequence", "min_count": 1, "dim": 8, "max_length": 3},
        ),
        (
            [f"2026-11-{1 + i % 20:02d}" for i in range(80)],
            "x",
            {"kind": "time", "part": "weekday", "dim": 4},
        ),
        (
            [f"2026-11-{1 + i % 20:02d}T0{i % 9}:00:00" for i in range(80)],
            "x",
            {"kind": "time", "part": "hour", "dim": 4},
        ),
    ],
)
def test_the_kind_that_suits_a_column(values, name, declared):
    assert proposal(values, name).declaration == declared


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([None] * 40, "no value in 40 rows"),
        (["x"] * 40, "constant: 'x' in all 40 rows"),
        (["x"] * 999 + ["y"], "nearly constant: 1 of 1,000 rows differ"),
        ([f"v{i}" for i in range(40)], "looks like an id of the row: 40 distinct in 40 rows"),
        (["word " * 20 + str(i) for i in range(40)], "looks like prose: 40 distinct in 40 rows"),
        (list(range(5, 45)), "numbers the rows: it rises from row to row"),
        ([[0.5, 1.0], [2.0]] * 20, "holds list<item: double>: no kind of feature reads it"),
        (
            [f"2026-11-01T0{i % 9}:00:00" for i in range(40)],
            "times that span less than a day",
        ),
    ],
)
def test_what_is_left_out(values, why):
    found = proposal(values)
    assert (found.declaration, found.why) == (None, why)


def test_buckets_hold_the_estimate_of_the_whole_stream():
    values = [f"v{i}" for i in range(2000)] * 2 + [f"w{i}" for i in range(2000)]
    found = proposal(values, total=600_000)  # 2,000 + √100 · 2,000 + …
    assert found.declaration == {"kind": "categorical", "buckets": 220_000, "dim": 8}
    assert found.why == ("4,000 distinct in 6,000 rows (about 22,000 in all); 10 % share a bucket")


def test_hours_need_enough_rows_of_each_label():
    values = [f"2026-11-{1 + i // 24:02d}T{i % 24:02d}:00:00" for i in range(480)]
    few = {"click": (np.arange(480) % 10 == 0).astype(np.int8)}
    found = proposal(values, labels=few)
    assert found.why == "a time; 48 rows of label 1 are few for the 24 values of its hour"
    many = {"click": (np.arange(480) % 2).astype(np.int8)}
    assert proposal(values, labels=many).declaration["part"] == "hour"


def test_whole_numbers_without_order_are_categories():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 200, 40_000)
    rate = rng.random(200)[codes]  # neighbors have nothing in common
    names = {"click": (rng.random(40_000) < rate).astype(np.int8)}
    rises = {"click": (rng.random(40_000) < codes / 200).astype(np.int8)}
    assert proposal(codes, labels=names).declaration["kind"] == "categorical"
    assert proposal(codes, labels=rises).declaration["kind"] == "numeric"


# Keys and windows


def event_logs(n=2000, step=300):
    """Impressions every `step` seconds, a click on each second one, a conversion on each tenth."""
    rng = np.random.default_rng(0)
    ts = T0 + np.arange(n) * step
    ids = np.array([f"i{i}" for i in range(n)])
    users = rng.integers(0, 90, n)
    shown = stream("impressions", imp=ids, ts=ts, user_id=users, other=ids[::-1].copy())
    delay = rng.integers(1, 61, n)  # seconds
    clicked, bought = np.arange(0, n, 2), np.arange(0, n, 10)
    names = np.char.add("c", ids)
    clicks = stream("clicks", imp=ids[clicked], ts=(ts + delay)[clicked], click_id=names[clicked])
    later = delay + rng.integers(1, 10 * HOUR, n)
    conversions = stream("conversions", imp=ids[bought], ts=(ts + later)[bought])
    through = stream("conversions", click=names[bought], ts=(ts + later)[bought])
    return shown, clicks, conversions, through


def test_the_join_is_found_by_values():
    shown, clicks, conversions, _ = event_logs()
    find_join(shown, [clicks, conversions], None)
    assert (shown.id, clicks.id, conversions.id) == ("imp", "imp", "imp")
    assert (shown.time, clicks.joined, conversions.joined) == ("ts", 1.0, 1.0)
    assert keys.find_group(shown, None) == "user_id"
    assert rows_stream([clicks, shown]) is shown


def test_windows_from_the_delays():
    shown, clicks, conversions, _ = event_logs()
    find_join(shown, [clicks, conversions], None)
    click, convert = event_labels(shown, [clicks, conversions], 7 * DAY * 1e6)
    assert click.declaration == {"event": "clicks", "within": "1m"}
    assert click.why == "99 % of 1,000 came within 1.0 minutes of the impression"
    assert convert.declaration == {"event": "conversions", "within": "12h", "after": "click"}
    assert (click.task, convert.task, convert.given) == ("ctr", "cvr", "click")
    assert (click.rate, convert.rate) == (0.5, 0.2)
    assert convert.window == (60 + 12 * HOUR) * 1e6


def test_a_window_leaves_rows_that_mature():
    shown, clicks, conversions, _ = event_logs()
    find_join(shown, [clicks, conversions], None)
    _, convert = event_labels(shown, [clicks, conversions], DAY * 1e6)
    assert convert.declaration["within"] == "6h"
    assert "cut to a quarter of the logs' span, which holds " in convert.why


def test_conversions_that_name_their_click():
    shown, clicks, _, through = event_logs()
    find_join(shown, [clicks, through], None)
    assert (clicks.key, through.via, through.id) == ("click_id", "clicks", "click")
    _, convert = event_labels(shown, [clicks, through], 7 * DAY * 1e6)
    assert convert.declaration == {"event": "conversions", "within": "12h", "after": "click"}


def test_rows_in_order_match_by_chance_but_not_in_time():
    """Both streams number their rows; only the name of the impression joins."""
    n = 400
    ts = T0 + np.arange(n) * HOUR
    shown = stream("impressions", row=np.arange(n), imp=[f"i{i}" for i in range(n)], ts=ts)
    late = np.arange(n - 100, n)
    clicks = stream("clicks", row=np.arange(100), imp=[f"i{i}" for i in late], ts=ts[late] + 5)
    find_join(shown, [clicks], None)
    assert (shown.id, clicks.id) == ("imp", "imp")


# Leaks


def leak(values, label):
    found = stream("table", x=values).profiles["x"]
    one = Label("click", "ctr", {}, "", np.asarray(label, np.int8))
    return find_leak(found, [one], folds(found.rows))


def test_leaks():
    rng = np.random.default_rng(0)
    label = (rng.random(4000) < 0.2).astype(np.int8)
    seen = pc.if_else(pa.array(label == 1), pa.array(rng.random(4000)), None)
    some = pc.if_else(pa.array((label == 1) & (rng.random(4000) < 0.3)), 5, 0)
    assert leak(label + 7, label).why == "leak: alone it predicts click with AUC 1.000"
    assert leak(seen, label).why == "leak: it is there, or above 0, only where click is 1"
    assert leak(some, label).why == "leak: it is there, or above 0, only where click is 1"
    strong = np.where(rng.random(4000) < 0.1, rng.integers(0, 2, 4000), label)
    found = leak(strong, label)
    assert found is not None
    assert not found.certain
    assert found.why.startswith("CHECK: alone it predicts click with AUC 0.9")
    assert leak(rng.integers(0, 9, 4000), label) is None
    assert leak([f"u{i}" for i in range(4000)], label) is None


# Crosses


def crosses(label, **columns):
    found = stream("table", **columns).profiles
    return propose_crosses(found, [Label("click", "ctr", {}, "", np.asarray(label, np.int8))])


def test_a_cross_where_two_columns_say_more_together():
    rng = np.random.default_rng(2)
    a, b, c = rng.integers(0, 4, (3, 20_000))
    agree = (rng.random(20_000) < np.where(a == b, 0.6, 0.2)).astype(np.int8)
    (line,) = crosses(agree, a=a, b=b, c=c)
    assert line.key == "a_x_b"
    assert line.value == {"kind": "cross", "of": ["a", "b"], "buckets": 1250, "dim": 8}
    assert line.comment.startswith("AUC on click together 0.6")
    apart = (rng.random(20_000) < (1 + a + b) / 8).astype(np.int8)
    assert crosses(apart, a=a, b=b, c=c) == []
    assert crosses(agree[:900], a=a[:900], b=b[:900]) != []
    assert crosses(agree[:300], a=a[:300], b=b[:300]) == []  # fewer than 200 rows of label 1


# TOML

unusual = st.sampled_from(string.printable + "é世\x00\x1f\x7f\x85\u2028")
odd = st.text(st.one_of(unusual, st.characters(codec="utf-8")), max_size=12)
scalars = st.one_of(odd, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(-1e9, 1e9))
contents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(odd, contents, max_size=4), st.lists(odd, max_size=3))
def test_any_content_parses_back(content, comments):
    comment = " ".join(comments)
    lines = [Line(name, one, comment) for name, one in content.items()]
    written = render(comments, [Section("a", lines, comment, notes=comments)])
    assert tomllib.loads(written) == {"a": content}


def test_the_text_is_aligned():
    section = Section(
        "features",
        [
            Line("user_id", {"buckets": 1_000_000}, "many"),
            Line("a b", ["x"], "one"),
            Line("c", 1.5),
        ],
        "columns",
        notes=["the end"],
    )
    assert render(["By hand.", ""], [section]) == (
        "# By hand.\n"
        "#\n"
        "\n"
        "[features]  # columns\n"
        "user_id = { buckets = 1_000_000 }  # many\n"
        '"a b"   = ["x"]                    # one\n'
        "c       = 1.5\n"
        "# the end\n"
    )


def test_long_lists_take_several_lines():
    names = [f"column_{i}" for i in range(20)]
    written = render([], [Section("", [Line("columns", names)])])
    assert max(map(len, written.splitlines())) < 100
    assert tomllib.loads(written) == {"columns": names}


def test_what_toml_has_no_value_for():
    with pytest.raises(TypeError, match="NoneType is not a value of TOML"):
        value(None)
    assert key("") == '""'


def test_every_window_is_a_duration_of_the_configuration():
    from funnel.init.labels import WINDOWS

    assert list(WINDOWS) == sorted(WINDOWS)
    assert parse_duration("12h").total_seconds() in WINDOWS

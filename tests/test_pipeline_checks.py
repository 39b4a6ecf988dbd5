"""pipeline.checks: sections that do not fit together are refused with key, rule and remedy; and
what follows from sections that do.
"""

import pytest
from pipeline_logs import make_config

from features.errors import FunnelError
from pipeline.checks import check_config

IMPRESSIONS = {"files": "i*.jsonl", "id": "id", "time": "ts"}
EVENTS = {"files": "e*.jsonl", "id": "id", "time": "ts"}
CLICK = {"event": "clicks", "within": "30m"}
CONVERT = {"event": "conversions", "within": "1d", "after": "click"}


def config_of(logs, labels=None, **sections):
    labels = {"click": CLICK, "convert": CONVERT} if labels is None else labels
    return make_config(
        "x", logs=logs, labels=labels, tasks={"t": {"label": next(iter(labels))}}, **sections
    )


def streams(**changes):
    """The three streams; a stream changed to None is left out."""
    logs = {"impressions": IMPRESSIONS, "clicks": EVENTS, "conversions": EVENTS}
    for name, change in changes.items():
        logs[name] = None if change is None else logs.get(name, EVENTS) | change
    return {name: stream for name, stream in logs.items() if stream is not None}


KEY, VIA = {"key": "click"}, {"via": "clicks"}


@pytest.mark.parametrize(
    "logs",
    [
        streams(),
        streams(clicks=KEY, conversions=VIA),
        streams(clicks=KEY, conversions=VIA | {"touch": "last"}),
        streams(conversions={"touch": "last"}),
        streams(shares=VIA, clicks=KEY) | {"conversions": EVENTS | VIA},
    ],
)
def test_what_fits_together(logs):
    labels = {"click": CLICK, "convert": CONVERT} | (
        {"share": CONVERT | {"event": "shares"}} if "shares" in logs else {}
    )
    config = config_of(logs, labels)
    assert check_config(config) is config


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        (streams(impressions=None), "declare either impressions or table"),
        (streams(table={}), "declare either impressions or table"),
        (streams(clicks=None), r"labels\.click\.event = 'clicks' is not a stream of logs"),
        (streams(carts={}), r"logs\.carts: no label reads this stream"),
        (streams(clicks={"time": None}), r"logs\.clicks\.time is missing"),
        (streams(impressions={"time": None}), r"logs\.impressions\.time is missing"),
        (streams(impressions={"id": None}), r"logs\.impressions\.id is missing"),
        (streams(impressions=KEY), r"logs\.impressions\.key is for event streams"),
        (streams(impressions=VIA), r"logs\.impressions\.via is for event streams"),
        (streams(impressions={"touch": "last"}), r"logs\.impressions\.touch is for event streams"),
        (
            streams(clicks=KEY),
            r"logs\.clicks\.key = 'click': no stream goes via clicks; give one via = 'clicks'",
        ),
        (
            streams(conversions=VIA),
            r"logs\.clicks\.key is missing: the column of clicks that logs\.conversions\.id "
            r"refers to",
        ),
        (
            streams(conversions={"via": "click"}),
            r"conversions\.via = 'click' is not another event stream of logs: did you mean "
            r"'clicks'",
        ),
        (
            streams(conversions={"via": "impressions"}),
            r"logs\.conversions\.via = 'impressions' is not another event stream",
        ),
        (
            streams(conversions=KEY | {"via": "conversions"}),
            r"logs\.conversions\.via = 'conversions' is not another event stream",
        ),
        (
            streams(clicks=KEY | {"via": "conversions"}, conversions=KEY | VIA),
            r"logs\.clicks\.via = 'conversions', which itself goes via 'clicks': only one step "
            r"leads to the impression",
        ),
        (
            streams(clicks=KEY, shares=VIA, conversions=VIA),
            r"logs\.shares: no label reads this stream",
        ),
        (streams(clicks={"touch": "last"}), r"logs\.clicks\.touch = 'last' chooses nothing"),
        (streams(impressions={"format": "aliccp"}), r"logs\.impressions\.common is missing"),
        (
            streams(impressions={"common": "c.csv"}),
            r"logs\.impressions\.common is read only with format = 'aliccp'",
        ),
    ],
)
def test_what_does_not_fit_together(logs, message):
    with pytest.raises(FunnelError, match=message):
        check_config(config_of(logs))


def test_a_split_by_time_needs_times():
    config = config_of(
        {"table": {"files": "x.csv"}},
        {"rich": {"column": "income"}},
        split={"eval": {"last": "1d"}},
    )
    with pytest.raises(
        FunnelError,
        match=r"split\.eval\.last splits by time: name the time column in logs\.table\.time",
    ):
        check_config(config)


def test_a_stream_that_only_leads_elsewhere_needs_no_label():
    buy = {"buy": {"event": "conversions", "within": "1d"}}
    config = check_config(config_of(streams(clicks=KEY, conversions=VIA), buy))
    assert config.lookback("conversions") == config.window("buy") == 86_400_000_000


def test_a_slack_is_of_events_and_lengthens_the_search_for_touches_of_impressions():
    with pytest.raises(FunnelError, match=r"logs\.impressions\.slack is for event streams"):
        check_config(config_of(streams(impressions={"slack": "1s"}), {"click": CLICK}))
    buy = {"buy": {"event": "conversions", "within": "1d"}}
    config = check_config(config_of(streams(clicks=KEY | {"slack": "2s"}, conversions=VIA), buy))
    assert (config.slack("clicks"), config.slack("conversions")) == (2_000_000, 0)
    assert config.lookback("conversions") == 86_402_000_000


def test_what_the_sections_say_together():
    labels = {
        "click": CLICK,
        "dwell": {"event": "clicks", "value": "seconds", "of": "length", "after": "click"},
        "convert": CONVERT,
        "spent": {"event": "conversions", "within": "2d", "value": "amount"},
        "rate": {"value": "watched", "of": "length"},
    }
    config = check_config(
        config_of(streams(clicks=KEY, conversions=VIA | {"touch": "last"}), labels)
    )
    minute = 60_000_000
    assert [config.window(n) // minute for n in ("click", "dwell", "convert", "spent")] == [
        30,
        30,
        30 + 1440,
        2880,
    ]
    assert config.longest_window == 2880 * minute
    assert config.lookback("conversions") == 2880 * minute
    assert config.value_columns("clicks") == ["seconds", "length"]
    assert config.value_columns("conversions") == ["amount"]
    assert config.value_columns("impressions") == ["watched", "length"]
    counting = {name: config.counting(label) for name, label in config.event_labels.items()}
    assert counting == {"click": "first", "dwell": "first", "convert": "touched", "spent": "last"}
    assert config.vias == {"conversions": "clicks"}

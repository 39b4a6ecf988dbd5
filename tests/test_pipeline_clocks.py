"""pipeline.spans and pipeline.labeling.clocks: which times count for the end of the logs, and that
a wrong clock changes no other row's label.
"""

import itertools

import numpy as np
import pytest
from pipeline_logs import make_config, run, write_logs

from pipeline.labeling.clocks import Implausible, judge_clocks
from pipeline.labeling.split import calendar_of
from pipeline.output.label_warnings import clock_warnings
from pipeline.spans import fold_spans, longest_gap, spans_of

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
T0 = 1_780_000_000 * SECOND
Y2096 = 4_000_000_000 * SECOND
CLICK = {
    "labels": {"click": {"event": "clicks", "within": "6h"}},
    "tasks": {"ctr": {"label": "click"}},
}


def spans(config, **times):
    return {
        stream: spans_of(np.array(own, np.int64), longest_gap(config)) if own else None
        for stream, own in times.items()
    }


def judged(impressions, clicks=(), **streams):
    config = make_config("x", **CLICK)
    streams = {"impressions": impressions, "clicks": clicks} | streams
    return judge_clocks(config, spans(config, **streams))


def test_spans_are_those_of_any_parts_in_any_order():
    times = [0, 2, 4, 9, 10, 20, 23, 23, 31]
    whole = [[0, 4, 3], [9, 10, 2], [20, 23, 3], [31, 31, 1]]
    assert spans_of(np.array(times[::-1]), 3).table.tolist() == whole
    for cut, order in itertools.product((1, 2, 4), (1, -1)):
        parts = [spans_of(np.array(times[n::cut]), 3) for n in range(cut)]
        assert fold_spans([*parts, None][::order]).table.tolist() == whole
    assert fold_spans([None, None]) is None


def test_without_wrong_clocks_the_logs_end_at_their_latest_time():
    hours = [T0 + n * HOUR for n in range(100)]
    assert judged(hours, hours[::3]) == ({"impressions": hours[-1], "clicks": hours[-1]}, {})
    later = [hours[-1] + 6 * HOUR, hours[-1] + 12 * HOUR]  # each at most a window after another
    assert judged(hours, later) == ({"impressions": hours[-1], "clicks": later[-1]}, {})
    late = {"clicks": [hours[-1] + 6 * HOUR], "conversions": [hours[-1] + 12 * HOUR]}
    assert judged(hours, **late)[1] == {}
    assert judged([], [T0]) == ({"impressions": None, "clicks": T0}, {})
    assert judged(hours, [])[0] == {"impressions": hours[-1], "clicks": None}


def test_an_event_longer_than_the_longest_window_after_all_others_does_not_count():
    hours = [T0 + n * HOUR for n in range(100)]
    clicks = [T0, hours[-1] + 6 * HOUR + 1, Y2096]
    last, implausible = judged(hours, clicks, conversions=[Y2096 + 1])
    assert last == {"impressions": hours[-1], "clicks": T0, "conversions": None}
    assert implausible == {
        "clicks": Implausible(2, Y2096),
        "conversions": Implausible(1, Y2096 + 1),
    }


@pytest.mark.parametrize(
    ("many", "later", "plausible"),
    [
        (60, [Y2096], False),
        (50, [Y2096], False),
        (49, [Y2096], True),  # 1 of 50 is 2 %
        (200, [Y2096, Y2096 - 400 * DAY], False),
        (60, [T0 + 59 * HOUR + 30 * DAY], True),  # a gap in the logs
        (60, [T0 + 59 * HOUR + 30 * DAY + 1], False),
    ],
)
def test_few_impressions_far_from_the_others_do_not_count(many, later, plausible):
    hours = [T0 + n * HOUR for n in range(many)]
    last, implausible = judged([*later, *hours])
    if plausible:
        assert (last["impressions"], implausible) == (max(later), {})
    else:
        assert last["impressions"] == hours[-1]
        assert implausible == {"impressions": Implausible(len(later), max(later))}


def test_the_calendar_and_the_warnings():
    hours = [T0 + n * HOUR for n in range(60)]
    config = make_config("x", split={"eval": {"last": "1d"}}, **CLICK)
    times = spans(config, impressions=[*hours, Y2096], clicks=[T0, Y2096])
    calendar = calendar_of(config, times)
    assert (calendar.logs_end, calendar.mature_until) == (hours[-1], hours[-1] - 6 * HOUR)
    assert calendar.eval_from == hours[-1] - 6 * HOUR - DAY
    assert list(clock_warnings(config, times)) == [
        "logs.impressions: 1 of its times do not count for the end of the logs (the latest is "
        "2096-10-02T07:06:40+00:00): more than 30 days after the other impressions, and fewer "
        "than 2% of them; check the clocks, or set split.logs_end",
        "logs.clicks: 1 of its times do not count for the end of the logs (the latest is "
        "2096-10-02T07:06:40+00:00): more than 6h after the end of the logs, "
        "2026-05-31T07:26:40+00:00; check the clocks, or set split.logs_end",
    ]
    given = make_config("x", split={"logs_end": "2026-06-01T00:00:00Z"}, **CLICK)
    assert list(clock_warnings(given, times)) == []
    assert calendar_of(given, times).logs_end == 1_780_272_000 * SECOND


def test_a_click_of_2096_changes_no_label_of_another_row(tmp_path):
    seconds = T0 // SECOND
    shown = [
        {"id": f"i{n}", "ts": seconds + 2000 * n, "user": f"u{n % 5}", "tags": [], "price": n}
        for n in range(60)
    ]
    clicks = [{"id": f"i{n}", "ts": seconds + 2000 * n + 60} for n in range(0, 60, 3)]
    stray = {"id": "nobody", "ts": Y2096 // SECOND}
    found = []
    for name, more in (("right", []), ("wrong", [stray])):
        write_logs(tmp_path / name, shown, clicks + more)
        logs = {
            stream: {"files": f"{tmp_path}/{name}/{stream}.jsonl", "id": "id", "time": "ts"}
            for stream in ("impressions", "clicks")
        }
        found.append(run(tmp_path / name, logs=logs, **CLICK))
    (right, rows), (wrong, others) = found
    assert (others, wrong["calendar"]) == (rows, right["calendar"])
    assert wrong["rows"] == right["rows"]
    assert wrong["rows"]["dropped_immature"] == 11
    assert [s["sha256"] for s in wrong["shards"]["train"]] == [
        s["sha256"] for s in right["shards"]["train"]
    ]
    (new,) = [line for line in wrong["warnings"] if line not in right["warnings"]]
    assert new.startswith("logs.clicks: 1 of its times do not count for the end of the logs")

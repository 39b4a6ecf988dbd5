"""pipeline.labels: against a slow reference that looks at one impression at a time; and the truth table of the split."""

import itertools
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_logs import make_config

from pipeline.join import Events
from pipeline.labels import DROPPED, EVAL, TRAIN, Calendar, assign_split, label_events, make_calendar

SECOND = 1_000_000
TIMES = st.integers(0, 12).map(lambda t: t * SECOND)


def config_of(folder, click=3, convert=4, **changes):
    labels = {
        "click": {"event": "clicks", "within": f"{click}s"},
        "convert": {"event": "conversions", "within": f"{convert}s", "after": "click"},
    }
    return make_config(folder, labels=labels, **changes)


def reference(start, within, events, logs_end):
    """(value, the event's time) of one label of one impression; `start` is None where what must come before did not happen."""
    if start is None:
        return 0, None
    inside = [t for t in events if start <= t <= start + within]
    if inside:
        return 1, min(inside)
    return (0 if start + within <= logs_end else -1), None


def disposition(start, within, time, first):
    """What becomes of one event of a known impression, `first` being the one that counts."""
    if start is None:
        return "unprecedented"
    if time < start:
        return "before"
    return "late" if time > start + within else "matched" if time == first else "duplicate"


@st.composite
def logs(draw):
    """Times of impressions, and (row, time) of clicks and conversions; row −1 is an orphan."""
    impressions = draw(st.lists(TIMES, max_size=6))
    events = st.lists(st.tuples(st.integers(-1, len(impressions) - 1), TIMES), max_size=25)
    return impressions, draw(events), draw(events)


@given(logs(), st.integers(0, 5), st.integers(0, 5), TIMES)
@settings(deadline=None, max_examples=400)
def test_label_events_equals_a_slow_reference(rows, click_within, convert_within, logs_end):
    impressions, *streams = rows
    config = config_of("x", click_within, convert_within)
    events = {
        name: Events(np.array([r for r, _ in stream], np.int64), np.array([t for _, t in stream], np.int64))
        for name, stream in zip(("clicks", "conversions"), streams, strict=True)
    }
    outcomes = label_events(config, np.array(impressions, np.int64), events, logs_end)
    expected = {"click": Counter(), "convert": Counter()}
    for row, shown in enumerate(impressions):
        start, known = shown, 0
        for (name, within), stream in zip({"click": click_within, "convert": convert_within}.items(), streams, strict=True):
            within *= SECOND
            own = [t for r, t in stream if r == row]
            value, time = reference(start, within, own, logs_end)
            if start is None:  # the conversion of an impression whose click is unknown is unknown, too
                value = known
            assert outcomes[name].value[row] == value
            if time is not None:
                assert outcomes[name].time[row] == time
            kinds = [disposition(start, within, t, time) for t in own]
            if kinds.count("matched") > 1:  # equal times: one counts
                kinds = [k for k in kinds if k != "matched"] + ["matched"] + ["duplicate"] * (kinds.count("matched") - 1)
            expected[name].update(kinds)
            start, known = time, min(value, 0)
    for name, stream in zip(expected, streams, strict=True):
        expected[name]["orphan"] = sum(r == -1 for r, _ in stream)
        assert {k: n for k, n in outcomes[name].counts.items() if n} == {k: n for k, n in expected[name].items() if n}
        assert sum(outcomes[name].counts.values()) == len(stream)


NOW, MATURE = 100 * SECOND, 90 * SECOND


def split_of(config, *, time=0, by_file=0, by_hash=0.9, labels=(0,), eval_from=None):
    values = [np.array([label], np.int8) for label in labels]
    calendar = Calendar(NOW, MATURE, eval_from)
    return int(assign_split(config, np.array([time]), np.array([by_file], np.int8), np.array([by_hash]), values, calendar)[0])


@pytest.mark.parametrize("immature", ["drop", "keep"])
@pytest.mark.parametrize("kind", ["fraction", "files", "last"])
def test_split_truth_table(tmp_path, kind, immature):
    (tmp_path / "eval.jsonl").touch()
    evaluation = {"fraction": {"fraction": 0.5}, "files": {"files": f"{tmp_path}/eval.jsonl"}, "last": {"last": "10s"}}[kind]
    config = config_of(tmp_path, split={"eval": evaluation, "immature": immature})
    for chosen, mature, known in itertools.product((False, True), repeat=3):
        labels = (-1, 0) if known else (-1, -1)
        if kind == "last":
            if chosen and not mature:
                continue  # what is immature is never in the last period of mature rows
            time = MATURE - (0 if chosen else 10 * SECOND) if mature else MATURE + 1
        else:
            time = MATURE if mature else MATURE + 1
        got = split_of(
            config, time=time, by_file=int(chosen), by_hash=0.49 if chosen else 0.5, labels=labels, eval_from=MATURE - 10 * SECOND
        )
        dropped = not known or (not mature and (chosen or immature == "drop"))
        expected = DROPPED if dropped else EVAL if chosen else TRAIN
        assert got == expected, (chosen, mature, known)


@pytest.fixture
def tokyo(monkeypatch):
    """A machine whose local time is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_without_event_labels_everything_is_mature(tmp_path):
    config = make_config(
        tmp_path,
        logs={"table": {"files": "x.csv"}},
        labels={"rich": {"column": "income"}},
        tasks={"income": {"label": "rich"}},
    )
    assert split_of(config, time=NOW, labels=(1,)) == TRAIN
    assert split_of(config, time=NOW, by_hash=0.1, labels=(0,)) == EVAL
    assert split_of(config, time=NOW, labels=(-1,)) == DROPPED


@pytest.mark.parametrize(
    ("split", "times", "expected"),
    [
        ({"eval": {"fraction": 0.5}}, {"impressions": 50, "clicks": 100}, (100, 93, None)),
        ({"eval": {"fraction": 0.5}}, {"impressions": None, "clicks": None}, (0, -7, None)),
        ({"eval": {"last": "20s"}}, {"impressions": 99, "clicks": 100}, (100, 93, 73)),
        ({"eval": {"last": "20s"}}, {"impressions": 50, "clicks": 100}, (100, 93, 30)),  # counts from the last impression
        ({"eval": {"last": "20s"}, "logs_end": "1970-01-01T00:01:00"}, {"impressions": 99}, (60, 53, 33)),  # UTC wherever it runs
        ({"eval": {"last": "20s"}, "logs_end": "1970-01-01T02:01:00+02:00"}, {"impressions": 99}, (60, 53, 33)),
    ],
)
def test_calendar(split, times, expected, tokyo):
    calendar = make_calendar(config_of("x", split=split), {k: t and t * SECOND for k, t in times.items()})
    seconds = SimpleNamespace(**{k: v if v is None else v / SECOND for k, v in vars(calendar).items()})
    assert (seconds.logs_end, seconds.mature_until, seconds.eval_from) == expected

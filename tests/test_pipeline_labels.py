"""pipeline.labeling.labels: literal rows for every rule of docs/labels.md, and any events against
tests/naive_labels.py, which looks at one impression at a time.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_labels import event_label
from random_logs import LABEL

from features.labels import EventLabel, ValueLabel
from pipeline.labeling.join import Events
from pipeline.labeling.labels import DISPOSITIONS, label_one
from pipeline.labeling.values import ratio, running, value_label

SECOND = 1_000_000
END = 1000  # of the logs, in seconds, unless a test says otherwise


def label_of(**keys):
    return EventLabel.parse({"event": "clicks", "within": "10s"} | keys)


def events_of(*events, touched=None):
    """(row, time in s) or (row, time, value) or (row, time, value, of); None = missing."""
    rows, times, values, of = ([(*e, None, None)[i] for e in events] for i in range(4))
    numbers = {"v": np.array(values, np.float64), "of": np.array(of, np.float64)}
    touched = None if touched is None else np.array(touched, np.int64) * SECOND
    return Events(np.array(rows, np.int64), np.array(times, np.int64) * SECOND, numbers, touched)


def outcome(label, shown, events, end=END, **keys):
    return label_one(label, np.array(shown, np.int64) * SECOND, events, end * SECOND, **keys)


def counts(result):
    return {kind: count for kind, count in result.counts.items() if count}


CLICK = label_of()
CONVERT = label_of(event="conversions", within="20s", after="click")


def test_binary_label_of_each_situation():
    shown = [100] * 8
    clicks = events_of(
        (1, 105), (2, 100), (3, 110), (4, 111), (5, 99), (6, 108), (6, 103), (6, 107), (-1, 105)
    )
    click = outcome(CLICK, shown, clicks)
    #                           none  inside  at once  at the end  late  before  three  none
    assert click.value.tolist() == [0, 1, 1, 1, 0, 0, 1, 0]
    assert click.time[[1, 2, 3, 6]].tolist() == [
        t * SECOND for t in (105, 100, 110, 103)
    ]  # the earliest of three
    assert counts(click) == {"matched": 4, "duplicate": 2, "too_early": 1, "late": 1, "orphan": 1}


def test_a_label_after_another_counts_from_its_first_event():
    shown = [100] * 7
    click = outcome(
        CLICK, shown, events_of((0, 105), (0, 109), (1, 105), (2, 105), (3, 105), (4, 111))
    )
    convert = outcome(
        CONVERT,
        shown,
        events_of((0, 125), (1, 126), (2, 104), (3, 105), (4, 112), (5, 103), (-1, 103)),
        parent=click,
    )
    assert convert.value.tolist() == [1, 0, 0, 1, 0, 0, 0]
    assert counts(convert) == {
        "matched": 2,
        "late": 1,
        "too_early": 1,
        "without_parent": 2,
        "orphan": 1,
    }


def test_a_label_is_unknown_while_its_window_is_open():
    #        closed, clicked; closed, not; open, clicked; open, not
    shown = [100, 100, 195, 195]
    click = outcome(CLICK, shown, events_of((0, 105), (2, 196)), end=200)
    assert click.value.tolist() == [1, 0, 1, -1]
    convert = outcome(CONVERT, shown, events_of(), end=200, parent=click)
    assert convert.value.tolist() == [
        0,
        0,
        -1,
        -1,
    ]  # without a click known, its conversion is neither
    assert outcome(CONVERT, shown, events_of((2, 199)), end=200, parent=click).value.tolist() == [
        0,
        0,
        1,
        -1,
    ]
    assert outcome(CLICK, [190, 191], events_of(), end=200).value.tolist() == [
        0,
        -1,
    ]  # closes at the very end


TWICE = events_of((0, 101), (0, 108))  # two clicks of one impression shown at 100


@pytest.mark.parametrize(
    ("counting", "bought", "value"),
    [
        ("first", 121, 1),
        ("first", 122, 0),  # 21 s after the first click
        ("last", 122, 1),
        ("last", 128, 1),
        ("last", 129, 0),
        ("last", 105, 1),  # the second click was still to come
        ("last", 100, 0),
    ],
)
def test_a_window_counts_from_the_first_click_or_from_the_last_before_the_event(
    counting, bought, value
):
    click = outcome(CLICK, [100], TWICE)
    assert outcome(
        CONVERT, [100], events_of((0, bought)), parent=click, counting=counting
    ).value.tolist() == [value]


@pytest.mark.parametrize(
    ("touched", "bought", "value", "kind"),
    [
        (108, 128, 1, "matched"),
        (101, 128, 0, "late"),  # of the other click
        (108, 107, 0, "too_early"),
        (111, 112, 0, "without_parent"),  # a click outside its own window leads to nothing
        (99, 112, 0, "without_parent"),
    ],
)
def test_a_window_counts_from_the_click_that_led_there(touched, bought, value, kind):
    click = outcome(CLICK, [100], events_of((0, 99), (0, 101), (0, 108), (0, 111)))
    convert = outcome(
        CONVERT, [100], events_of((0, bought), touched=[touched]), parent=click, counting="touched"
    )
    assert (convert.value.tolist(), counts(convert)) == ([value], {kind: 1})


def test_without_after_the_window_counts_from_the_impression_but_not_before_the_touch():
    bought = events_of((0, 105), (0, 104), touched=[104, 105])
    assert counts(outcome(CLICK, [100], bought)) == {"matched": 1, "too_early": 1}


@pytest.mark.parametrize(
    ("counting", "values"), [("first", [0, 0, -1]), ("last", [0, -1, -1]), ("touched", [0, -1, -1])]
)
def test_a_window_that_counts_from_the_last_click_stays_open_longer(counting, values):
    """Clicks at +1 and +8 s, a conversion's window of 20 s: it closes 21 s after the impression, or
    28 s.
    """
    shown = [172, 173, 180]
    click = outcome(
        CLICK, shown, events_of(*[(r, t + d) for r, t in enumerate(shown) for d in (1, 8)]), end=200
    )
    convert = outcome(
        CONVERT, shown, events_of(touched=[]), end=200, parent=click, counting=counting
    )
    assert convert.value.tolist() == values


def test_while_more_clicks_can_come_a_conversion_after_the_last_one_is_unknown():
    instant = label_of(event="conversions", within="1s", after="click")
    click = outcome(CLICK, [195], events_of((0, 196)), end=200)
    assert outcome(instant, [195], events_of(), end=200, parent=click).value.tolist() == [0]
    assert outcome(
        instant, [195], events_of(), end=200, parent=click, counting="last"
    ).value.tolist() == [-1]


VALUES = events_of(
    (0, 103, 2.0),
    (0, 101, 4.0),
    (0, 105, 1.0),
    (0, 111, 9.0),
    (1, 101, 0.5),
    (3, 103, None),
    (4, 101, None),
    (4, 102, 3),
)


@pytest.mark.parametrize(
    ("take", "values", "kinds"),
    [
        ("first", [4, 0.5, 0, -1, 3], {"matched": 3, "duplicate": 2}),
        ("last", [1, 0.5, 0, -1, 3], {"matched": 5}),
        ("sum", [7, 0.5, 0, -1, 3], {"matched": 5}),
        ("max", [4, 0.5, 0, -1, 3], {"matched": 5}),
    ],
)
def test_number_labels(take, values, kinds):
    dwell = outcome(label_of(value="v", take=take), [100] * 5, VALUES)
    assert dwell.value.dtype == np.float32
    assert (
        dwell.value.tolist() == values
    )  # row 2 has no event; that of row 3 has no number, so the label is unknown
    assert counts(dwell) == kinds | {"late": 1, "missing": 2}


@pytest.mark.parametrize(("take", "at_least", "values"), [
    ("first", 4, [1, 0, 0, -1, 0]),
    ("first", 4.5, [0, 0, 0, -1, 0]),
    ("last", 1, [1, 0, 0, -1, 1]),
    ("sum", 7, [1, 0, 0, -1, 0]),
    ("sum", 7.5, [0, 0, 0, -1, 0]),
    ("max", 3, [1, 0, 0, -1, 1]),
])  # fmt: skip
def test_a_threshold_makes_a_label_binary(take, at_least, values):
    watched = outcome(label_of(value="v", take=take, at_least=at_least), [100] * 5, VALUES)
    assert watched.value.dtype == np.int8
    assert watched.value.tolist() == values


@pytest.mark.parametrize(
    ("take", "number", "threshold"),
    [
        ("first", [4, 4, -1], [1, 1, -1]),
        ("last", [1, -1, -1], [0, -1, -1]),
        ("sum", [5, -1, -1], [1, 1, -1]),
        ("max", [4, -1, -1], [1, 1, -1]),
    ],
)
def test_what_is_known_of_a_number_while_its_window_is_open(take, number, threshold):
    """Shown 10 s, 9 s and 9 s before the end; 4 and then 1 were seen, of the last one nothing."""
    seen = events_of((0, 191, 4.0), (0, 192, 1.0), (1, 192, 4.0), (1, 193, 1.0))
    assert (
        outcome(label_of(value="v", take=take), [190, 191, 191], seen, end=200).value.tolist()
        == number
    )
    assert (
        outcome(
            label_of(value="v", take=take, at_least=3), [190, 191, 191], seen, end=200
        ).value.tolist()
        == threshold
    )


def test_the_first_number_settles_a_threshold_that_it_does_not_reach():
    assert outcome(
        label_of(value="v", at_least=3), [195], events_of((0, 196, 2.9)), end=200
    ).value.tolist() == [0]


def test_the_last_number_settles_nothing_before_the_window_closed():
    last = label_of(value="v", take="last", at_least=3)
    reached = outcome(last, [190, 191], events_of((0, 192, 4.0), (1, 192, 4.0)), end=200)
    assert reached.value.tolist() == [1, -1]
    assert outcome(
        CONVERT, [190, 191], events_of((0, 193), (1, 193)), end=200, parent=reached
    ).value.tolist() == [1, -1]


def test_half_of_the_video_by_two_columns():
    half = label_of(value="v", of="of", at_least=0.5)
    seen = events_of((0, 101, 30, 60), (1, 101, 29, 60), (2, 101, 5, 0), (3, 101, 5, None))
    assert outcome(half, [100] * 4, seen).value.tolist() == [
        1,
        0,
        0,
        -1,
    ]  # of nothing: 0; of an unknown length: unknown
    with np.errstate(all="raise"):
        assert ratio(np.array([1.0, np.nan, 6]), np.array([0.0, 0, 4])).tolist() == pytest.approx(
            [0, np.nan, 1.5], nan_ok=True
        )


def test_clip_then_transform():
    seen = events_of((0, 101, np.e - 1), (1, 101, 0.2), (2, 101, 1e300))
    shaped = outcome(
        label_of(value="v", clip=[0.5, np.e**2 - 1], transform="log1p"), [100] * 4, seen
    )
    np.testing.assert_allclose(
        shaped.value, [1, np.log(1.5), 2, 0], rtol=1e-6
    )  # without an event 0, whatever clip says
    assert outcome(label_of(value="v"), [100], events_of((0, 101, 1e300))).value.tolist() == [
        np.finfo(np.float32).max
    ]


def test_ties_in_time_are_broken_by_the_number():
    for values in ([3.0, 1.0, 2.0], [2.0, 3.0, 1.0]):
        seen = events_of(*[(0, 101, v) for v in values])
        assert outcome(label_of(value="v"), [100], seen).value.tolist() == [1]
        assert outcome(label_of(value="v", take="last"), [100], seen).value.tolist() == [3]


def test_a_number_of_the_very_event_of_another_label():
    clicks = events_of((0, 105, 7.0), (0, 106, 9.0), (1, 111, 5.0), (2, 103, 0.0))
    click = outcome(CLICK, [100] * 4, clicks)
    dwell = outcome(
        EventLabel.parse({"event": "clicks", "value": "v", "after": "click"}),
        [100] * 4,
        clicks,
        parent=click,
    )
    assert dwell.value.tolist() == [7, 0, 0, 0]
    assert counts(dwell) == {"matched": 2, "late": 1, "without_parent": 1}


@pytest.mark.parametrize(("take", "value"), [("sum", 9), ("last", 2), ("max", 7)])
def test_an_event_that_is_logged_twice_counts_once(take, value):
    seen = events_of((0, 101, 7.0), (0, 104, 2.0), (0, 101, 7.0), (1, 101, 7.0))
    watched = outcome(label_of(value="v", take=take), [100, 100], seen)
    assert watched.value.tolist() == [value, 7]
    assert counts(watched) == {"matched": 3, "duplicate": 1}


def test_a_label_after_a_threshold_counts_from_the_event_that_reached_it():
    seen = events_of((0, 101, 4.0), (0, 104, 7.0), (1, 101, 4.0))
    watched = outcome(label_of(value="v", take="sum", at_least=10), [100, 100], seen)
    share = label_of(event="shares", within="5s", after="watched")
    assert outcome(
        share, [100, 100], events_of((0, 109), (1, 109)), parent=watched
    ).value.tolist() == [1, 0]
    assert outcome(share, [100, 100], events_of((0, 110)), parent=watched).value.tolist() == [0, 0]
    for touched, kind in (
        (101, "without_parent"),
        (104, "matched"),
    ):  # after the first of them the sum was still too small
        led = outcome(
            share,
            [100, 100],
            events_of((0, 105), touched=[touched]),
            parent=watched,
            counting="touched",
        )
        assert counts(led) == {kind: 1}


def test_a_sum_is_the_same_whatever_lies_around_it():
    rows, numbers = (
        np.repeat(np.arange(40), 7),
        np.random.default_rng(1).lognormal(sigma=4, size=280),
    )
    sums = running("sum", rows, numbers)
    for row in range(40):
        own = rows == row
        assert sums[own].tolist() == running("sum", rows[own], numbers[own]).tolist()
    assert running("max", np.array([0, 0, 1, 1]), np.array([3.0, 1, 0, 2])).tolist() == [3, 3, 0, 2]


def test_a_number_of_the_impression_itself():
    numbers = np.array([0.0, 3, np.nan])
    assert value_label(ValueLabel(value="v"), numbers).tolist() == [0, 3, -1]
    assert value_label(ValueLabel(value="v", at_least=3), numbers).tolist() == [0, 1, -1]
    assert value_label(ValueLabel(value="v", clip=(1, 2)), numbers).tolist() == [1, 2, -1]


def test_events_up_to_the_slack_before_their_window_count():
    shown, clicks = [100] * 4, events_of((0, 98), (1, 97), (2, 98), (2, 99), (2, 100), (3, 110))
    click = outcome(CLICK, shown, clicks, slack=2 * SECOND)
    assert click.value.tolist() == [1, 0, 1, 1]
    assert click.time[[0, 2]].tolist() == [98 * SECOND, 98 * SECOND]  # their own times
    assert counts(click) == {"matched": 3, "too_early": 1, "duplicate": 2}
    assert click.early.cut == {"1s": 0, "1m": 0, "1h": 0, "1d": 0}  # by 3 s, at no whole minute
    convert = outcome(CONVERT, shown, events_of((0, 97), (0, 118), (2, 119)), parent=click)
    assert convert.value.tolist() == [1, 0, 0, 0]  # 20 s from the click's own time
    assert counts(convert) == {"matched": 1, "late": 1, "too_early": 1}


def test_the_last_click_before_an_event_may_be_up_to_the_slack_after_it():
    click = outcome(CLICK, [100], TWICE)
    bought = events_of((0, 107), (0, 106))
    convert = outcome(
        CONVERT, [100], bought, parent=click, counting="last", slack=SECOND
    )  # 107 counts from 108, 106 from 101
    assert counts(convert) == {"matched": 1, "duplicate": 1}
    short = label_of(event="conversions", within="2s", after="click")
    assert counts(outcome(short, [100], bought, parent=click, counting="last", slack=SECOND)) == {
        "matched": 1,
        "late": 1,
    }


def test_events_that_look_cut_to_a_coarser_unit():
    day = 86_400
    times = np.array([2 * day + 7200, 2 * day + 50, 60], np.int64) * SECOND
    events = Events(
        np.array([0, 1, 1, 2]),
        np.array([2 * day * SECOND, (2 * day + 49) * SECOND + 1, 2 * day * SECOND, 60 * SECOND]),
    )
    click = label_one(CLICK, times, events, 9 * day * SECOND)
    assert counts(click) == {"too_early": 3, "matched": 1}
    assert click.early.longest == 7200 * SECOND
    assert click.early.cut == {"1s": 1, "1m": 1, "1h": 1, "1d": 2}


TIMES = st.integers(0, 12)
NUMBERS = st.none() | st.integers(0, 4).map(float)
EVENT = st.tuples(
    st.integers(-1, 2), TIMES, NUMBERS, NUMBERS, TIMES
)  # row, time, value, of, touched


@st.composite
def labels(draw, **keys):
    keys |= {"within": f"{draw(st.integers(0, 5))}s"}
    if draw(st.booleans()):
        keys |= {"value": "v", "take": draw(st.sampled_from(["first", "last", "sum", "max"]))}
        keys |= {"of": "of"} if draw(st.booleans()) else {}
        keys |= {"at_least": draw(st.sampled_from([0.5, 1, 2, 3]))} if draw(st.booleans()) else {}
    return label_of(**keys)


def plain(label, slack):
    """A label as tests/naive_labels.py takes it, in seconds."""
    keys = {"within": label.window.seconds, "at_least": label.at_least or 0, "slack": slack}
    return LABEL | {key: getattr(label, key) for key in ("value", "of", "take")} | keys


def events_at(row, events, touched):
    """The events of an impression as tests/naive_labels.py takes them."""
    names = ("ts", "v", "of", "touched")[: 3 + touched]
    return [dict(zip(names, event[1:], strict=False)) for event in events if event[0] == row]


@given(
    st.lists(TIMES, min_size=3, max_size=3),
    st.tuples(labels(), labels(event="conversions", after="click")),
    st.lists(EVENT, max_size=15),
    st.lists(EVENT, max_size=15),
    st.sampled_from(["first", "last", "touched"]),
    TIMES,
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
@settings(deadline=None, max_examples=300)
def test_labels_equal_a_slow_reference(shown, declared, clicks, conversions, counting, end, slack):
    click = outcome(
        declared[0], shown, events_of(*[e[:4] for e in clicks]), end, slack=slack[0] * SECOND
    )
    touched = [e[4] for e in conversions] if counting == "touched" else None
    convert = outcome(
        declared[1],
        shown,
        events_of(*[e[:4] for e in conversions], touched=touched),
        end,
        parent=click,
        counting=counting,
        slack=slack[1] * SECOND,
    )
    expected = [
        Counter(orphan=sum(e[0] == -1 for e in clicks)),
        Counter(orphan=sum(e[0] == -1 for e in conversions)),
    ]
    for row in range(3):
        first = event_label(
            plain(declared[0], slack[0]), shown[row], events_at(row, clicks, False), end
        )
        own = events_at(row, conversions, counting == "touched")
        second = event_label(plain(declared[1], slack[1]), shown[row], own, end, first, counting)
        for got, wanted, kinds in zip((click, convert), (first, second), expected, strict=True):
            assert got.value[row] == pytest.approx(wanted["value"])
            assert got.happened[row] == (wanted["time"] is not None)
            assert not got.happened[row] or got.time[row] == wanted["time"] * SECOND
            kinds.update(wanted["kinds"])
    assert counts(click) == {k: n for k, n in expected[0].items() if n}
    assert counts(convert) == {k: n for k, n in expected[1].items() if n}
    assert tuple(click.counts) == DISPOSITIONS


@given(st.lists(EVENT, max_size=15), labels(), st.randoms())
@settings(deadline=None, max_examples=100)
def test_labels_do_not_depend_on_the_order_of_events(events, label, random):
    events = [e[:4] for e in events]
    shuffled = random.sample(events, len(events))
    first, second = (outcome(label, [3, 3, 5], events_of(*some), 12) for some in (events, shuffled))
    assert first.value.tobytes() == second.value.tobytes()
    assert first.counts == second.counts

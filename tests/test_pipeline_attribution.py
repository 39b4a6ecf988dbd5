"""pipeline.labeling.attribution: literal clicks and conversions, and every pair of them against a
slow search.
"""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import hashing
from pipeline.labeling.attribution import attribute, touches_of


def clicks(*rows):
    """(click id, impression, time)."""
    keys, ids, times = (
        (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    )
    return touches_of(
        pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "time": pa.array(times, pa.int64()),
                "key": pa.array(keys, pa.string()),
            }
        )
    )


def conversions(*rows):
    """(click id, time), each with its number."""
    ids, times = (
        pa.array([r[0] for r in rows], pa.string()),
        pa.array([r[1] for r in rows], pa.int64()),
    )
    values = pa.array(np.arange(len(rows), dtype=np.float64))
    return pa.table(
        {"id": ids, "hash": hashing.fingerprint64(ids), "time": times, "value:v": values}
    )


def led(bought, seen, touch="first", lookback=10, slack=0):
    """(impression, touched) of each conversion; the rest of the row is as it was."""
    result = attribute(bought, seen, touch, lookback, slack)
    assert result["value:v"].equals(bought["value:v"])
    assert result["time"].equals(bought["time"])
    known = [id_ is not None for id_ in result["id"].to_pylist()]
    fresh = hashing.fingerprint64(result["id"].combine_chunks())
    assert (np.where(known, fresh, bought["hash"].to_numpy()) == result["hash"].to_numpy()).all()
    return list(zip(result["id"].to_pylist(), result["touched"].to_pylist(), strict=True))


def test_a_click_id_leads_to_its_impression():
    seen = clicks(("c1", "i1", 5), ("c2", "日", 6), ("c3", "i1", 7))
    assert led(conversions(("c2", 9), ("c1", 9), ("c3", 7)), seen) == [
        ("日", 6),
        ("i1", 5),
        ("i1", 7),
    ]


def test_a_key_that_no_click_has_leads_nowhere_even_if_an_impression_is_called_so():
    seen = clicks(("c1", "i1", 5), (None, "i2", 5), ("", "i3", 5))
    assert led(conversions(("i1", 9), ("c2", 9)), seen) == [(None, None), (None, None)]
    assert led(conversions(("c1", 9)), clicks()) == [(None, None)]
    assert led(conversions(), seen) == []


def test_a_conversion_before_every_click_goes_with_the_first_one():
    assert led(conversions(("c", 4)), clicks(("c", "i2", 6), ("c", "i1", 5)), "last") == [("i1", 5)]


@pytest.mark.parametrize(
    ("touch", "time", "expected"),
    [
        ("first", 10, ("i1", 5)),
        ("last", 10, ("i2", 8)),
        ("first", 8, ("i1", 5)),
        ("last", 8, ("i2", 8)),  # at the very time
        ("first", 15, ("i1", 5)),
        ("first", 16, ("i2", 8)),  # the first was 11 before, the windows are at most 10 long
        ("first", 30, ("i3", 12)),  # all too old: the last of them, so that it counts as late
        ("last", 30, ("i3", 12)),
    ],
)
def test_first_and_last_touch_of_a_user(touch, time, expected):
    seen = clicks(("u", "i3", 12), ("u", "i1", 5), ("u", "i2", 8), ("other", "i4", 9))
    assert led(conversions(("u", time)), seen, touch) == [expected]


@pytest.mark.parametrize(
    ("touch", "slack", "time", "expected"),
    [
        ("last", 2, 10, ("i3", 12)),
        ("last", 1, 10, ("i2", 8)),
        ("first", 2, 10, ("i1", 5)),
        ("first", 2, 3, ("i1", 5)),
        ("first", 1, 3, ("i1", 5)),  # which is too early
        ("first", 2, 16, ("i2", 8)),  # the slack does not lengthen the windows
    ],
)
def test_a_touch_may_be_up_to_the_slack_after_the_event(touch, slack, time, expected):
    seen = clicks(("u", "i3", 12), ("u", "i1", 5), ("u", "i2", 8))
    assert led(conversions(("u", time)), seen, touch, slack=slack) == [expected]


def test_touches_of_one_time_are_told_apart_by_their_impression_not_by_their_order():
    seen = [("u", f"i{n}", 5) for n in range(6)]
    for touch in ("first", "last"):
        assert (
            len(
                {
                    led(conversions(("u", 7)), clicks(*some), touch)[0]
                    for some in itertools.permutations(seen, 6)
                }
            )
            == 1
        )


TOUCHES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["i", "j", "k"]), st.integers(0, 9)),
    max_size=8,
)


@given(
    TOUCHES,
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=8),
    st.sampled_from(["first", "last"]),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=300)
def test_attribution_equals_a_slow_search(seen, bought, touch, slack):
    for (key, time), (impression, touched) in zip(
        bought, led(conversions(*bought), clicks(*seen), touch, 4, slack), strict=True
    ):
        own = [t for k, _, t in seen if k == key]
        earlier = [t for t in own if t <= time + slack]
        near = [t for t in earlier if time - 4 <= t]
        if not own:
            assert impression is None
            continue
        expected = (
            (min(near) if touch == "first" and near else max(earlier)) if earlier else min(own)
        )
        assert touched == expected
        assert impression in {i for k, i, t in seen if (k, t) == (key, touched)}

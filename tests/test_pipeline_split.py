"""pipeline.labeling.split: the truth table of the split, the calendar, and the sampling of
negatives.
"""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pipeline_logs import make_config

from features import hashing
from pipeline.labeling.split import (
    DROPPED,
    EVAL,
    SAMPLED_OUT,
    TRAIN,
    Calendar,
    assign_split,
    check_apart,
    downsample,
    make_calendar,
)

SECOND = 1_000_000
NOW, MATURE = 100 * SECOND, 90 * SECOND


def config_of(folder, **changes):
    labels = {
        "click": {"event": "clicks", "within": "3s"},
        "convert": {"event": "conversions", "within": "4s", "after": "click"},
    }
    return make_config(folder, labels=labels, **changes)


def fingerprints(count):
    return hashing.fingerprint64(pa.array([f"i{n}" for n in range(count)]))


CHOSEN = fingerprints(100)[hashing.fractions(fingerprints(100), hashing.SPLIT) < 0.5][0]
OTHER = fingerprints(100)[hashing.fractions(fingerprints(100), hashing.SPLIT) >= 0.5][0]


def split_of(config, *, time=0, by_file=0, hash_=OTHER, labels=(0,), eval_from=None):
    values = [np.array([label], np.int8) for label in labels]
    calendar = Calendar(NOW, MATURE, eval_from)
    return int(
        assign_split(
            config,
            np.array([time]),
            np.array([by_file], np.int8),
            np.array([hash_]),
            values,
            calendar,
        )[0]
    )


@pytest.mark.parametrize("immature", ["drop", "keep"])
@pytest.mark.parametrize("kind", ["fraction", "files", "last"])
def test_split_truth_table(tmp_path, kind, immature):
    (tmp_path / "eval.jsonl").touch()
    evaluation = {
        "fraction": {"fraction": 0.5},
        "files": {"files": f"{tmp_path}/eval.jsonl"},
        "last": {"last": "10s"},
    }[kind]
    config = config_of(tmp_path, split={"eval": evaluation, "immature": immature})
    for chosen, mature, known in itertools.product((False, True), repeat=3):
        labels = (-1, 0) if known else (-1, -1)
        if kind == "last":
            if chosen and not mature:
                continue  # what is immature is never in the last period of mature rows
            at = MATURE - (0 if chosen else 10 * SECOND) if mature else MATURE + 1
        else:
            at = MATURE if mature else MATURE + 1
        got = split_of(
            config,
            time=at,
            by_file=int(chosen),
            hash_=CHOSEN if chosen else OTHER,
            labels=labels,
            eval_from=MATURE - 10 * SECOND,
        )
        dropped = not known or (not mature and (chosen or immature == "drop"))
        expected = DROPPED if dropped else EVAL if chosen else TRAIN
        assert got == expected, (chosen, mature, known)


def test_without_event_labels_everything_is_mature(tmp_path):
    config = make_config(
        tmp_path,
        logs={"table": {"files": "x.csv"}},
        labels={"rich": {"column": "income"}},
        tasks={"income": {"label": "rich"}},
    )
    assert split_of(config, time=NOW, labels=(1,)) == TRAIN
    assert split_of(config, time=NOW, hash_=CHOSEN, labels=(0,)) == EVAL
    assert split_of(config, time=NOW, labels=(-1,)) == DROPPED


@pytest.fixture
def tokyo(monkeypatch):
    """A machine whose local time is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("split", "times", "expected"),
    [
        ({"eval": {"fraction": 0.5}}, {"impressions": 50, "clicks": 100}, (100, 93, None)),
        ({"eval": {"fraction": 0.5}}, {"impressions": None, "clicks": None}, (0, -7, None)),
        ({"eval": {"last": "20s"}}, {"impressions": 99, "clicks": 100}, (100, 93, 73)),
        (
            {"eval": {"last": "20s"}},
            {"impressions": 50, "clicks": 100},
            (100, 93, 30),
        ),  # counts from the last impression
        (
            {"eval": {"last": "20s"}, "logs_end": "1970-01-01T00:01:00"},
            {"impressions": 99},
            (60, 53, 33),
        ),  # UTC wherever it runs
        (
            {"eval": {"last": "20s"}, "logs_end": "1970-01-01T02:01:00+02:00"},
            {"impressions": 99},
            (60, 53, 33),
        ),
    ],
)
def test_calendar(split, times, expected, tokyo):
    calendar = make_calendar(
        config_of("x", split=split), {k: t and t * SECOND for k, t in times.items()}
    )
    seconds = SimpleNamespace(
        **{k: v if v is None else v / SECOND for k, v in vars(calendar).items()}
    )
    assert (seconds.logs_end, seconds.mature_until, seconds.eval_from) == expected


def sampled(share, count=20_000):
    """Rows 3n of the training split are negatives, 3n + 1 positives, 3n + 2 unknown; the last tenth
    evaluates.
    """
    config = config_of("x", sampling={"negatives": share})
    click = np.tile(np.array([0, 1, 0], np.int8), count)[:count]
    dwell = np.tile(np.array([0, 2.5, -1], np.float32), count)[:count]
    split = np.where(np.arange(count) < 0.9 * count, TRAIN, EVAL).astype(np.int8)
    before = split.copy()
    return (
        before,
        split,
        downsample(config, fingerprints(count), [click, dwell], split),
        np.arange(count) % 3 == 0,
    )


def test_negatives_are_sampled_and_weighted_so_that_their_sum_stays():
    before, split, weights, negative = sampled(0.25)
    assert (
        (split == SAMPLED_OUT) <= (negative & (before == TRAIN))
    ).all()  # no positive, no unknown, none to evaluate
    kept = negative & (split == TRAIN)
    there = (negative & (before == TRAIN)).sum()
    assert weights.dtype == np.float32
    assert set(weights[kept]) == {4.0}
    assert set(weights[(split == TRAIN) & ~negative]) | set(weights[split == EVAL]) == {1.0}
    std = np.sqrt(there * 0.25 * 0.75) * 4
    assert abs(weights[kept].sum() - there) < 4 * std


def test_a_larger_share_keeps_what_a_smaller_one_keeps():
    some, more = (sampled(share)[1] == TRAIN for share in (0.1, 0.3))
    assert (some <= more).all()
    assert some.sum() < more.sum()


def test_without_sampling_there_are_no_weights():
    before, split, weights, _ = sampled(1.0)
    assert weights is None
    assert (before == split).all()


def test_an_id_on_both_sides_is_a_fault():
    ids, rows = pa.array(["x", "a", "b", "c", "b"]), np.array([1, 2, 3, 4])
    hashes = hashing.fingerprint64(ids)[rows]
    with pytest.raises(RuntimeError, match="'b' is both in the training and in the eval split"):
        check_apart(np.array([TRAIN, TRAIN, EVAL, EVAL]), hashes, ids, rows)
    check_apart(np.array([TRAIN, TRAIN, EVAL, SAMPLED_OUT]), hashes, ids, rows)
    check_apart(
        np.array([TRAIN, TRAIN, EVAL]), np.zeros(3, np.uint64), ids, rows[:3]
    )  # one fingerprint, three ids

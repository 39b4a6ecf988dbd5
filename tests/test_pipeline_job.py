"""Literal rows in, exact rows out: the whole job on Beam's in-process runner."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pipeline_logs import make_config, rejects, run, write_jsonl, write_logs

from features import hashing
from features.errors import FunnelError
from pipeline.job import preprocess

HOUR, DAY = 3600, 86_400
T0 = 1_790_000_000  # 2026-09-21, in seconds


def impression(id_, ts, **columns):
    return {"id": id_, "ts": ts, "user": "u", "tags": ["a"], "price": 1.0} | columns


def event(id_, ts):
    return {"id": id_, "ts": ts}


def filler(number):
    return impression(f"filler-{number}", T0)


def end_of(shown, window=DAY + HOUR // 2):
    """An event of nobody, when the longest window of the last impression closes: all is mature."""
    return event("nobody", shown + window)


END = end_of(T0)


def test_joins_labels_and_counts_every_event(tmp_path):
    write_logs(
        tmp_path,
        [
            impression(i, T0)
            for i in (
                "none",
                "clicked",
                "bought",
                "late-click",
                "early-click",
                "late-buy",
                "buy-only",
                "日本",
            )
        ],
        [
            event("clicked", T0 + 60),
            event("bought", T0 + 60),
            event("bought", T0 + 30),  # the earliest valid one wins, the other is a duplicate
            event("late-click", T0 + 1801),
            event("early-click", T0 - 1),
            event("late-buy", T0),  # at the impression's own time, and 1800 s later: both inside
            event("日本", T0 + 1800),
            END,
        ],
        [
            event(
                "bought", T0 + 30 + DAY
            ),  # the window of a conversion starts at the earliest click
            event("bought", T0 + 10),  # before the click
            event("late-buy", T0 + DAY + 1),
            event("buy-only", T0 + 100),
            event("late-click", T0 + 2000),
        ],
    )
    manifest, rows = run(tmp_path)
    labels = {id_: (row["click"], row["convert"]) for id_, row in rows.items()}
    assert labels == {
        "none": (0, 0),
        "clicked": (1, 0),
        "bought": (1, 1),
        "late-click": (0, 0),
        "early-click": (0, 0),
        "late-buy": (1, 0),
        "buy-only": (0, 0),
        "日本": (1, 0),
    }
    assert manifest["events"] == {
        "click": {
            "matched": 4,
            "duplicate": 1,
            "too_early": 1,
            "late": 1,
            "missing": 0,
            "without_parent": 0,
            "orphan": 1,
        },
        "convert": {
            "matched": 1,
            "duplicate": 0,
            "too_early": 1,
            "late": 1,
            "missing": 0,
            "without_parent": 2,
            "orphan": 0,
        },
    }


def test_encodes_by_slot(tmp_path):
    write_logs(
        tmp_path,
        [
            impression("1", T0, user="u1", tags=["a", "b", "c"], price=3.5),
            impression("2", T0, user=None, tags=None, price=None),
            impression("3", T0, user="", tags=[], price=0),
        ],
        [END],
    )
    _, rows = run(tmp_path)
    assert rows["1"]["ids"] == ids_of(["u1"], 100) + ids_of(["a", "b"], 50)
    assert rows["2"]["ids"] == [0, 0, 0]
    assert rows["3"]["ids"] == [0, 0, 0]
    assert rows["1"]["dense"] == [3.5]
    assert np.isnan(rows["2"]["dense"][0])


def test_immature_rows(tmp_path):
    end = T0 + 10 * DAY
    impressions = [
        impression("mature", end - DAY - HOUR),
        impression("mature-too", end - 3 * DAY),
        impression(
            "unclicked", end - 2 * HOUR
        ),  # the click's window closed, so both are known to be 0
        impression("clicked", end - 3 * HOUR),  # the conversion's is open
        impression("bought", end - 4 * HOUR),
        impression("fresh", end - 60),
    ]
    clicks = [
        event("clicked", end - 3 * HOUR),
        event("bought", end - 4 * HOUR),
        event("nobody", end),
    ]
    conversions = [event("bought", end - 1)]
    write_logs(tmp_path, impressions, clicks, conversions)
    split = {"eval": {"fraction": 0.5}}
    manifest, rows = run(tmp_path, split=split)
    assert set(rows) == {"mature", "mature-too"}
    assert manifest["rows"]["dropped_immature"] == 4
    manifest, rows = run(tmp_path, split=split | {"immature": "keep"})
    kept = {
        id_: (row["click"], row["convert"])
        for id_, row in rows.items()
        if not id_.startswith("mature")
    }
    in_eval = {id_ for id_ in ("unclicked", "clicked", "bought") if in_eval_by_hash(id_)}
    expected = {"unclicked": (0, 0), "clicked": (1, -1), "bought": (1, 1)}
    assert kept == {
        id_: labels for id_, labels in expected.items() if id_ not in in_eval
    }  # evaluation is of mature rows
    assert manifest["rows"]["dropped_immature"] == 1 + len(in_eval)


def in_eval_by_hash(id_):
    return hashing.fractions(hashing.fingerprint64(pa.array([id_])), hashing.SPLIT)[0] < 0.5


def ids_of(texts, buckets):
    return hashing.bucket_ids(pa.array(texts), buckets).tolist()


def test_splits_by_time(tmp_path):
    end = T0 + 10 * DAY
    hours = [26, 30, 49, 50, 60, 90]  # before the end of the logs; mature are those over 24.5
    write_logs(
        tmp_path, [impression(str(h), end - h * HOUR) for h in [*hours, 2]], [event("nobody", end)]
    )
    manifest, rows = run(tmp_path, split={"eval": {"last": "1d"}})
    assert {id_: row["split"] for id_, row in rows.items()} == {
        "26": "eval",
        "30": "eval",
        "49": "train",
        "50": "train",
        "60": "train",
        "90": "train",
    }
    assert manifest["rows"]["dropped_immature"] == 1
    until = datetime.fromtimestamp(end - 24.5 * HOUR, UTC)
    assert manifest["calendar"]["mature_until"] == until.isoformat()
    assert manifest["calendar"]["eval_from"] == (until - timedelta(days=1)).isoformat()


def test_duplicates_are_rejected_with_their_line(tmp_path):
    write_jsonl(
        tmp_path / "impressions-1.jsonl",
        [impression("a", T0 + 9, user="later"), impression("b", T0), *map(filler, range(9))],
    )
    write_jsonl(
        tmp_path / "impressions-2.jsonl",
        ["", impression("a", T0, user="first"), impression("b", T0)],
    )
    write_jsonl(tmp_path / "clicks.jsonl", [END])
    write_jsonl(tmp_path / "conversions.jsonl", [])
    manifest, rows = run(tmp_path)
    assert rows["a"]["ids"][0] == ids_of(["first"], 100)[0]
    assert manifest["rows"] == {
        "impressions_read": 13,
        "examples_written": 11,
        "rejected": 2,
        "duplicates": 2,
        "dropped_immature": 0,
        "sampled_out": 0,
    }
    assert rejects(tmp_path / "data", "impressions") == [
        ("impressions-1.jsonl", 1, "duplicate"),  # the later of the two
        ("impressions-2.jsonl", 3, "duplicate"),  # equal in all: the second by file and line
    ]


def test_manifest_describes_every_shard(tmp_path):
    write_logs(tmp_path, [impression(str(i), T0 + i) for i in range(100)], [end_of(T0 + 99)])
    manifest, rows = run(tmp_path, output={"shards": 3})
    assert len(rows) == 100
    for split in ("train", "eval"):
        assert [s["file"] for s in manifest["shards"][split]] == [
            f"{split}/part-{i:05d}-of-00003.tfrecord" for i in range(3)
        ]
        for shard in manifest["shards"][split]:
            data = (tmp_path / "data" / shard["file"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (
                shard["bytes"],
                shard["sha256"],
            )


def test_statistics_on_paper(tmp_path):
    prices = [0.0, np.e - 1, np.e**2 - 1, None]
    write_logs(
        tmp_path,
        [impression(f"t{i}", T0, price=p) for i, p in enumerate(prices)]
        + [impression("e", T0 + DAY)],
        [end_of(T0 + DAY), event("t1", T0)],
    )
    run(tmp_path, split={"eval": {"last": "1h"}})
    statistics = json.loads((tmp_path / "data" / "statistics.json").read_text())
    price = statistics["features"]["price"]
    # log1p of the three prices: 0, 1, 2 → mean 1, std √(2/3)
    assert (price["missing"], price["count"]) == (1, 3)
    np.testing.assert_allclose(
        [price["mean"], price["std"], price["max"]],
        [1, np.sqrt(2 / 3), np.e**2 - 1],
        rtol=1e-6,
    )
    assert statistics["labels"]["train"]["click"] == {"positive": 1, "negative": 3, "unknown": 0}
    assert statistics["rates"]["train"] == {"click": 0.25, "convert": 0.0}


PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
OTHER_RUNNER = ["--runner=apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner"]


@pytest.mark.parametrize(
    "beam_args", [OTHER_RUNNER, pytest.param(PROCESSES, marks=pytest.mark.slow)]
)
def test_same_bytes_in_any_order_of_files_on_any_runner_and_workers(tmp_path, beam_args):
    rows = [impression(str(i % 90), T0 + i % 7, user=f"u{i}") for i in range(100)]
    clicks = [event(str(i), T0 + 9 + i % 5) for i in range(0, 90, 3)]
    digests = []
    for number, (order, args) in enumerate([(1, []), (-1, []), (1, beam_args)]):
        folder = tmp_path / str(number)
        write_jsonl(folder / "impressions-1.jsonl", rows[::order][:50])
        write_jsonl(folder / "impressions-2.jsonl.gz", rows[::order][50:])
        write_jsonl(folder / "clicks.jsonl", [*clicks[::order], END])
        write_jsonl(folder / "conversions.jsonl", [])
        manifest = preprocess(make_config(folder), folder / "data", args)
        digests.append(manifest["shards"])
    assert digests[0] == digests[1] == digests[2]


def test_a_mode_of_beam_that_loses_rows_is_refused(tmp_path):
    write_logs(tmp_path, [impression("a", T0)])
    with pytest.raises(
        FunnelError, match=r"multi_threading: Beam loses rows in this mode; give multi_processing"
    ):
        preprocess(
            make_config(tmp_path), tmp_path / "data", ["--direct_running_mode=multi_threading"]
        )


def test_importing_the_job_leaves_tensorflow_out():
    code = "import sys, pipeline.job; print('tensorflow' in sys.modules, 'model' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False False\n"
    )


def test_a_wide_table_without_ids(tmp_path):
    (tmp_path / "train.data").write_text("a, 1.5, yes\n?, 2.5, no\nb, , yes\n")
    (tmp_path / "test.data").write_text("c, 4, yes.\n")
    table = {
        "files": f"{tmp_path}/train.data",
        "columns": ["kind", "size", "income"],
        "missing": ["?"],
    }
    manifest, rows = run(
        tmp_path,
        logs={"table": table},
        features={"kind": {"kind": "categorical", "buckets": 9}, "size": {"kind": "numeric"}},
        labels={"rich": {"column": "income", "equals": ["yes", "yes."]}},
        tasks={"income": {"label": "rich"}},
        split={"eval": {"files": f"{tmp_path}/test.data"}},
    )
    assert {id_: (row["split"], row["rich"]) for id_, row in rows.items()} == {
        "train.data:1": ("train", 1),
        "train.data:2": ("train", 0),
        "train.data:3": ("train", 1),
        "test.data:1": ("eval", 1),
    }
    assert rows["train.data:2"]["ids"] == [0]
    assert np.isnan(rows["train.data:3"]["dense"][0])
    assert manifest["rows"]["impressions_read"] == manifest["rows"]["examples_written"] == 4


VIA = {
    "impressions": {"id": "id", "time": "ts"},
    "clicks": {"id": "id", "time": "ts", "key": "click"},
    "conversions": {"id": "click", "time": "ts", "via": "clicks"},
}


def logs_via(folder, **keys):
    """The three streams, conversions naming a click; `keys` change how conversions are declared."""
    streams = {name: stream | {"files": f"{folder}/{name}*"} for name, stream in VIA.items()}
    return streams | {"conversions": streams["conversions"] | keys}


def test_conversions_that_name_a_click(tmp_path):
    clicks = [
        ("a", T0 + 10, "c1"),
        ("a", T0 + 900, "c2"),
        ("b", T0 + 10, "c3"),
        ("b", T0 + 1801, "c4"),
        ("c", T0 + 10, None),
    ]
    bought = [
        ("c2", T0 + 900 + DAY),
        ("c1", T0 + 901 + DAY),
        ("c3", T0 + 9),
        ("c4", T0 + 1900),
        ("c5", T0 + 20),
        ("c", T0 + 20),
    ]
    write_logs(
        tmp_path,
        [impression(i, T0) for i in "abc"],
        [event(i, t) | {"click": c} for i, t, c in clicks] + [END | {"click": "c9"}],
        [{"click": c, "ts": t} for c, t in bought],
    )
    for shards in (1, 3):
        manifest, rows = run(
            tmp_path, logs=logs_via(tmp_path), output={"shards": shards, "max_rejects": 1.0}
        )
        assert {i: (row["click"], row["convert"]) for i, row in rows.items()} == {
            "a": (1, 1),
            "b": (1, 0),
            "c": (1, 0),
        }
        events = {kind: count for kind, count in manifest["events"]["convert"].items() if count}
        # c2: inside its own day; c1: too late for it; c3: before its click; c4: the click itself
        # was late; c5 and "c" are not clicks
        assert events == {"matched": 1, "late": 1, "too_early": 1, "without_parent": 1, "orphan": 2}


def test_conversions_of_a_user_go_to_the_first_or_the_last_click(tmp_path):
    clicks = [("a", T0 + 10), ("b", T0 + 500), ("other", T0 + 600), ("c", T0 + 5000)]
    write_logs(
        tmp_path,
        [impression(i, T0 if i != "c" else T0 + 4900) for i in ("a", "b", "c", "other", "e")],
        [event(i, t) | {"click": "u2" if i == "other" else "u1"} for i, t in clicks]
        + [END | {"click": "u3"}],
        [{"click": "u1", "ts": T0 + 1000}],
    )
    for touch, expected in (("first", {"a"}), ("last", {"b"})):
        _, rows = run(tmp_path, logs=logs_via(tmp_path, touch=touch))
        assert {i for i, row in rows.items() if row["convert"]} == expected


def test_numbers_of_events_and_of_impressions(tmp_path):
    watched = [("a", 5.0, 60), ("a", 40.0, 60), ("b", 3.0, 0), ("b", None, 60), ("c", None, 60)]
    write_logs(
        tmp_path,
        [
            impression(i, T0, length=x, full=60.0)
            for i, x in (("a", 30.0), ("b", 20.0), ("c", None), ("d", 0.0))
        ],
        [event(i, T0 + 10 + n) | {"seconds": v, "of": o} for n, (i, v, o) in enumerate(watched)]
        + [end_of(T0, HOUR // 2) | {"seconds": 0.0, "of": 1}],
    )
    views = {"event": "clicks", "within": "30m"}
    labels = {
        "seen": views,
        "seconds": views | {"value": "seconds", "take": "sum"},
        "long": views | {"value": "seconds", "take": "max", "at_least": 10},
        "half": views | {"value": "seconds", "of": "of", "take": "last", "at_least": 0.5},
        "length": {"value": "length", "of": "full", "clip": [0.1, 1]},
    }
    logs = {
        n: {"files": f"{tmp_path}/{n}*", "id": "id", "time": "ts"}
        for n in ("impressions", "clicks")
    }
    manifest, rows = run(tmp_path, logs=logs, labels=labels, tasks={"ctr": {"label": "seen"}})
    found = {i: [float(row[name]) for name in labels] for i, row in rows.items()}
    assert {i: values[:4] for i, values in found.items()} == {
        "a": [1, 45, 1, 1],
        "b": [1, 3, 0, 0],
        "c": [1, -1, -1, -1],  # seen, for an unknown time
        "d": [0, 0, 0, 0],
    }
    np.testing.assert_allclose([found[i][4] for i in "abcd"], [0.5, 1 / 3, -1, 0.1], rtol=1e-6)
    assert {kind: n for kind, n in manifest["events"]["seconds"].items() if n} == {
        "matched": 3,
        "missing": 2,
        "orphan": 1,
    }
    assert {kind: n for kind, n in manifest["events"]["seen"].items() if n} == {
        "matched": 3,
        "duplicate": 2,
        "orphan": 1,
    }


def test_sampled_negatives_are_the_same_rows_in_every_order_and_partitioning(tmp_path):
    rows = [impression(f"i{n}", T0) for n in range(400)]
    clicks = [event(f"i{n}", T0 + 5) for n in range(0, 400, 10)]
    found = []
    for number, (order, shards) in enumerate([(1, 1), (-1, 3), (1, 5)]):
        folder = tmp_path / str(number)
        write_logs(folder, rows[::order], [*clicks[::order], END])
        manifest, examples = run(
            folder, sampling={"negatives": 0.2}, output={"shards": shards, "max_rejects": 1.0}
        )
        counts = manifest["rows"]
        assert counts["sampled_out"] == 400 - len(examples) > 100
        assert counts["impressions_read"] == counts["examples_written"] + counts["sampled_out"]
        found.append(
            {i: (row["split"], row["click"], row["weight"]) for i, row in examples.items()}
        )
    assert found[0] == found[1] == found[2]
    for split, click, weight in found[0].values():
        assert weight == (5 if (split, click) == ("train", 0) else 1)
    kept = [i for i, (split, click, _) in found[0].items() if (split, click) == ("train", 0)]
    assert 15 < len(kept) < 60  # of about 180: were it the split's hash, all or none
    in_eval = [click for split, click, _ in found[0].values() if split == "eval"]
    assert sum(click == 0 for click in in_eval) > 100  # evaluation sees every negative


def test_a_fraction_of_users_has_each_of_them_on_one_side(tmp_path):
    rows = [impression(f"i{n}", T0, user=f"u{n % 40}" if n % 41 else None) for n in range(400)]
    write_logs(tmp_path, rows, [END])
    _, examples = run(
        tmp_path,
        split={"eval": {"fraction": 0.3, "by": "user"}},
        output={"shards": 3, "max_rejects": 1.0},
    )
    sides = {}
    for row in rows:
        sides.setdefault(row["user"], set()).add(examples[row["id"]]["split"])
    assert all(len(found) == 1 for user, found in sides.items() if user)
    assert {side for found in sides.values() for side in found} == {"train", "eval"}
    assert sides[None] == {"train", "eval"}  # without a user each row goes by its id


def test_same_bytes_where_events_go_via_others(tmp_path):
    rows = [impression(f"i{n}", T0 + n) for n in range(60)]
    clicks = [event(f"i{n}", T0 + 100) | {"click": f"u{n % 9}"} for n in range(60)]
    bought = [{"click": f"u{n % 9}", "ts": T0 + 200, "amount": n % 4} for n in range(30)]
    labels = {
        "click": {"event": "clicks", "within": "30m"},
        "convert": {"event": "conversions", "within": "1d", "after": "click"},
        "spent": {"event": "conversions", "within": "1d", "value": "amount", "take": "last"},
    }
    digests = []
    for number, (order, args) in enumerate([(1, []), (-1, OTHER_RUNNER)]):
        folder = tmp_path / str(number)
        end = end_of(T0 + 59) | {"click": "u"}
        write_logs(folder, rows[::order], [*clicks[::order], end], bought[::order])
        manifest = preprocess(
            make_config(folder, logs=logs_via(folder, touch="last"), labels=labels),
            folder / "data",
            args,
        )
        digests.append((manifest["shards"], manifest["events"]))
    assert digests[0] == digests[1]
    assert digests[0][1]["convert"]["matched"] == 9

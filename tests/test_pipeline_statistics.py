"""Statistics of the rows written: sums, moments, quantiles, correlations, relevance; and that those
of the model come from training rows only.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from pipeline_logs import make_config, run, write_logs

from features.errors import FunnelError
from features.fitted import Fitted
from features.spec import Spec
from pipeline.job import preprocess
from pipeline.output import publish
from pipeline.output.warnings import feature_warnings
from pipeline.sources import vocabularies
from pipeline.statistics import fit, moments, ranks, relevance, sample
from pipeline.statistics.moments import Moments
from pipeline.statistics.partitions import DAY, fold, partition_statistics
from pipeline.statistics.sample import SplitRows
from pipeline.statistics.statistics_json import statistics_json

FEATURES = {
    "user": {"kind": "categorical", "min_count": 2},
    "recent": {"kind": "sequence", "max_length": 2, "shares": "user"},
    "price": {"kind": "numeric", "transform": "log1p", "missing": 0.0, "clip": [0, 100]},
    "age": {"kind": "bucketized", "quantiles": 4},
}
LABELS = {
    "click": {"event": "clicks", "within": "1h"},
    "dwell": {"event": "clicks", "value": "seconds", "after": "click"},
}
SPEC = Spec.parse({"features": FEATURES, "labels": LABELS, "tasks": {"ctr": {"label": "click"}}})
NAN = np.nan


def split_rows(ids, dense, click, dwell, times=None, weights=None):
    n = len(ids)
    return SplitRows(
        np.array(ids, np.int32).reshape(n, 3),
        np.array(dense, np.float32).reshape(n, 2),
        {"click": np.array(click, np.int8), "dwell": np.array(dwell, np.float32)},
        np.array(times or [0] * n, np.int64),
        np.arange(n, dtype=np.uint64) * np.uint64(7),
        None if weights is None else np.array(weights, np.float32),
    )


def random_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.lognormal(2, 1, (n, 2))
    dense[rng.random((n, 2)) < 0.1] = NAN
    rows = split_rows(
        rng.integers(0, 9, (n, 3)),
        dense,
        rng.integers(-1, 2, n),
        rng.exponential(2, n),
        rng.integers(1, 3 * DAY, n).tolist(),
    )
    return SplitRows(
        rows.ids, rows.dense, rows.labels, rows.times, rng.integers(0, 2**63, n).astype(np.uint64)
    )


EMPTY = split_rows([], [], [], [])


def test_counts_rates_and_means_on_paper():
    train = split_rows(
        [[5, 0, 0]] * 5,
        [[1, 1]] * 5,
        click=[1, 1, 0, 0, -1],
        dwell=[4, 0, 0, 0, -1],
        times=[DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 2 * DAY],
        weights=[1, 1, 3, 3, 1],
    )
    evaluation = split_rows([[5, 0, 0]], [[1, 1]], [1], [6], [2 * DAY])
    content = statistics_json(
        SPEC,
        fold([partition_statistics(SPEC, {"train": train, "eval": evaluation})]),
        {},
    )
    assert content["rows"] == {"train": 5, "eval": 1}
    assert content["labels"]["train"] == {
        "click": {"positive": 2, "negative": 2, "unknown": 1},
        "dwell": {"positive": 1, "negative": 3, "unknown": 1},
    }
    # two kept negatives stand for six: 2 of 8 are clicked; half of the clicked stayed; 4 seconds
    # over 8 rows
    assert content["rates"]["train"] == {"click": 0.25, "dwell": 0.5}
    assert content["means"] == {"train": {"dwell": 0.5}, "eval": {"dwell": 6.0}}
    assert {day: one["rows"] for day, one in content["days"].items()} == {
        "1970-01-02": 3,
        "1970-01-03": 3,
    }
    assert content["days"]["1970-01-03"]["labels"]["click"] == {
        "positive": 1,
        "negative": 1,
        "unknown": 1,
    }
    assert content["days"]["1970-01-02"]["rates"]["click"] == 2 / 5


def test_logs_without_times_have_no_days():
    part = partition_statistics(
        SPEC, {"train": split_rows([[1, 0, 0]], [[1, 1]], [1], [1]), "eval": EMPTY}
    )
    assert statistics_json(SPEC, part, {})["days"] == {}


def test_numbers_on_paper():
    dense = [
        [NAN, 10],
        [np.e - 1, 20],
        [1000, NAN],
    ]  # price: missing counts as 0, 1000 is cut to 100
    part = partition_statistics(
        SPEC, {"train": split_rows([[1, 0, 0]] * 3, dense, [0, 0, 1], [0, 0, 1]), "eval": EMPTY}
    )
    price = statistics_json(SPEC, part, {})["features"]["price"]
    logs = np.array([0, 1, np.log1p(100)])
    assert (price["missing"], price["count"]) == (1, 2)
    np.testing.assert_allclose([price["mean"], price["std"]], [logs.mean(), logs.std()], rtol=1e-6)
    np.testing.assert_allclose(
        [price["transformed_min"], price["transformed_max"]], [0, np.log1p(100)], rtol=1e-6
    )
    np.testing.assert_allclose(
        [price["min"], price["max"], price["quantiles"]["p99"]], [np.e - 1, 1000, 1000], rtol=1e-6
    )
    fitted = fit.fit(SPEC, part, {})
    assert fitted.moments == {"price": (price["mean"], price["std"])}
    assert fitted.ranges == {"price": (0.0, price["transformed_max"])}


def test_moments_add_up_as_if_seen_at_once():
    values = np.random.default_rng(0).lognormal(5, 2, 1000)
    parts = [Moments.of(part) for part in np.split(values, [0, 3, 400, 401])]
    total = sum(parts, Moments())
    assert (total.count, total.low, total.high) == (1000, values.min(), values.max())
    np.testing.assert_allclose([total.mean, total.std], [values.mean(), values.std()], rtol=1e-12)
    assert moments.Moments.of(np.array([NAN])) == Moments()


def test_parts_fold_to_the_whole():
    train = random_rows(3000)
    cuts = [np.arange(0, 1000), np.arange(1000, 1000), np.arange(1000, 3000)]
    whole = fold([partition_statistics(SPEC, {"train": train, "eval": EMPTY})])
    folded = fold(
        [partition_statistics(SPEC, {"train": train.take(c), "eval": EMPTY}) for c in cuts]
    )
    one, other = (statistics_json(SPEC, part, {}) for part in (whole, folded))
    for name in ("price", "age"):
        for key in ("mean", "std"):
            assert one["features"][name].pop(key) == pytest.approx(
                other["features"][name].pop(key), rel=1e-12
            )
    for content in (one, other):  # sums of floats in another order
        content["means"] = pytest.approx(content["means"]["train"]["dwell"])
        content["days"] = {day: day_["labels"] for day, day_ in content["days"].items()}
    assert one == other
    assert fit.fit(SPEC, whole, {}).vocabularies == fit.fit(SPEC, folded, {}).vocabularies
    assert fit.fit(SPEC, whole, {}).boundaries == fit.fit(SPEC, folded, {}).boundaries


def test_the_sample_is_of_the_smallest_hashes_whatever_the_partitions(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLED", 500)
    rows = random_rows(20_000)
    expected = sample.fold_samples([rows])
    assert len(expected) == 500
    for partitions in (1, 7, 64):
        part = np.random.default_rng(partitions).integers(0, partitions, len(rows))
        parts = [
            sample.sample_partition(rows.take(np.flatnonzero(part == p)), partitions)
            for p in range(partitions)
        ]
        found = sample.fold_samples(parts)
        np.testing.assert_array_equal(found.hashes, expected.hashes)
        np.testing.assert_array_equal(found.ids, expected.ids)
        assert sum(map(len, parts)) <= 500 + partitions * (8 * (500 / partitions) ** 0.5 + 65)


def test_boundaries_are_numbers_of_the_data_and_rise():
    assert fit.boundaries(np.array([4, NAN, 1, 3, 2], np.float32), 4) == [1.0, 2.0, 3.0]
    assert fit.boundaries(np.array([0, 0, 0, 0, 0, 7], np.float32), 4) == [0.0]
    assert fit.boundaries(np.array([0.1] * 3, np.float32), 2) == [float(np.float32(0.1))]
    assert fit.boundaries(np.array([NAN], np.float32), 2) == []


def test_a_vocabulary_holds_what_its_owner_saw_often_enough():
    train = split_rows([[5, 9, 9], [5, 9, 0], [7, 0, 0], [0, 0, 0]], [[1, 1]] * 4, [0] * 4, [0] * 4)
    part = partition_statistics(
        SPEC, {"train": train, "eval": split_rows([[7, 0, 0]] * 3, [[1, 1]] * 3, [0] * 3, [0] * 3)}
    )
    assert fit.fit(SPEC, part, {}).vocabularies == {"user": [5]}


def test_a_vocabulary_of_a_file(tmp_path):
    path = tmp_path / "words.txt"
    features = {"word": {"kind": "categorical", "vocabulary": str(path)}}
    spec = Spec.parse(
        {"features": features, "labels": {"y": {"column": "y"}}, "tasks": {"t": {"label": "y"}}}
    )
    path.write_text("b\n\na\r\n日本\n")
    assert vocabularies.read_vocabularies(spec) == {"word": ["b", "a", "日本"]}
    for content, expected in [
        ("a\nb\n\na\n", "line 4 of .* is 'a', as is line 1"),
        ("\n", "holds no value"),
        (b"\xff", "cannot be read"),
    ]:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(FunnelError, match=expected):
            vocabularies.read_vocabularies(spec)
    path.unlink()
    with pytest.raises(
        FunnelError, match=r"features.word.vocabulary = '.*words.txt': cannot be read"
    ):
        vocabularies.read_vocabularies(spec)


def test_ranks_and_correlations_on_paper():
    np.testing.assert_array_equal(ranks.mid_ranks(np.array([3, 1, 3, 2])), [3.5, 1, 3.5, 2])
    positive = np.array([False, True, False, True])
    assert ranks.auc(np.array([1, 2, 3, 3]), positive) == (1 + 0 + 1 + 0.5) / 4
    assert ranks.auc(np.array([1, 2]), np.array([True, True])) is None
    labels = {
        "a": np.array([0, 1, 1, -1]),
        "b": np.array([0, 1, 4, 9]),
        "c": np.array([1, 1, 1, 1]),
    }
    (ab, ac, _) = ranks.correlations(labels)
    # a = 0 1 1, b = 0 1 4: Σ(a − ⅔)(b − 5/3) = 5/3 over √(2/3 · 26/3); ranks 1 2.5 2.5 and 1 2 3:
    # 1.5 over √(1.5 · 2)
    assert ab == {
        "labels": ["a", "b"],
        "rows": 3,
        "pearson": pytest.approx(5 / 3 / np.sqrt(52 / 9)),
        "spearman": pytest.approx(1.5 / 3**0.5),
    }
    assert (ac["pearson"], ac["spearman"]) == (None, None)


WIDE = {
    "features": {
        "user": {"kind": "categorical", "buckets": 100_000},
        "tags": {"kind": "categorical", "buckets": 100, "max_length": 3},
        "number": {"kind": "numeric"},
    },
    "labels": {"click": {"column": "click"}, "seconds": {"value": "seconds"}},
    "tasks": {"ctr": {"label": "click"}},
}


def relevance_of(click, *, ids=None, tags=None, number=None):
    """AUC of the one feature that is given."""
    spec, n = Spec.parse(WIDE), len(click)
    hashes = np.random.default_rng(9).integers(0, 2**63, n).astype(np.uint64)
    ids = np.zeros(n) if ids is None else ids
    tags = np.zeros((n, 3)) if tags is None else tags
    dense = (
        np.zeros((n, 1), np.float32) if number is None else np.array(number, np.float32)[:, None]
    )
    labels = {"click": click.astype(np.int8), "seconds": np.ones(n, np.float32)}
    rows = SplitRows(
        np.column_stack([ids, tags]).astype(np.int32), dense, labels, np.zeros(n, np.int64), hashes
    )
    found = relevance.relevance(spec, rows)
    assert [list(by_label) for by_label in found.values()] == [
        ["click"]
    ] * 3  # numbers are not classes
    return {name: by_label["click"] for name, by_label in found.items()}


def clicks(n=50_000, rate=0.04, seed=1):
    return (np.random.default_rng(seed).random(n) < rate).astype(int)


def test_features_of_no_use_have_an_auc_of_a_half():
    rng, click = np.random.default_rng(2), clicks()
    found = relevance_of(
        click,
        ids=rng.integers(1, 50_001, 50_000),
        tags=rng.integers(0, 30, (50_000, 3)),
        number=rng.normal(size=50_000),
    )
    assert found == {
        name: pytest.approx(0.5, abs=0.03) for name in found
    }  # 0.007 is a standard error
    in_sample = np.bincount(rng.integers(1, 50_001, 50_000), click, 50_001)
    assert in_sample.max() >= 1  # and such means would give the label away
    unique = relevance_of(click, ids=np.arange(1, 50_001))
    assert unique["user"] == 0.5


@pytest.mark.parametrize("turned", [False, True], ids=["leak", "inverted leak"])
def test_a_leaked_label_stands_out(turned):
    click, rng = clicks(), np.random.default_rng(3)
    leaked = 1 - click if turned else click
    assert relevance_of(click, ids=1 + leaked)["user"] > 0.99
    assert relevance_of(click, ids=1 + rng.integers(0, 1000, 50_000) + 1000 * leaked)["user"] > 0.99
    assert relevance_of(click, number=leaked)["number"] > 0.99
    assert relevance_of(click, number=leaked + rng.normal(0, 0.1, 50_000))["number"] > 0.99
    assert (
        relevance_of(click, number=np.where(leaked, rng.normal(size=50_000), NAN))["number"] > 0.99
    )
    tags = rng.integers(1, 50, (50_000, 3)) * [1, 1, 0] + np.outer(leaked, [0, 0, 99])
    assert relevance_of(click, tags=tags)["tags"] > 0.99


def test_a_number_that_tells_by_its_middle_stands_out():
    number = np.random.default_rng(4).normal(size=20_000)
    click = (np.abs(number) < 0.5).astype(int)
    assert relevance_of(click, number=number)["number"] > 0.95


def test_unknown_labels_do_not_count_and_one_class_has_no_auc():
    click = clicks(2000, 0.3)
    ids = 1 + click
    unknown = np.where(np.arange(2000) % 2, click, -1)
    assert relevance_of(unknown, ids=ids)["user"] > 0.99
    assert relevance_of(np.zeros(2000), ids=ids) == {"user": None, "tags": None, "number": None}


def test_suspects_are_named_with_the_remedy():
    found = {"paid": {"convert": 0.997}, "user": {"convert": 0.7}, "none": {"convert": None}}
    counts = {"convert": {"positive": 50, "negative": 500}}
    (text,) = relevance.suspects(found, counts)
    assert text.startswith("features.paid alone predicts label 'convert' with an AUC of 0.997: ")
    assert "remove the feature or use its value at impression time" in text
    assert "(95 % interval 0.973 to 1.000, from 50 positive and 500 negative rows)" in text
    (text,) = relevance.suspects(found, {"convert": {"positive": 3, "negative": 500}})
    assert "(95 % interval 0.703 to 1.000, from 3 positive and 500 negative rows)" in text
    counts = {"positive": 1, "negative": 40, "unknown": 9}
    assert relevance.suspects(found, {"convert": counts}) == []  # one row may rank first by chance
    many = {"positive": 10**6, "negative": 9 * 10**6, "unknown": 0}  # more than the sample holds
    (text,) = relevance.suspects(found, {"convert": many})
    assert sample.SAMPLED == 50_000
    assert "from 5,000 positive and 45,000 negative rows)" in text


def test_a_vocabulary_without_values_is_a_warning():
    described = {
        "relevance": {"user": {"click": 0.99}},
        "labels": {"train": {"click": {"positive": 9, "negative": 9}}},
    }
    described["features"] = {"user": {"missing": 0}}
    found = list(feature_warnings(SPEC, described, Fitted(vocabularies={"user": []})))
    (leak, empty), kinds = zip(*found, strict=True)
    assert kinds == (("no_leaks",), ("vocabularies",))
    assert leak.startswith("features.user alone predicts label 'click' with an AUC of 0.990")
    assert empty.startswith(
        "features.user.min_count = 2: no value of the training split is seen so often"
    )


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("rows", "sampled_out", "were read but"),
        ("days", "2026-09-21", "by day 6"),
        ("events", "click", "label click accounts for 0 events"),
    ],
)
def test_counts_that_do_not_add_up_stop_the_job(section, key, expected):
    config = make_config(Path("logs"))
    manifest = {
        "rows": {
            "impressions_read": 3,
            "examples_written": 2,
            "rejected": 0,
            "dropped_immature": 0,
            "sampled_out": 1,
        },
        "shards": {"train": [{"rows": 1}], "eval": [{"rows": 1}]},
        "events": {"click": {"matched": 2}, "convert": {"orphan": 1}},
        "inputs": {
            "clicks": {"rows_read": 3, "rejected": {"bad": 1}},
            "conversions": {"rows_read": 1, "rejected": {}},
        },
    }
    described = {
        "rows": {"train": 1, "eval": 1},
        "days": {"2026-09-21": {"rows": 1}, "2026-09-22": {"rows": 1}},
    }
    publish._check_reconciled(config, manifest, described)
    whole = manifest | {"days": described["days"]}
    whole[section][key] = {"days": {"rows": 5}, "events": {}}.get(section, 0)
    with pytest.raises(RuntimeError, match=expected):
        publish._check_reconciled(config, manifest, described)


T0 = 1_790_000_000


def impressions(evaluation):
    """500 training rows, and 100 rows of the last day as `evaluation` makes them."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"t{n}",
            "ts": T0 + n,
            "user": f"u{rng.integers(40)}",
            "recent": ["u1"],
            "price": float(rng.normal()),
            "age": n % 50,
        }
        for n in range(500)
    ]
    return rows + [{"id": f"e{n}", "ts": T0 + 10 * 86_400 + n} | evaluation(n) for n in range(100)]


def test_whatever_the_model_uses_comes_from_the_training_split_only(tmp_path):
    evaluations = {
        "alike": lambda n: {"user": "u1", "recent": [], "price": 0.5, "age": 30},
        "unlike": lambda n: {
            "user": f"new-{n // 2}",
            "recent": ["z"] * 2,
            "price": 1e30 * (-1) ** n,
            "age": -1e6 if n % 2 else None,
        },
    }
    features = {
        **FEATURES,
        "price": {"kind": "numeric"},
        "size": {"kind": "numeric", "column": "price", "scale": "minmax"},
    }
    found = []
    for name, evaluation in evaluations.items():
        write_logs(
            tmp_path / name,
            impressions(evaluation),
            [{"id": f"t{n}", "ts": T0 + 600 + n, "seconds": n} for n in range(0, 500, 9)],
        )
        (tmp_path / name / "clicks.jsonl").open("a").write(
            json.dumps({"id": "e1", "ts": T0 + 10 * 86_400 + 99 + 3600, "seconds": 1}) + "\n"
        )
        logs = {
            s: {"files": f"{tmp_path}/{name}/{s}*", "id": "id", "time": "ts"}
            for s in ("impressions", "clicks")
        }
        _, rows = run(
            tmp_path / name,
            logs=logs,
            features=features,
            labels=LABELS,
            tasks={"ctr": {"label": "click"}},
            split={"eval": {"last": "1d"}},
        )
        assert sum(row["split"] == "eval" for row in rows.values()) == 100
        data = tmp_path / name / "data"
        statistics_ = json.loads((data / "statistics.json").read_text())
        of_training = {
            n: {k: v for k, v in one.items() if k != "valid"}
            for n, one in statistics_["features"].items()
        }
        found.append(
            (
                (data / "fitted.json").read_bytes(),
                of_training,
                statistics_["relevance"],
                statistics_["correlations"],
            )
        )
    assert found[0] == found[1]
    fitted = Fitted.load(data / "fitted.json")
    assert len(fitted.vocabularies["user"]) == 40
    assert (len(fitted.boundaries["age"]), set(fitted.moments), set(fitted.ranges)) == (
        3,
        {"price", "size"},
        {"price", "size"},
    )


def test_all_files_are_the_same_whatever_the_workers(tmp_path):
    rng, digests = np.random.default_rng(0), []
    rows = [
        {
            "id": f"i{n}",
            "ts": T0 + n,
            "user": f"u{rng.integers(300)}",
            "tags": ["a"],
            "price": float(rng.normal()),
        }
        for n in range(2000)
    ]
    for number, args in enumerate(
        [[], ["--runner=apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner"]]
    ):
        folder = tmp_path / str(number)
        end = {"id": "none", "ts": T0 + 1999 + 88_200}
        write_logs(folder, rows[:1000], [{"id": "i3", "ts": T0 + 9}, end])
        write_logs(folder / "more", rows[1000:])
        (folder / "more" / "impressions.jsonl").rename(folder / "impressions-2.jsonl")

        preprocess(make_config(folder), folder / "data", args)
        files = sorted(p for p in (folder / "data").rglob("*") if p.is_file())
        digests.append({str(p.relative_to(folder)): p.read_bytes() for p in files})
    assert digests[0].keys() == digests[1].keys()
    assert [name for name in digests[0] if digests[0][name] != digests[1][name]] == []

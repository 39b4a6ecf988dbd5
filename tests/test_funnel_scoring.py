"""funnel.score and funnel.Dataset over one small trained run."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from model_data import (
    EVERY_KIND,
    FEATURES,
    LABELS,
    TASKS,
    arrow,
    make_spec,
    raw_rows,
    upload,
    write_data,
)

import funnel
from funnel.stages.training import trained_estimator
from model.serving.saved_model import save

SPEC = make_spec()
COLUMNS = raw_rows(30, seed=9)[0]
ROWS = pa.table(arrow(SPEC, COLUMNS))


def replaced(name, values):
    return ROWS.set_column(ROWS.column_names.index(name), name, values)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(the configuration of a trained run, a version of its model)."""
    folder = tmp_path_factory.mktemp("scored")
    write_data(folder / "run", train=300, evaluate=100)
    items = [{"item": item, "age": 40.0 + item} for item in range(-4, 5)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    streams = {
        name: {"files": f"{folder}/{name}*", "id": "id", "time": "at"}
        for name in ("impressions", "clicks", "conversions")
    }
    sections = {
        "run": str(folder / "run"),
        "logs": streams,
        "features": FEATURES,
        "labels": LABELS,
        "tasks": TASKS,
        "split": {"eval": {"fraction": 0.2}},
        "model": {"sharing": {"name": "mmoe", "expert_units": [4]}},
        "train": {"batch_size": 64, "steps": 10, "precision": "float32", "tensorboard": False},
    }
    (folder / "my.toml").write_text(tomli_w.dumps(sections))
    config = funnel.load_config(folder / "my.toml")
    assert funnel.train(config).step == 10
    save(trained_estimator(config).load(), folder / "export" / "7")
    return config, folder / "export" / "7"


@pytest.fixture(scope="module")
def expected(trained):
    return funnel.score(trained[0], ROWS)


def close(found, expected):
    for name in ("p_ctr", "p_cvr", "p_ctcvr"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_scores_are_a_table_by_name(expected):
    assert expected.column_names == ["p_ctr", "p_cvr", "p_ctcvr"]
    assert expected.num_rows == 30
    product = np.multiply(expected["p_ctr"], expected["p_cvr"])
    np.testing.assert_allclose(expected["p_ctcvr"], product, rtol=1e-5)
    assert len(set(expected["p_ctr"].to_pylist())) > 10


def test_every_kind_of_rows_and_of_model_scores_alike(trained, expected, tmp_path):
    config, version = trained
    own = {name: COLUMNS[name] for name in SPEC.columns}
    pq.write_table(
        ROWS.append_column("id", pa.array([f"r{n}" for n in range(30)])), tmp_path / "a.parquet"
    )
    for rows in (
        own,
        pd.DataFrame(own),
        ROWS.to_batches()[0],
        ROWS.append_column("more", ROWS["age"]),
    ):
        close(funnel.score(config, rows), expected)
    for model in (version, version.parent, str(version)):
        close(funnel.score(model, own), expected)
        close(funnel.score(model, tmp_path / "a.parquet"), expected)
    found = funnel.score(config, [tmp_path / "a.parquet"])
    assert found["id"].to_pylist()[:2] == ["r0", "r1"]
    close(found, expected)


def test_columns_of_a_look_up_table_are_joined(trained):
    config, _ = trained
    folder = config.run.parent
    lookup = {"items": {"files": str(folder / "items.jsonl"), "key": "item"}}
    joined = funnel.load_config(folder / "my.toml", {"logs.impressions.lookups": lookup})
    aged = replaced("age", pa.array([40.0 + item for item in COLUMNS["item"]]))
    close(funnel.score(joined, ROWS.drop_columns(["age"])), funnel.score(config, aged))


def test_rows_of_files_that_cannot_be_read_are_left_out_with_a_warning(trained, tmp_path, caplog):
    own = {name: COLUMNS[name] for name in SPEC.columns} | {"id": list(range(30))}
    lines = [dict(zip(own, values, strict=True)) for values in zip(*own.values(), strict=True)]
    lines[3]["price"] = "cheap"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = funnel.score(trained[0], str(tmp_path / "*.jsonl"))
    assert found["id"].to_pylist() == [str(n) for n in range(30) if n != 3]
    assert caplog.messages == [
        "1 rows cannot be scored; the first is a.jsonl, line 4: price is not a number"
    ]


WRONG = {
    "a column is absent": ({"user": ["u1"]}, "rows: has no column 'item'"),
    "a misspelled one": (
        {"usr": ["u1"], "item": [1], "tags": [[]], "price": [1.0], "age": [1.0]},
        "rows: has no column 'user': did you mean 'usr'?",
    ),
    "of another type": (
        replaced("tags", ROWS["age"]),
        "column 'tags' holds double, not lists",
    ),
    "a value that does not fit": (
        replaced("price", pa.array(["1.5", *["cheap"] * 29])),
        "rows: 29 of 30 cannot be scored; the first is row 2: price is not a number ('cheap')",
    ),
    "unequal lengths": ({"user": ["u1"], "item": [1, 2]}, "rows: cannot be read as a table"),
    "one value": ({"user": "u1"}, "'u1' is one value, not a column"),
    "no table": ([1, 2], "rows is a list: give a pyarrow Table, a dict of columns"),
    "no rows": (ROWS.slice(0, 0), "rows: there are none to score"),
    "no file": ("none*.parquet", "rows = 'none*.parquet': no file matches"),
}


@pytest.mark.parametrize(("rows", "message"), WRONG.values(), ids=WRONG)
def test_wrong_rows(trained, rows, message):
    for model in (trained[0], trained[1]):
        with pytest.raises(funnel.FunnelError) as raised:
            funnel.score(model, rows)
        assert message in str(raised.value)


def test_wrong_models(trained, tmp_path):
    with pytest.raises(funnel.FunnelError, match=r"holds neither saved_model\.pb nor a version"):
        funnel.score(tmp_path, ROWS)
    with pytest.raises(funnel.FunnelError, match=r"none\.toml: cannot be read"):
        funnel.score("none.toml", ROWS)
    holes = replaced("item", pa.nulls(30, pa.int64()))
    with pytest.raises(
        funnel.FunnelError, match="'item' has 30 missing values, and a request cannot leave out int"
    ):
        funnel.score(trained[1], holes)
    assert funnel.score(trained[0], holes).num_rows == 30


@pytest.mark.slow
def test_callbacks_hear_reports_and_results_are_recorded(trained):
    config, _ = trained
    reports = []
    changed = funnel.load_config(config.run.parent / "my.toml", {"train.steps": 12})
    funnel.train(changed, callbacks=[reports.append])
    assert [report.step for report in reports] == [12]
    assert funnel.evaluate(changed).keys() == {"ctr", "cvr", "ctcvr"}
    done = json.loads((config.run / ".stages.json").read_text())
    assert {name: stage["done"] for name, stage in done.items()} == {
        "train": True,
        "evaluate": True,
    }


def test_a_dataset_by_name(tmp_path):
    spec = make_spec(features=EVERY_KIND)
    directory = write_data(tmp_path, spec, train=50, evaluate=20)
    data = funnel.Dataset(directory)
    assert (
        repr(data) == f"Dataset('{directory}': 50 train, 20 eval rows, {len(EVERY_KIND)} features)"
    )
    assert (data.rows, data.spec) == ({"train": 50, "eval": 20}, spec)
    assert data.features["user"].kind == "categorical"
    batches = list(data.batches("eval", batch_size=16))
    assert [len(batch["id"]) for batch in batches] == [16, 4]
    assert [n for batch in batches for n in batch["id"].numpy()] == [
        b"%d" % n for n in range(50, 70)
    ]
    batch = batches[0]
    assert set(batch) == {
        *(name for name in EVERY_KIND if name != "user_item"),
        *("id", "click", "convert", "tags_weights"),
    }
    assert (batch["user"].shape, batch["tags"].shape, batch["price"].shape) == (16, (16, 3), 16)
    for name, rows in data.table_rows.items():
        ids = np.concatenate([batch[name].numpy().ravel() for batch in batches])
        assert 0 <= ids.min() <= ids.max() < rows
    columns, labels = raw_rows(70)
    np.testing.assert_array_equal(batch["click"], labels["click"][50:66])
    np.testing.assert_allclose(batch["bid"], columns["age"][50:66])  # scale = "none"
    ages = np.array(columns["age"][50:66])
    np.testing.assert_array_equal(batch["age_place"], 1 + np.digitize(ages, [30, 60]))
    first = next(iter(data.batches("train", batch_size=1)))
    example = data.examples(1)[0]
    assert (example["id"], example["click"]) == ("0", None)
    assert [i for i in first["tags"][0].numpy().tolist() if i] == [i for i, _ in example["tags"]]


def test_a_dataset_of_a_configuration(trained):
    config, _ = trained
    data = funnel.Dataset(config)
    assert data.spec is config.spec
    estimator = funnel.RankingEstimator(
        funnel.RankingConfig.of(data.reader, config.model, config.train),
        config.model_dir,
        config.run_config,
    )
    assert estimator.evaluate(data.reader.eval_input(batch_size=32))["ctr"]["rows"] == 98
    with pytest.raises(funnel.FunnelError, match=r"split 'evl' is unknown: did you mean 'eval'\?"):
        data.batches("evl")
    with pytest.raises(funnel.FunnelError, match="batch_size = 0: must be at least 1"):
        data.batches("eval", 0)


def test_a_remote_dataset(tmp_path, server, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("FUNNEL_CACHE", str(tmp_path / "cache"))
    upload(bucket, write_data(tmp_path, train=30, evaluate=9), "ads/data")
    data, local = funnel.Dataset("s3://logs/ads/data"), funnel.Dataset(tmp_path / "data")
    assert data.rows == {"train": 30, "eval": 9}
    (batch,), (same,) = data.batches("eval"), local.batches("eval")
    assert all((batch[name].numpy() == same[name].numpy()).all() for name in same)
    with pytest.raises(funnel.FunnelError, match=r"statistics\.json: is missing; copy it there"):
        _ = data.statistics

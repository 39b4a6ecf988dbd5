"""Shards → batches: what a batch holds, and what is refused before one is read."""

import numpy as np
import pytest
import tensorflow as tf
from model_data import EVERY_KIND, FEATURES, batches, make_estimator, make_spec, write_data

from features.errors import FunnelError
from model.data.input import Data
from model.estimator.estimator import RankingEstimator

SPEC = make_spec()


def train(data, size, seed=1):
    """Batches of the training split without end."""
    return data.train_input(batch_size=size, shuffle_buffer=8, seed=seed)(
        tf.distribute.InputContext()
    )


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path, train=50, evaluate=33)


def test_evaluation_reads_every_row_once(folder):
    found = [
        b["id"].numpy().astype(int).tolist() for b in batches(Data(folder, SPEC), 10, split="eval")
    ]
    assert [len(ids) for ids in found] == [10, 10, 10, 3]
    assert [i for ids in found for i in ids] == list(range(50, 83))


def test_training_batches_are_full_and_every_epoch_holds_every_row(folder):
    found = [b["id"].numpy() for b in train(Data(folder, SPEC), 20).take(10)]  # 200 = 4 epochs
    assert {len(ids) for ids in found} == {20}
    epochs = np.concatenate(found).astype(int).reshape(4, 50)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(50))] * 4
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4  # shuffled again


def test_the_batch_may_be_larger_than_the_split(folder):
    assert next(iter(train(Data(folder, SPEC), 120)))["ids"].shape == (120, SPEC.ids_width)


def test_the_seed_decides_the_order(folder):
    first, same, other = (
        next(iter(train(Data(folder, SPEC), 20, seed)))["id"].numpy().tolist() for seed in (1, 1, 2)
    )
    assert first == same != other


def test_rows_of_a_large_split_are_shuffled_in_blocks_and_go_on_from_a_place(tmp_path):
    data = Data(
        write_data(tmp_path, train=8003, evaluate=1), SPEC
    )  # the last block of a file is smaller

    def order():
        return data.train_input(batch_size=100, shuffle_buffer=8000, seed=1)(
            tf.distribute.InputContext()
        )

    epochs = np.concatenate([b["id"].numpy().astype(int) for b in order().take(161)])[
        :16006
    ].reshape(2, 8003)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(8003))] * 2
    assert (epochs[0] != epochs[1]).mean() > 0.99
    assert 0.8 < (np.diff(epochs[0]) == 1).mean() < 0.9  # seven of eight
    first, second = iter(order()), iter(order())
    for _ in range(30):
        next(first)
    place = tf.raw_ops.SerializeIterator(resource_handle=first._iterator_resource)
    tf.raw_ops.DeserializeIterator(resource_handle=second._iterator_resource, serialized=place)
    assert [next(first)["id"].numpy().tolist() for _ in range(60)] == [
        next(second)["id"].numpy().tolist() for _ in range(60)
    ]


@pytest.mark.parametrize(("kind", "ids", "dense"), [("numeric", 0, 2), ("categorical", 5, 0)])
def test_specs_without_ids_or_without_numbers(tmp_path, kind, ids, dense):
    spec = make_spec(features={name: f for name, f in FEATURES.items() if f["kind"] == kind})
    batch = next(iter(batches(Data(write_data(tmp_path, spec), spec), 7, split="eval")))
    assert (batch["ids"].shape, batch["dense"].shape) == ((7, ids), (7, dense))


def test_moments_are_those_of_the_training_split(folder):
    dense = next(iter(train(Data(folder, SPEC), 50)))["dense"].numpy()
    prices = dense[:, SPEC.dense_slots["price"].start].astype(np.float64)
    logs = np.log1p(prices[~np.isnan(prices)])
    np.testing.assert_allclose(
        Data(folder, SPEC).fitted.moments["price"], (logs.mean(), logs.std()), rtol=1e-6
    )


@pytest.mark.parametrize("features", [FEATURES, EVERY_KIND])
@pytest.mark.parametrize(
    "output",
    [{"layout": "columns"}, {"compression": "gzip"}, {"layout": "columns", "compression": "gzip"}],
)
def test_every_layout_gives_the_same_batches(tmp_path, features, output):
    spec, weights = make_spec(features=features), np.linspace(1, 9, 83, dtype=np.float32)
    packed = write_data(tmp_path / "packed", spec, train=50, evaluate=33, weights=weights)
    other = write_data(tmp_path / "other", spec, train=50, evaluate=33, weights=weights, **output)
    (expected,), (found,) = (
        list(batches(Data(folder, spec), 40, split="eval")) for folder in (packed, other)
    )
    assert expected.keys() == found.keys() == {"id", "ids", "dense", "weight", *spec.labels}
    for name in expected.keys() - {"ids", "dense"}:
        np.testing.assert_array_equal(found[name], expected[name])
    ids, weighted = expected["ids"].numpy().copy(), expected["dense"].numpy().copy()
    for (
        name,
        slots,
    ) in (
        spec.id_slots.items()
    ):  # of lists the columns layout keeps what is there, moved to the front
        order = np.argsort(ids[:, slots.slice] == 0, axis=1, kind="stable")
        ids[:, slots.slice] = np.take_along_axis(ids[:, slots.slice], order, 1)
        if name in spec.weight_slots:
            own = weighted[:, spec.weight_slots[name].slice]
            weighted[:, spec.weight_slots[name].slice] = np.where(
                ids[:, slots.slice] > 0, np.take_along_axis(own, order, 1), 1
            )
    np.testing.assert_array_equal(found["ids"], ids)
    np.testing.assert_array_equal(found["dense"], weighted)
    np.testing.assert_array_equal(found["weight"], weights[50:])


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(
        FunnelError,
        match=r"nowhere: is not a preprocessed directory .*; run `funnel preprocess` first",
    ):
        Data(tmp_path / "nowhere", SPEC)


def test_another_spec_is_refused_with_both_fingerprints(folder):
    other = make_spec(
        features=FEATURES | {"user": {"kind": "categorical", "buckets": 41, "dim": 4}}
    )
    with pytest.raises(
        FunnelError,
        match=f"fingerprint {SPEC.fingerprint}, the configuration's is {other.fingerprint}",
    ):
        Data(folder, other)


def test_a_truncated_or_missing_shard_is_refused(folder):
    shard = folder / "train/part-00001-of-00002.tfrecord"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        FunnelError,
        match=rf"part-00001-of-00002\.tfrecord: has {size - 1} bytes, its manifest says {size}",
    ):
        Data(folder, SPEC)
    shard.unlink()
    with pytest.raises(
        FunnelError,
        match=rf"part-00001-of-00002\.tfrecord: has None bytes, its manifest says {size}",
    ):
        Data(folder, SPEC)


@pytest.mark.parametrize(("rows", "split"), [({"train": 0}, "train"), ({"evaluate": 0}, "eval")])
def test_an_empty_split_is_refused(tmp_path, rows, split):
    folder = write_data(tmp_path, **({"train": 20, "evaluate": 20} | rows))
    with pytest.raises(FunnelError, match=f"its {split} split is empty; choose another split.eval"):
        Data(folder, SPEC)


def test_a_shard_without_rows_is_no_matter(tmp_path):
    data = Data(write_data(tmp_path, train=3, evaluate=2, shards=4), SPEC)
    assert [len(b["id"]) for b in batches(data, 10, split="eval")] == [2]
    assert len(next(iter(train(data, 6)))["id"]) == 6


def test_workers_read_shards_of_their_own(tmp_path):
    data = Data(write_data(tmp_path, train=60, evaluate=20, shards=3), SPEC)
    read = [
        data.eval_input(batch_size=50)(tf.distribute.InputContext(2, worker, 2))
        for worker in (0, 1)
    ]
    first, second = ([int(i) for b in one for i in b["id"].numpy()] for one in read)
    assert set(first) | set(second) == set(range(60, 80))
    assert not set(first) & set(second)


def test_a_worker_without_a_shard_is_refused(tmp_path):
    data = Data(write_data(tmp_path, shards=2), SPEC)
    with pytest.raises(
        FunnelError, match=r"its train split has 2 shards for 3 workers.*output.shards = 3 or more"
    ):
        data.train_input(batch_size=30, shuffle_buffer=8, seed=1)(
            tf.distribute.InputContext(3, 0, 3)
        )


@pytest.mark.parametrize(("name", "bad", "rows"), [("item", 30, 30), ("user", -1, 40)])
def test_an_id_outside_its_table_is_refused(tmp_path, name, bad, rows):
    write_data(tmp_path)
    estimator = make_estimator(tmp_path, steps=1)
    estimator.train()
    slot = SPEC.id_slots[name].start

    def spoilt(context):
        def spoil(batch):
            ids = tf.tensor_scatter_nd_update(
                batch["ids"], [[3, slot]], tf.constant([bad], tf.int64)
            )
            return batch | {"ids": ids}

        return estimator.train_input(context).map(spoil)

    said = rf"features\.{name} has the id {bad}, its table the rows 0 … {rows} − 1"
    with pytest.raises(FunnelError, match=said):
        RankingEstimator.predict(estimator, spoilt)
    with pytest.raises(FunnelError, match=said):
        RankingEstimator.train(make_estimator(tmp_path, from_scratch=True), spoilt, max_steps=2)

"""pipeline.write: TensorFlow itself reads the shards back, and schema.pbtxt describes just what is in them."""

import hashlib

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from features.spec import Spec
from pipeline import write

FEATURES = {
    "user": {"kind": "categorical", "buckets": 100},
    "tags": {"kind": "categorical", "buckets": 50, "max_length": 2},
    "price": {"kind": "numeric"},
}
ONLY = {"ids": ["user", "tags"], "dense": ["price"], "both": ["user", "tags", "price"]}


def make_spec(kind):
    return Spec.parse(
        {
            "features": {name: FEATURES[name] for name in ONLY[kind]},
            "labels": {"click": {"column": "c"}, "buy": {"column": "b"}},
            "tasks": {"ctr": {"label": "click"}},
        }
    )


def written(spec, rows, folder):
    """(path, what write_shard tells, the columns)."""
    rng = np.random.default_rng(1)
    columns = {
        "ids": rng.integers(0, 2**31 - 1, (rows, spec.ids_width)).astype(np.int32),
        "dense": np.where(rng.random((rows, spec.dense_width)) < 0.2, np.nan, rng.normal(size=(rows, spec.dense_width))).astype(np.float32),
        "click": rng.integers(-1, 2, rows).astype(np.int8),
        "buy": rng.integers(-1, 2, rows).astype(np.int8),
        "id": [f"日本-{i}" for i in range(rows)],
    }
    labels = {name: columns[name] for name in spec.labels}
    shard = write.write_shard(folder / "train" / "a", spec, columns["ids"], columns["dense"], labels, pa.array(columns["id"], pa.string()))
    return folder / "train" / "a", shard, columns


def parse(spec, path):
    """Every column of a shard, as TensorFlow reads it; tf.data checks the framing and both checksums."""
    kinds = {"id": tf.io.FixedLenFeature([], tf.string)} | {name: tf.io.FixedLenFeature([], tf.int64) for name in spec.labels}
    kinds |= {"ids": tf.io.FixedLenFeature([spec.ids_width], tf.int64)} if spec.ids_width else {}
    kinds |= {"dense": tf.io.FixedLenFeature([spec.dense_width], tf.float32)} if spec.dense_width else {}
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    return records, {k: v.numpy() for k, v in tf.io.parse_example(tf.constant(records, tf.string), kinds).items()}


@pytest.mark.parametrize("kind", ONLY)
def test_tensorflow_reads_it_back(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(write, "ROWS_AT_ONCE", 7)
    spec = make_spec(kind)
    path, shard, columns = written(spec, 30, tmp_path)
    records, parsed = parse(spec, path)
    assert shard == {"rows": 30, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(records) == 30
    for name, values in parsed.items():
        expected = np.array([i.encode() for i in columns["id"]]) if name == "id" else columns[name]
        np.testing.assert_array_equal(values, expected)
    whole = tf.train.Example.FromString(records[0])  # the messages of the columns, one after the other, are one message
    assert set(whole.features.feature) == set(parsed)


@pytest.mark.parametrize("kind", ONLY)
def test_the_schema_describes_it(tmp_path, kind):
    spec = make_spec(kind)
    path, _, _ = written(spec, 3, tmp_path)
    schema = text_format.Parse(write.schema_text(spec), schema_pb2.Schema())
    described = {feature.name: feature for feature in schema.feature}
    for record in parse(spec, path)[0]:
        found = tf.train.Example.FromString(record).features.feature
        assert set(found) == set(described)
        for name, feature in found.items():
            kind_of = {"int64_list": schema_pb2.INT, "float_list": schema_pb2.FLOAT, "bytes_list": schema_pb2.BYTES}
            assert described[name].type == kind_of[feature.WhichOneof("kind")]
            dims = [dim.size for dim in described[name].shape.dim]
            assert len(getattr(feature, feature.WhichOneof("kind")).value) == np.prod(dims, dtype=int)
    assert {(described[n].int_domain.min, described[n].int_domain.max) for n in spec.labels} == {(-1, 1)}
    assert {feature.presence.min_fraction for feature in described.values()} == {1.0}


def test_an_empty_shard(tmp_path):
    spec = make_spec("both")
    path, shard, _ = written(spec, 0, tmp_path)
    assert (shard["rows"], shard["bytes"], path.read_bytes()) == (0, 0, b"")
    assert list(tf.data.TFRecordDataset(str(path))) == []


def test_the_same_bytes_every_time(tmp_path):
    assert len({written(make_spec("both"), 50, tmp_path / str(i))[1]["sha256"] for i in range(3)}) == 1


def test_framing_on_paper():
    # masked crc = rotate right by 15, plus 0xa282ead8, of crc32c; crc32c("123456789") = 0xe3069283 (RFC 3720)
    assert google_crc32c.value(b"123456789") == 0xE3069283
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    framed = write.frame([b"123456789"])
    assert framed[:8] == (9).to_bytes(8, "little")
    assert framed[12:21] == b"123456789"
    assert framed[21:] == masked.to_bytes(4, "little")
    assert len(framed) == 9 + 16


def test_shard_names_sort_as_their_numbers():
    assert write.shard_name("eval", 7, 16) == "eval/part-00007-of-00016.tfrecord"

"""pipeline.output: TensorFlow and TFX read both layouts back, and schema.pbtxt describes exactly
what they hold.
"""

import gzip
import hashlib

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder
from tfx_bsl.tfxio import dataset_options, tf_example_record

from features.spec import Spec
from pipeline.output import examples, shards, tfrecord
from pipeline.output.examples import Rows
from pipeline.output.schema import schema_text
from pipeline.output.shards import write_shard

NAN = float("nan")
FEATURES = {
    "user": {"kind": "categorical", "buckets": 100},
    "tags": {"kind": "categorical", "buckets": 1000, "max_length": 3, "weights": "shares"},
    "last": {"kind": "sequence", "min_count": 1, "max_length": 1},
    "price": {"kind": "numeric"},
}
LABELS = {"spent": {"value": "amount"}, "click": {"column": "c"}}


def spec_of(*features):
    chosen = {name: FEATURES[name] for name in features}
    return Spec.parse({"features": chosen, "labels": LABELS, "tasks": {"ctr": {"label": "click"}}})


SPEC = spec_of(*FEATURES)
ROWS = Rows(  # ids: user, three tags, last; dense: price, the weights of the tags
    ids=np.array([[7, 127, 128, 999, 1], [0, 5, 0, 6, 0], [99, 0, 0, 0, 2**31 - 2]], np.int32),
    dense=np.array([[1.5, 0.5, 0.25, 2], [NAN, 1, 8, 3], [-2, NAN, NAN, NAN]], np.float32),
    labels={"spent": np.array([2.5, -1, 0], np.float32), "click": np.array([1, 0, -1], np.int8)},
    weights=np.array([1, 4, 1], np.float32),
    row_ids=pa.array(["a", "日本", ""]),
)
BOTH = [
    {"click": [1], "id": [b"a"], "spent": [2.5], "weight": [1.0]},
    {"click": [0], "id": ["日本".encode()], "spent": [-1.0], "weight": [4.0]},
    {"click": [-1], "id": [b""], "spent": [0.0], "weight": [1.0]},
]
EXPECTED = {
    "packed": [
        {"dense": [1.5, 0.5, 0.25, 2.0], "ids": [7, 127, 128, 999, 1], **BOTH[0]},
        {"dense": [NAN, 1.0, 8.0, 3.0], "ids": [0, 5, 0, 6, 0], **BOTH[1]},
        {"dense": [-2.0, NAN, NAN, NAN], "ids": [99, 0, 0, 0, 2**31 - 2], **BOTH[2]},
    ],
    "columns": [
        {
            "last": [1],
            "price": [1.5],
            "tags": [127, 128, 999],
            "tags_weights": [0.5, 0.25, 2.0],
            "user": [7],
            **BOTH[0],
        },
        {
            "last": [],
            "price": [],
            "tags": [5, 6],
            "tags_weights": [1.0, 3.0],
            "user": [0],
            **BOTH[1],
        },
        {
            "last": [2**31 - 2],
            "price": [-2.0],
            "tags": [],
            "tags_weights": [],
            "user": [99],
            **BOTH[2],
        },
    ],
}
LAYOUTS = pytest.mark.parametrize("layout", EXPECTED)
COMPRESSIONS = pytest.mark.parametrize("compression", ["none", "gzip"])


def records(path, compression="none"):
    """The records of a shard; tf.data checks the framing and both checksums."""
    return list(
        tf.data.TFRecordDataset(
            str(path), "GZIP" if compression == "gzip" else ""
        ).as_numpy_iterator()
    )


@LAYOUTS
def test_tfx_decodes_it(tmp_path, layout):
    write_shard(tmp_path / "a", SPEC, ROWS, layout=layout)
    decoded = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(records(tmp_path / "a"))
    np.testing.assert_equal(decoded.to_pylist(), EXPECTED[layout])


@LAYOUTS
@COMPRESSIONS
def test_tensorflow_parses_it(tmp_path, layout, compression):
    write_shard(tmp_path / "a", SPEC, ROWS, layout=layout, compression=compression)
    kinds = {"id": tf.string} | dict.fromkeys(["click", "ids", "last", "tags", "user"], tf.int64)
    wanted = {
        name: tf.io.RaggedFeature(kinds.get(name, tf.float32)) for name in EXPECTED[layout][0]
    }
    for name, values in tf.io.parse_example(records(tmp_path / "a", compression), wanted).items():
        np.testing.assert_equal(values.to_list(), [row[name] for row in EXPECTED[layout]])


def test_tensorflow_parses_packed_into_fixed_shapes(tmp_path):
    write_shard(tmp_path / "a", SPEC, ROWS)
    wanted = {
        "ids": tf.io.FixedLenFeature([5], tf.int64),
        "dense": tf.io.FixedLenFeature([4], tf.float32),
    }
    parsed = tf.io.parse_example(records(tmp_path / "a"), wanted)
    np.testing.assert_array_equal(parsed["ids"], ROWS.ids)
    np.testing.assert_array_equal(parsed["dense"], ROWS.dense)


@LAYOUTS
def test_tfx_reads_it_by_its_schema(tmp_path, layout):
    write_shard(tmp_path / "a", SPEC, ROWS, layout=layout)
    schema = text_format.Parse(schema_text(SPEC, layout, weighted=True), schema_pb2.Schema())
    source = tf_example_record.TFExampleRecord(
        str(tmp_path / "a"), schema=schema, telemetry_descriptors=["test"]
    )
    (batch,) = source.RecordBatches(
        dataset_options.RecordBatchesOptions(batch_size=3, shuffle=False, num_epochs=1)
    )
    np.testing.assert_equal(batch.to_pylist(), EXPECTED[layout])
    tensors = source.TensorAdapter().ToBatchTensors(batch)
    assert {name for name, tensor in tensors.items() if isinstance(tensor, tf.SparseTensor)} == (
        {"last", "price", "tags", "tags_weights"} if layout == "columns" else set()
    )
    assert tensors["click"].shape == (3,)
    if layout == "packed":
        assert (tensors["ids"].shape, tensors["dense"].shape) == ((3, 5), (3, 4))


def test_the_schema_of_packed():
    schema = text_format.Parse(schema_text(SPEC), schema_pb2.Schema())
    assert {
        f.name: [dim.size for dim in f.shape.dim] for f in schema.feature if f.HasField("shape")
    } == ({"ids": [5], "dense": [4], "spent": [], "click": [], "id": []})
    assert {
        f.name: (f.int_domain.min, f.int_domain.max)
        for f in schema.feature
        if f.HasField("int_domain")
    } == {"click": (-1, 1)}
    assert {f.presence.min_fraction for f in schema.feature} == {1.0}


def test_the_schema_of_columns():
    schema = text_format.Parse(schema_text(SPEC, "columns", weighted=True), schema_pb2.Schema())
    lists = {
        f.name: (f.value_count.min, f.value_count.max)
        for f in schema.feature
        if f.HasField("value_count")
    }
    domains = {
        f.name: (f.int_domain.min, f.int_domain.max)
        for f in schema.feature
        if f.HasField("int_domain")
    }
    assert lists == {"tags": (0, 3), "tags_weights": (0, 3), "last": (0, 1), "price": (0, 1)}
    assert domains == {
        "user": (0, 99),
        "tags": (0, 999),
        "click": (-1, 1),
    }  # what min_count leaves of `last` is not known yet
    assert {f.name for f in schema.feature if f.HasField("shape")} == {
        "user",
        "spent",
        "click",
        "weight",
        "id",
    }


def test_an_example_on_paper():
    # Example {features: {entry: {key: "x", value: {int64_list: {value: [5, 300]}}}}, the entry of
    # "y" with an empty float_list}
    columns = [
        examples.ExampleColumn("y", examples.FLOAT, pa.array([b""])),
        examples.ExampleColumn("x", examples.INT, pa.array([b"\x05\xac\x02"])),
    ]
    x, y = (
        b"\x0a\x0c\x0a\x01x\x12\x07\x1a\x05\x0a\x03\x05\xac\x02",
        b"\x0a\x07\x0a\x01y\x12\x02\x12\x00",
    )
    assert examples.encode_examples(columns).to_pylist() == [
        b"\x0a\x17" + x + y
    ]  # in the order of the names


@LAYOUTS
def test_an_example_is_one_message_without_spare_bytes(tmp_path, layout):
    write_shard(tmp_path / "a", SPEC, ROWS, layout=layout)
    for record in records(tmp_path / "a"):
        assert len(record) == tf.train.Example.FromString(record).ByteSize()


def test_ids_at_the_limits_of_their_bytes():
    limits = [[2 ** (7 * k) - 1, 2 ** (7 * k)] for k in range(1, 5)] + [[0, 2**31 - 1]]
    rows = Rows(np.array(limits, np.int32), np.zeros((5, 0)), {}, None, pa.array(["i"] * 5))
    for given in (rows, rows[:3]):  # with and without an id that needs five bytes
        lists = examples.encode_examples(
            [examples.ExampleColumn("ids", examples.INT, examples._varints(given.ids))]
        )
        found = [tf.train.Example.FromString(e) for e in lists.to_pylist()]
        assert [list(e.features.feature["ids"].int64_list.value) for e in found] == limits[
            : len(given)
        ]


@pytest.mark.parametrize(
    ("features", "packed"), [(["user", "last"], {"ids"}), (["price"], {"dense"})]
)
def test_what_a_spec_lacks_is_left_out(tmp_path, features, packed):
    spec = spec_of(*features)
    rows = Rows(
        ROWS.ids[:, : spec.ids_width],
        ROWS.dense[:, : spec.dense_width],
        ROWS.labels,
        None,
        ROWS.row_ids,
    )
    for layout, names in [("packed", packed), ("columns", set(features))]:
        write_shard(tmp_path / layout, spec, rows, layout=layout)
        found = tf.train.Example.FromString(records(tmp_path / layout)[0]).features.feature
        described = text_format.Parse(schema_text(spec, layout), schema_pb2.Schema()).feature
        assert set(found) == {f.name for f in described} == names | {"spent", "click", "id"}


@LAYOUTS
@COMPRESSIONS
def test_the_same_bytes_however_many_rows_at_once(tmp_path, monkeypatch, layout, compression):
    described = []
    for at_once in (3, 3, 2, 1):
        monkeypatch.setattr(shards, "ROWS_AT_ONCE", at_once)
        described.append(
            write_shard(
                tmp_path / "train" / "a", SPEC, ROWS, layout=layout, compression=compression
            )
        )
    written = (tmp_path / "train" / "a").read_bytes()
    assert (
        described
        == [{"rows": 3, "bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}] * 4
    )


def test_gzip_holds_the_same_records_and_no_time(tmp_path):
    for compression in ("none", "gzip"):
        write_shard(tmp_path / compression, SPEC, ROWS, compression=compression)
    packed = (tmp_path / "gzip").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "none").read_bytes()
    assert packed[:8] == b"\x1f\x8b\x08\x00" + bytes(4)  # deflate, no name, time stamp 0


@COMPRESSIONS
def test_an_empty_shard(tmp_path, compression):
    shard = write_shard(tmp_path / "a", SPEC, ROWS[:0], compression=compression)
    assert (shard["rows"], shard["bytes"]) == (0, {"none": 0, "gzip": 20}[compression])
    assert records(tmp_path / "a", compression) == []


def test_framing_on_paper():
    # masked crc = rotate right by 15, plus 0xa282ead8, of crc32c; crc32c("123456789") = 0xe3069283
    # (RFC 3720)
    assert google_crc32c.value(b"123456789") == 0xE3069283
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    framed = tfrecord.frame(pa.array([b"123456789"]))
    assert framed[:8] == (9).to_bytes(8, "little")
    assert framed[12:21] == b"123456789"
    assert framed[21:] == masked.to_bytes(4, "little")
    assert len(framed) == 9 + 16


def test_shard_names_sort_as_their_numbers():
    assert shards.shard_name("eval", 7, 16) == "eval/part-00007-of-00016.tfrecord"
    assert shards.shard_name("train", 12, 16, "gzip") == "train/part-00012-of-00016.tfrecord.gz"

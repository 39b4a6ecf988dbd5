import base64
import io
import math
import pickle

import numpy as np
import pytest

from pipeline.labeling.labels import Early
from pipeline.output.results import PartitionResult
from pipeline.spans import Spans
from pipeline.statistics.label_texts import LabelTexts
from pipeline.statistics.moments import Moments
from pipeline.statistics.partitions import PartitionStatistics
from pipeline.statistics.sample import SplitRows
from pipeline.statistics.sketches import Profile
from pipeline.statistics.streams import StreamCounts
from pipeline.typed_json import read_all, write_all


def same(left, right):
    """Equal values of equal types, arrays to the bit."""
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert left.tobytes() == right.tobytes()
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            same(one, other)
    elif hasattr(left, "__dataclass_fields__"):
        same(vars(left), vars(right))
    else:
        assert left == right or (math.isnan(left) and math.isnan(right))


def test_counts_are_read_as_they_were_written(tmp_path):
    counts = StreamCounts(
        "clicks",
        rows_read=5,
        rejected={"id is missing": 2},
        last_time=-7,
        spans=Spans(10, np.array([[1, 2, 3]])),
        lookup_misses={"items": 1},
        profiles={"item": Profile(3, 1, np.array([2**64 - 1], np.uint64), {"é\x1b[0m": 2})},
        sample=b"\x00\xff\x80",
        texts={"click": LabelTexts(2, ("a", "b"))},
    )
    write_all(tmp_path / "counts", StreamCounts, [counts, StreamCounts("empty")])
    same(read_all(tmp_path / "counts", StreamCounts), [counts, StreamCounts("empty")])


def test_results_are_read_as_they_were_written(tmp_path):
    rows = SplitRows(
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.array([[np.nan], [-0.0]], np.float32),
        {"click": np.array([1, -1], np.int8), "dwell": np.array([0.1, 2], np.float32)},
        np.array([5, 6]),
        np.array([1, 2**63], np.uint64),
        None,
    )
    statistics = PartitionStatistics(
        labels={"train": np.ones((2, 6)), "eval": np.zeros((2, 6))},
        days={20_000: np.ones((2, 6)), -3: np.zeros((2, 6))},
        missing={"item": 1},
        raw={"price": Moments(1, 0.1, math.inf, -math.inf, math.nan)},
        transformed={"price": Moments()},
        counts={"item": (np.array([1, 5], np.int32), np.array([2, 3]))},
        outcomes={(1, -1): np.array([0.1, 0.2]), (0, 1): np.array([3.0, 4.0])},
        sample=rows,
    )
    result = PartitionResult(
        number=3,
        counts={"duplicates": 1, "events": {"click": {"matched": 2}}},
        early={"click": Early(5, {"1s": 1, "1d": 2})},
        shards={"train": {"file": "train/a", "rows": 2, "bytes": 9, "sha256": "ab"}},
        statistics=statistics,
    )
    write_all(tmp_path / "results", PartitionResult, [result])
    same(read_all(tmp_path / "results", PartitionResult), [result])


class Payload:
    def __reduce__(self):
        return (open, ("made-by-the-payload", "w"))


def npy_of_objects():
    file = io.BytesIO()
    np.save(file, np.array([Payload()], object), allow_pickle=True)
    return base64.b64encode(file.getbuffer()).decode()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps([Payload()]),
        f'[{{"gap": 5, "table": "{npy_of_objects()}"}}]'.encode(),
        b'[{"gap": 5, "table": [1, 2]}]',
        b'[{"gap": 5, "table": "AAAA"}]',
        b'[{"gap": "five", "table": ""}]',
    ],
)
def test_a_file_of_anything_else_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spans").write_bytes(content)
    with pytest.raises(ValueError, match="Spans"):
        read_all(tmp_path / "spans", Spans)
    assert [path.name for path in tmp_path.iterdir()] == ["spans"]

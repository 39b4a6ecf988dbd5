"""features.hashing: golden values, missing is 0, and uses of one hash that know nothing of each
other.
"""

import numpy as np
import pyarrow as pa
import pytest

from features import hashing

# FarmHash fingerprint64, as TensorFlow's own test of to_hash_bucket_fast has them: modulo 10 they
# are 9, 2, 2, 5.
FINGERPRINTS = {
    "": 11160318154034397263,
    "a": 12917804110809363939,
    "b": 11795596070477164822,
    "c": 11430444447143000872,
    "d": 4470636696479570465,
}
GAMMA = 0x9E3779B97F4A7C15


def test_golden_fingerprints():
    assert hashing.fingerprint64(pa.array(list(FINGERPRINTS))).tolist() == list(
        FINGERPRINTS.values()
    )
    assert (hashing.fingerprint64(pa.array(["a", "b", "c", "d"])) % 10).tolist() == [9, 2, 2, 5]


def test_null_hashes_as_the_empty_text():
    assert hashing.fingerprint64(pa.array([None, ""])).tolist() == [FINGERPRINTS[""]] * 2
    assert hashing.fingerprint64(pa.chunked_array([["a"], ["b", None]])).tolist() == [
        FINGERPRINTS[t] for t in ("a", "b", "")
    ]


@pytest.mark.parametrize("buckets", [2, 3, 100, 2**31 - 1])
def test_ids_on_paper(buckets):
    # id = 1 + fingerprint mod (buckets − 1); 0 is kept for what is missing
    texts = ["a", "b", None, "", "a", "d"]
    expected = [1 + FINGERPRINTS[t] % (buckets - 1) if t else 0 for t in texts]
    for array in (
        pa.array(texts),
        pa.chunked_array([texts[:2], texts[2:]]),
        pa.array(["x", *texts])[1:],
    ):
        ids = hashing.bucket_ids(array, buckets)
        assert ids.dtype == np.int32
        assert ids.tolist() == expected


def test_every_bucket_is_reached_and_none_beyond():
    ids = hashing.bucket_ids(pa.array([str(i) for i in range(2000)]), 11)
    assert set(ids) == set(range(1, 11))
    assert np.bincount(ids, minlength=11)[1:].min() > 150  # of 200 expected
    assert hashing.bucket_ids(pa.array([], pa.string()), 11).tolist() == []
    assert hashing.bucket_ids(pa.nulls(2, pa.string()), 11).tolist() == [0, 0]


def test_mix_is_splitmix64():
    # The generator seeded with 0 adds GAMMA before each output (Steele, Lea and Flood, 2014).
    states = np.array([GAMMA * k % 2**64 for k in range(4)], np.uint64)
    assert [f"{v:016x}" for v in hashing.mix(states, np.uint64(GAMMA)).tolist()] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "06c45d188009454f",
        "f88bb8a8724c81ec",
    ]
    assert hashing.PARTITION == GAMMA


def test_fractions_fill_the_unit_interval():
    hashes = hashing.fingerprint64(pa.array([str(i) for i in range(20_000)]))
    for use in (hashing.SPLIT, hashing.SAMPLE):
        fractions = hashing.fractions(hashes, use)
        assert fractions.min() >= 0
        assert fractions.max() < 1
        counts = np.histogram(fractions, 10, (0, 1))[0]
        assert abs(counts - 2000).max() < 200  # five deviations of a binomial: √(20000·.1·.9) = 42


def test_the_four_uses_are_independent():
    hashes = hashing.fingerprint64(pa.array([str(i) for i in range(20_000)]))
    uses = [
        hashing.fractions(hashes, use)
        for use in (hashing.PARTITION, hashing.ORDER, hashing.SPLIT, hashing.SAMPLE)
    ]
    correlations = np.corrcoef([*uses, hashes.astype(np.float64)])
    assert abs(correlations - np.eye(5)).max() < 0.035  # five times 1/√20000
    _, _, split, sample = uses
    both = ((split < 0.1) & (sample < 0.1)).mean()
    assert both == pytest.approx(0.01, abs=0.004)  # 0.1 if they were one


def test_each_use_has_a_constant_of_its_own():
    uses = (hashing.PARTITION, hashing.ORDER, hashing.SPLIT, hashing.SAMPLE, hashing.NEGATIVES)
    assert [f"{use:016x}" for use in map(int, uses)] == [
        "9e3779b97f4a7c15",
        "3c6ef372fe94f82a",
        "daa66d2c7ddf743f",
        "78dde6e5fd29f054",
        "1715609f7c746c69",
    ]
    drawn = [hashing.fractions(np.array([FINGERPRINTS["a"]], np.uint64), use)[0] for use in uses]
    assert np.round(drawn, 6).tolist() == [0.933383, 0.880804, 0.905171, 0.533211, 0.066766]

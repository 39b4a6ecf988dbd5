"""The one hash of the project: text → bucket, and the mixed hashes that partition, order and split
rows.

fingerprint64 is FarmHash's; `tf.strings.to_hash_bucket_fast` computes the same, so the serving
graph agrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import farmhash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# One constant for each use of an id's hash. A split and a sampling that both read the bare hash
# would not be independent.
PARTITION, ORDER, SPLIT, SAMPLE, NEGATIVES = (
    np.uint64(0x9E3779B97F4A7C15 * k & 0xFFFFFFFFFFFFFFFF) for k in range(1, 6)
)


def fingerprint64(texts: pa.Array) -> np.ndarray:
    """FarmHash fingerprint64 of each text's UTF-8 bytes: [n] strings → [n] uint64. Null hashes as
    the empty string.

    Example:
        >>> fingerprint64(pa.array(["ad 7", None])).tolist()
        [12622456746854749028, 11160318154034397263]
    """
    values = pc.fill_null(texts, "").cast(pa.binary()).to_pylist()
    return np.fromiter(map(farmhash.fingerprint64, values), np.uint64, len(values))


@dataclass(frozen=True)
class Hashed:
    """[n] texts, each distinct one hashed once: the `distinct` texts, their `fingerprints`
    (uint64), and `indices` [n] into them.
    """

    distinct: pa.Array
    fingerprints: np.ndarray
    indices: np.ndarray

    def ids(self, space: int) -> np.ndarray:
        """id = 0 if the text is empty, else 1 + fingerprint64(utf8) mod (space − 1): [n] int32."""
        ids = (1 + self.fingerprints % np.uint64(space - 1)).astype(np.int32)
        ids[pc.equal(self.distinct, "").to_numpy(zero_copy_only=False)] = 0
        return np.take(ids, self.indices)


def hash_texts(texts: pa.Array) -> Hashed:
    """The distinct values of [n] strings, hashed. Null counts as the empty string."""
    encoded = pc.fill_null(texts, "").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return Hashed(encoded.dictionary, fingerprint64(encoded.dictionary), encoded.indices.to_numpy())


def bucket_ids(texts: pa.Array, space: int) -> np.ndarray:
    """id = 0 if the text is null or empty, else 1 + fingerprint64(utf8) mod (space − 1).

    Args:
        texts: [n] strings.
        space: The number of ids, 0 among them.

    Returns:
        [n] int32.

    Example:
        >>> bucket_ids(pa.array(["ad 7", "", None]), 100).tolist()
        [48, 0, 0]
    """
    return hash_texts(texts).ids(space)


def mix(hashes: np.ndarray, use: np.uint64) -> np.ndarray:
    """splitmix64 of hash + constant: [n] uint64 → [n] uint64, independent for each `use`.

    Steele et al., Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        z = hashes + use
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fractions(hashes: np.ndarray, use: np.uint64) -> np.ndarray:
    """The mixed hash as a number in [0, 1): [n] uint64 → [n] float64."""
    return (mix(hashes, use) >> np.uint64(11)).astype(np.float64) / 2.0**53

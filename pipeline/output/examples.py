"""Rows → serialized tf.Examples, a column at a time.

Protobuf writes a map in no fixed order, and so does tfx_bsl. Here features are in the order of
their names, so that the same rows give the same bytes; and it is three times as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.layouts import ArrayKey, array_keys, row_keys
from features.spec import Spec
from pipeline.output.arrow_bytes import binary, by_value, join

BYTES, FLOAT, INT = 1, 2, 3  # the lists of a tf.train.Feature, by their field numbers
KINDS = {"bytes": BYTES, "float": FLOAT, "int64": INT}


@dataclass(frozen=True)
class Rows:
    """The rows of a shard, in the order in which they are written.

    Attributes:
        ids: [n, S] int32.
        dense: [n, D] float32, NaN where missing.
        labels: [n] by name, int8 for binary labels, float32 for numbers, −1 where unknown.
        weights: [n] float32 where the job samples negatives, else None.
        row_ids: [n] strings.
    """

    ids: np.ndarray
    dense: np.ndarray
    labels: Mapping[str, np.ndarray]
    weights: np.ndarray | None
    row_ids: pa.Array

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, rows: slice) -> Rows:
        labels = {name: label[rows] for name, label in self.labels.items()}
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.ids[rows], self.dense[rows], labels, weights, self.row_ids[rows])


class ExampleColumn(NamedTuple):
    """One feature of the tf.Examples.

    Attributes:
        name: its key.
        kind: BYTES, FLOAT or INT.
        lists: [n] the values of every row, as protobuf writes them.
        shape: of the values of a row; () is one value.
        longest: of a list of 0 to `longest` values: the most values that it holds.
        domain: the smallest and largest integer, where they are known.
    """

    name: str
    kind: int
    lists: pa.BinaryArray
    shape: tuple[int, ...] = ()
    longest: int | None = None
    domain: tuple[int, int] | None = None


def example_columns(layout: str, spec: Spec, rows: Rows) -> Iterator[ExampleColumn]:
    """Yields the features of a layout: those of `ids` and `dense`, the labels, weight and id."""
    for key in array_keys(layout, spec):
        yield _array_column(key, rows)
    for name, kind in row_keys(spec, weighted=rows.weights is not None).items():
        if name in spec.labels:
            values = rows.labels[name]
            if kind == "int64":
                lists = by_value(pa.array(values), _varint)
                yield ExampleColumn(name, INT, lists, domain=(-1, 1))
            else:
                yield ExampleColumn(name, FLOAT, _floats(values[:, None]))
        elif kind == "bytes":
            yield ExampleColumn(name, BYTES, rows.row_ids.cast(pa.binary()))
        elif rows.weights is not None:
            yield ExampleColumn(name, FLOAT, _floats(rows.weights[:, None]))


def _array_column(key: ArrayKey, rows: Rows) -> ExampleColumn:
    values = (rows.ids if key.array == "ids" else rows.dense)[:, key.slots.slice]
    present = None
    if key.shape is None and key.present is not None:
        present = rows.ids[:, key.present.slice] != 0
    elif key.shape is None:
        present = ~np.isnan(values)
    return ExampleColumn(
        key.key,
        KINDS[key.kind],
        _varints(values, present) if key.array == "ids" else _floats(values, present),
        shape=key.shape or (),
        longest=key.slots.length if key.shape is None else None,
        domain=key.domain,
    )


def encode_examples(columns: Iterable[ExampleColumn]) -> pa.BinaryArray:
    """[n] serialized tf.Examples, their features in the order of their names."""
    parts = []
    for column in sorted(columns, key=lambda column: column.name):
        entry = partial(_entry, column.name.encode(), column.kind)
        parts += [by_value(pc.binary_length(column.lists), entry), column.lists]
    features = join(*parts)
    return join(by_value(pc.binary_length(features), partial(_field, 1)), features)


def _entry(name: bytes, kind: int, size: int) -> bytes:
    """An entry of the map of features, up to the `size` bytes of its values: entry {key, Feature
    {list {values}}}.
    """
    values = _field(1, size) if size or kind == BYTES else b""
    feature = _field(kind, len(values) + size) + values
    entry = _field(1, len(name)) + name + _field(2, len(feature) + size) + feature
    return _field(1, len(entry) + size) + entry


def _field(number: int, size: int) -> bytes:
    """The tag and length that precede a message, text or packed list of `size` bytes."""
    return bytes([number << 3 | 2]) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that another byte follows. Negative
    values are taken modulo 2⁶⁴.

    Example:
        >>> _varint(300)
        b'\\xac\\x02'
    """
    rest, digits = value % (1 << 64), []
    while rest >= 0x80:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*digits, rest])


def _varints(values: np.ndarray, present: np.ndarray | None = None) -> pa.BinaryArray:
    """[n] varints of the present values of each row of [n, k] integers ≥ 0.

    Each value is spread over a word, seven bits a byte; `used` has a 1 in each byte that its varint
    needs.
    """
    word: type[np.uint32] | type[np.uint64]
    word = np.uint32 if values.max(initial=0) < 1 << 28 else np.uint64
    values = values.astype(word, order="C")
    spread, used = values & word(0x7F), np.ones_like(values)
    for byte in range(1, word().itemsize):
        spread |= np.left_shift(values & word(0x7F << 7 * byte), word(byte))
        used |= np.left_shift((values >= word(1 << 7 * byte)).astype(word), word(8 * byte))
    spread |= used >> word(1)  # a byte in use sets the top bit of the one before
    if present is not None:
        used *= present
    data = np.compress(used.view(np.bool_).reshape(-1), spread.view(np.uint8).reshape(-1))
    return binary(data, np.bitwise_count(used).sum(1, dtype=np.int32))


def _floats(values: np.ndarray, present: np.ndarray | None = None) -> pa.BinaryArray:
    """[n] the bytes of the present numbers of each row of [n, k] float32."""
    present = np.ones_like(values, bool) if present is None else present
    return binary(values.astype(np.float32)[present], 4 * present.sum(1, dtype=np.int32))

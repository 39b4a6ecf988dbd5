"""Per-column statistics of a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.statistics.relevance import Values


@dataclass
class Profile:
    """What a column holds.

    Attributes:
        name: the column.
        values: [n] values, null where missing; the flat values of lists.
        type: text, integer, number, boolean, time or other: that of a list's values.
        rows: n rows of the sample.
        total: rows of the stream, perhaps an estimate.
        missing: rows without a value.
        counts: [n] values of each row, of lists.
        separator: between the values of a list that is a text.
        stored: the Arrow type in the file.
        unparsed: values that are not of the type.
    """

    name: str
    values: pa.Array
    type: str
    rows: int
    total: int
    missing: int
    stored: pa.DataType
    counts: np.ndarray | None = None
    separator: str | None = None
    unparsed: int = 0
    numbers: np.ndarray | None = field(default=None, repr=False)  # [n] NaN where missing

    @property
    def is_list(self) -> bool:
        return self.counts is not None

    @cached_property
    def encoded(self) -> pa.DictionaryArray:
        return self.values.dictionary_encode()

    @cached_property
    def frequencies(self) -> np.ndarray:
        """[distinct] how often each value occurs."""
        codes = self.encoded.indices.drop_null().to_numpy()
        return np.bincount(codes, minlength=len(self.encoded.dictionary))

    @property
    def distinct(self) -> int:
        return len(self.encoded.dictionary)

    @property
    def present(self) -> int:
        """Values in the sample."""
        return int(len(self.values) - self.values.null_count)

    @cached_property
    def estimate(self) -> int:
        """Distinct values of the whole stream, by the guaranteed-error estimator
        √(N/n)·f₁ + d − f₁ of d distinct values, f₁ of them seen once, in n of N rows (Charikar et
        al., PODS 2000).
        """
        once = int((self.frequencies == 1).sum())
        scale = np.sqrt(max(self.total / max(self.rows, 1), 1))
        return self.distinct + int((scale - 1) * once)

    @property
    def unique(self) -> float:
        """Distinct values for each value."""
        return self.distinct / max(self.present, 1)

    @cached_property
    def label_values(self) -> Values:
        """Its values by row, as `pipeline.statistics.relevance` takes them; a missing value counts
        as one.
        """
        codes = pc.fill_null(self.encoded.indices, self.distinct).to_numpy()
        if self.counts is None:
            return Values(np.arange(self.rows), codes, self.distinct + 1)
        empty = np.flatnonzero(self.counts == 0)
        rows = np.concatenate([np.repeat(np.arange(self.rows), self.counts), empty])
        filled = np.concatenate([codes, np.full(len(empty), self.distinct)])
        return Values(rows, filled, self.distinct + 1)

    def most_frequent(self, count: int) -> list[tuple[str, float]]:
        """(value as text, share of the rows) of the most frequent values."""
        order = np.argsort(-self.frequencies, kind="stable")[:count]
        texts = self.encoded.dictionary.take(pa.array(order)).cast(pa.string()).to_pylist()
        shares = (self.frequencies[order] / self.rows).tolist()
        return list(zip(texts, shares, strict=True))

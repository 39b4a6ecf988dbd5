"""The texts of the columns that labels compare with their `equals`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from features.labels import ColumnLabel
from features.spec import Spec
from pipeline.rows.batch import Batch, column_key

SHOWN = 5  # texts that a warning names
LONGEST = 40  # characters of each


@dataclass(frozen=True)
class LabelTexts:
    """The texts of a label's column over the valid rows.

    Attributes:
        equal: the number of rows whose text is one of the label's.
        others: the first other texts in their order, at most SHOWN + 1.
    """

    equal: int
    others: tuple[str, ...]


def label_texts(spec: Spec, batch: Batch) -> dict[str, LabelTexts]:
    """The texts of a batch, by label from a text column."""
    return {
        name: _texts_of(label, batch.columns[column_key(label.column, "text")])
        for name, label in spec.labels.items()
        if isinstance(label, ColumnLabel)
    }


def _texts_of(label: ColumnLabel, texts: pa.Array) -> LabelTexts:
    accepted = [label.equals] if isinstance(label.equals, str) else label.equals
    equal = pc.is_in(texts, value_set=pa.array(accepted, texts.type))
    others = pc.unique(texts.filter(pc.invert(equal))).drop_null()
    first = others.take(pc.bottom_k_unstable(others, SHOWN + 1)) if len(others) else others
    return LabelTexts(pc.sum(equal, min_count=0).as_py(), tuple(first.to_pylist()))


def fold_texts(parts: Iterable[LabelTexts]) -> LabelTexts:
    """The texts of all rows from those of their parts, in any order.

    Example:
        >>> fold_texts([LabelTexts(1, ("b",)), LabelTexts(2, ("a", "b"))])
        LabelTexts(equal=3, others=('a', 'b'))
    """
    parts = list(parts)
    others = sorted({text for part in parts for text in part.others})
    return LabelTexts(sum(part.equal for part in parts), tuple(others[: SHOWN + 1]))


def shown(texts: LabelTexts) -> str:
    """The other texts as a warning names them.

    Example:
        >>> shown(LabelTexts(0, ("0.0", "1.0")))
        "'0.0', '1.0'"
    """
    named = [
        repr(text if len(text) <= LONGEST else text[:LONGEST] + "…")
        for text in texts.others[:SHOWN]
    ]
    return ", ".join(named + ["…"] * (len(texts.others) > SHOWN))

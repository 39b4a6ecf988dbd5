"""Layouts of the tf.Examples: which keys hold the columns of `ids` and `dense`.

The pipeline writes by this declaration and the model parses by it. To add a layout, write a
function from the spec to its keys and add a line to `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from features.errors import FunnelError, nearest
from features.spec import Slots, Spec

Kind = Literal["int64", "float", "bytes"]  # the lists of a tf.train.Feature


@dataclass(frozen=True)
class ArrayKey:
    """One key of the tf.Examples and the columns of an array that it holds.

    Attributes:
        key: the key.
        array: `ids`, of integers, or `dense`, of floats.
        slots: the columns of the array.
        shape: the shape in every row, () for one value; None for a list of the values that are
            present, which is padded when it is read.
        padding: what pads the list.
        present: of a list, the columns of `ids` that are not 0 where a value is present; None where
            a value is present unless it is NaN.
        domain: the smallest and largest integer, where they are known.
    """

    key: str
    array: Literal["ids", "dense"]
    slots: Slots
    shape: tuple[int, ...] | None
    padding: float = 0
    present: Slots | None = None
    domain: tuple[int, int] | None = None

    @property
    def kind(self) -> Kind:
        return "int64" if self.array == "ids" else "float"


Layout = Callable[[Spec], list[ArrayKey]]


def packed(spec: Spec) -> list[ArrayKey]:
    """`ids` and `dense` as they are: few wide keys, which parse fastest."""
    ids, dense = spec.ids_width, spec.dense_width
    keys = []
    if ids:
        keys.append(ArrayKey("ids", "ids", Slots(0, ids), shape=(ids,)))
    if dense:
        keys.append(ArrayKey("dense", "dense", Slots(0, dense), shape=(dense,)))
    return keys


def columns(spec: Spec) -> list[ArrayKey]:
    """One key for each feature, and `<name>_weights` for the weights of a list. A list holds the
    values that are present.
    """
    keys = []
    for name, slots in spec.id_slots.items():
        embedding = spec.embedded[name]
        is_list = slots.length > 1 or embedding.is_list
        keys.append(
            ArrayKey(
                name,
                "ids",
                slots,
                shape=None if is_list else (),
                present=slots if is_list else None,
                domain=(0, embedding.rows - 1) if embedding.rows else None,
            )
        )
        if name in spec.weight_slots:
            weights = spec.weight_slots[name]
            keys.append(
                ArrayKey(f"{name}_weights", "dense", weights, None, padding=1.0, present=slots)
            )
    for name, slots in spec.dense_slots.items():
        keys.append(ArrayKey(name, "dense", slots, shape=None, padding=float("nan")))
    return keys


LAYOUTS: dict[str, Layout] = {"packed": packed, "columns": columns}


def known_layout(name: str) -> str:
    """Returns the name of a layout. Raises ValueError where `LAYOUTS` has no such name."""
    if name not in LAYOUTS:
        raise ValueError(f"must be a layout; {nearest(name, LAYOUTS, listed=True)}")
    return name


def array_keys(layout: str, spec: Spec) -> list[ArrayKey]:
    """The keys of a layout that hold `ids` and `dense`, in the order in which schema.pbtxt has
    them.

    Raises:
        FunnelError: the layout is not known.
        ValueError: the layout does not hold each column of `ids` and `dense` once.

    Example:
        >>> spec = Spec.parse({
        ...     "features": {"price": {"kind": "numeric"}},
        ...     "labels": {"click": {"column": "clicked"}},
        ...     "tasks": {"ctr": {"label": "click"}},
        ... })
        >>> [(key.key, key.array, key.kind) for key in array_keys("packed", spec)]
        [('dense', 'dense', 'float')]
    """
    if layout not in LAYOUTS:
        raise FunnelError(
            f"layout '{layout}' is not known; {nearest(layout, LAYOUTS, listed=True)}"
        )
    keys = LAYOUTS[layout](spec)
    for array, width in (("ids", spec.ids_width), ("dense", spec.dense_width)):
        held = sorted(column for key in keys if key.array == array for column in key.slots.range)
        if held != list(range(width)):
            raise ValueError(
                f"layout '{layout}' holds the columns {held} of {array}, which has {width}: "
                "a layout must hold each column once"
            )
    return keys


def row_keys(spec: Spec, *, weighted: bool) -> dict[str, Kind]:
    """The keys of one value that every layout has, by name: the labels, `weight` where rows are
    `weighted`, and `id`.
    """
    keys: dict[str, Kind] = {
        name: "float" if label.is_number else "int64" for name, label in spec.labels.items()
    }
    if weighted:
        keys["weight"] = "float"
    return keys | {"id": "bytes"}

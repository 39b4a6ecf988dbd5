"""The keys of a preprocessed directory's tf.Examples, in words."""

from __future__ import annotations

from typing import Any

from features.fitted import Fitted
from features.kinds.base import FeatureKind
from features.kinds.time import Time
from features.labels import ColumnLabel, EventLabel, Label
from features.layouts import ArrayKey, array_keys, row_keys
from features.spec import Slots, Spec

Entry = dict[str, Any]
Held = dict[tuple[str, int], tuple[Slots, str]]  # {(array, first column): (slots, feature)}


def schema(spec: Spec, layout: str, *, weighted: bool, fitted: Fitted | None) -> list[Entry]:
    """One entry for each key of the tf.Examples.

    Args:
        spec: The features and labels.
        layout: A name of `features.layouts.LAYOUTS`.
        weighted: Whether rows carry a weight.
        fitted: Says how long vocabularies are; None where it is not known.

    Returns:
        {key, type, length, meaning} of each key. A key that holds several features has no meaning
        of its own, but {at, feature, meaning} of each in `parts`.

    Example:
        >>> spec = Spec.parse({
        ...     "features": {"user": {"kind": "categorical", "buckets": 1000}},
        ...     "labels": {"click": {"column": "clicked"}},
        ...     "tasks": {"ctr": {"label": "click"}},
        ... })
        >>> schema(spec, "packed", weighted=False, fitted=None)[0]["parts"]
        [{'at': 'ids[0]', 'feature': 'user', 'meaning': 'bucket of 1,000, hashed; 0 is missing'}]
    """
    held = {
        (array, slots.start): (slots, name)
        for name in spec.features
        for array, slots in _places(spec, name)
    }
    arrays = [_array_entry(spec, key, held, fitted) for key in array_keys(layout, spec)]
    rows = [
        {"key": name, "type": kind, "length": "1", "meaning": _row_meaning(spec, name)}
        for name, kind in row_keys(spec, weighted=weighted).items()
    ]
    return arrays + rows


def features(spec: Spec, fitted: Fitted | None) -> list[Entry]:
    """{feature, kind, reads, encoding, rows, dim, slots} of every feature. `rows` are those of
    its embedding table, `slots` its columns in `ids` or `dense`.
    """
    found = []
    for name, feature in spec.features.items():
        embedding = spec.embedded.get(name)
        found.append(
            {
                "feature": name,
                "kind": feature.kind_name,
                "reads": list(getattr(feature, "of", ()))
                or [column for column, _ in feature.raw_columns(spec.features)],
                "encoding": encoding(spec, name, fitted),
                "rows": _table_rows(spec, name, fitted),
                "dim": embedding.dim if embedding else None,
                "slots": [_at(array, slots) for array, slots in _places(spec, name)],
            }
        )
    return found


def encoding(spec: Spec, name: str, fitted: Fitted | None, *, padded: bool = True) -> str:
    """What the ids or the number of a feature mean.

    Args:
        spec: The features.
        name: The feature.
        fitted: Says how long vocabularies are; None where it is not known.
        padded: Whether missing values are written, as 0 or NaN; else they are left out.
    """
    feature = spec.features[name]
    if feature.combines:
        return f"product of the embeddings of {' and '.join(feature.combines)}; nothing is written"
    if name in spec.dense_slots:
        missing = "NaN if missing" if padded else "left out if missing"
        return f"the number as logged, {missing}{_in_the_model(spec, name)}"
    words = _ids(feature, spec, name, fitted)
    embedding = spec.embedded[name]
    if embedding.is_list:
        order = ", in order of time" if embedding.in_order else ""
        padding = "; 0 pads" if padded else ""
        return f"up to {embedding.slots} values{order}: {words}{padding}"
    return f"{words}; 0 is missing"


def _ids(feature: FeatureKind, spec: Spec, name: str, fitted: Fitted | None) -> str:
    owner = spec.owner(name)
    if owner != name:
        return f"encoded as {owner}, whose table it shares"
    if feature.hashed_buckets is not None:
        return f"bucket of {feature.hashed_buckets:,}, hashed"
    if name in spec.vocabularies:
        known = _table_rows(spec, name, fitted)
        values = "" if known is None else f" of {known - 2:,} values"
        return f"31-bit hash, which the model looks up in a vocabulary{values}"
    if feature.integer_bounds:
        low, high = next(iter(feature.integer_bounds.values()))
        return f"the integer {low} … {high:,} itself, plus 1"
    if isinstance(feature, Time):
        return f"the {feature.part}, plus 1"
    return f"a value from 1 to {(spec.embedded[name].rows or 1) - 1:,}"


def _in_the_model(spec: Spec, name: str) -> str:
    """What the model's graph makes of a number."""
    if name in spec.bucketized:
        boundaries = spec.bucketized[name]
        count = boundaries.quantiles or len(boundaries.boundaries or ()) + 1
        return f"; the model puts it into {count:,} buckets"
    number, steps = spec.numeric[name], []
    if number.missing is not None:
        steps.append(f"replaces NaN by {number.missing:g}")
    if number.clip:
        steps.append(f"clips it to {number.clip[0]:g} … {number.clip[1]:g}")
    if number.transform != "none":
        steps.append(f"takes {number.transform}")
    if number.scale != "none":
        standard = number.scale == "standardize"
        steps.append("standardizes it" if standard else "scales it to 0 … 1")
    return f"; the model {', '.join(steps)}" if steps else ""


def _table_rows(spec: Spec, name: str, fitted: Fitted | None) -> int | None:
    if name not in spec.embedded:
        return None
    return spec.embedded[spec.owner(name)].rows if fitted is None else fitted.table_rows(spec, name)


def _places(spec: Spec, name: str) -> list[tuple[str, Slots]]:
    """Where a feature lies: (array, slots)."""
    places = [
        ("ids", spec.id_slots.get(name)),
        ("dense", spec.dense_slots.get(name)),
        ("dense", spec.weight_slots.get(name)),
    ]
    return [(array, slots) for array, slots in places if slots is not None]


def _at(key: str, slots: Slots, offset: int = 0) -> str:
    start = slots.start - offset
    return f"{key}[{start}]" if slots.length == 1 else f"{key}[{start}:{start + slots.length}]"


def _array_entry(spec: Spec, key: ArrayKey, held: Held, fitted: Fitted | None) -> Entry:
    padded = key.shape is not None
    length = str(key.slots.length) if padded else f"0 … {key.slots.length}"
    entry = {"key": key.key, "type": key.kind, "length": length}
    found = [held[key.array, start] for start in key.slots.range if (key.array, start) in held]
    parts = []
    for slots, name in found:
        is_weight = key.array == "dense" and slots == spec.weight_slots.get(name)
        words = f"weights of {name}" if is_weight else encoding(spec, name, fitted, padded=padded)
        if key.key == name or (is_weight and len(found) == 1):
            return entry | {"meaning": words}
        at = _at(key.key, slots, key.slots.start)
        parts.append({"at": at, "feature": name, "meaning": words})
    return entry | {"meaning": None, "parts": parts}


def _row_meaning(spec: Spec, name: str) -> str:
    if name in spec.labels:
        return label(spec.labels[name])
    if name == "weight":
        return "sample weight: 1 / the share of such rows that was kept"
    return "the row's id in the log"


def label(declared: Label) -> str:
    """A label's values, in words.

    Example:
        >>> label(ColumnLabel(column="income", equals=">50K"))
        "label: 1 if income is '>50K', else 0; −1 is unknown"
    """
    if isinstance(declared, ColumnLabel):
        equals = [declared.equals] if isinstance(declared.equals, str) else declared.equals
        return (
            f"label: 1 if {declared.column} is {' or '.join(map(repr, equals))}, else 0; "
            "−1 is unknown"
        )
    what = declared.value or ""
    if declared.value and declared.of:
        what += f" / {declared.of}"
    if isinstance(declared, EventLabel):
        return _event(declared, what)
    if declared.at_least is not None:
        return f"label: 1 if {what} ≥ {declared.at_least:g}, else 0; −1 is unknown"
    return f"label: {what}{_shaped(declared)}; −1 is unknown"


def _event(declared: EventLabel, what: str) -> str:
    within = declared.model_dump(mode="json")["within"]
    window = f" within {within}" if within else ""
    window += f" after {declared.after}" if declared.after else ""
    events = f"an event of {declared.event}{window}"
    if not what:
        return f"label: 1 if there is {events}, else 0; −1 is unknown"
    value = f"{declared.take} {what} of {events}"
    if declared.at_least is not None:
        return f"label: 1 if the {value} is ≥ {declared.at_least:g}, else 0; −1 is unknown"
    return f"label: {value}{_shaped(declared)}, 0 without one; −1 is unknown"


def _shaped(declared: Any) -> str:
    clip = f", clipped to {declared.clip[0]:g} … {declared.clip[1]:g}" if declared.clip else ""
    return clip + (f", {declared.transform}" if declared.transform != "none" else "")

"""Columns of a wide table → labels: `--label COLUMN`, `COLUMN=VALUE` or `NAME:COLUMN=VALUE`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.checks import RESERVED
from features.declarations import input_name
from features.errors import FunnelError, nearest
from funnel.init.keys import Stream, words
from funnel.init.kinds import heavy_tailed
from funnel.init.labels import NAMES, Label
from funnel.init.reading.profile import Profile

LABEL_WORDS = {
    "label", "target", "click", "clicked", "converted", "conversion", "convert", "purchase",
    "purchased", "bought", "y", "outcome",
}  # fmt: skip
POSITIVE = ("1", "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "t", "T")
SHOWN = 5  # values in an error


def table_labels(
    rows: Stream, given: list[str], evaluation: dict[str, Profile] | None
) -> list[Label]:
    """The labels of a wide table.

    Args:
        rows: the table.
        given: the arguments of --label; without any, a column of 0 and 1 whose name says so.
        evaluation: the columns of the evaluation file, whose spelling may differ.

    Raises:
        FunnelError: a column or a value does not exist, two labels have one name, or no label is
            given and none is found.
    """
    asked = [_parse(rows, one) for one in given] or [_guess(rows)]
    found = [_label(rows, *one, evaluation) for one in asked]
    names = [label.name for label in found]
    for label in found:
        if names.count(label.name) > 1:
            raise FunnelError(
                f"--label: {names.count(label.name)} labels are named '{label.name}'; give each a "
                f'name of its own, as in --label NAME:{label.columns[0]}="VALUE"'
            )
    return found


def _parse(rows: Stream, text: str) -> tuple[str | None, str, str | None]:
    """(name, column, value) of an argument."""
    if text in rows.profiles:
        return None, text, None
    column, equals, value = text.partition("=")
    name: str | None = None
    if column not in rows.profiles and ":" in column:
        name, _, column = column.partition(":")
    if column not in rows.profiles:
        raise FunnelError(
            f"--label: '{column}' is not a column of {rows.sample.log.sources[0].path}: "
            f"{nearest(column, rows.profiles)}"
        )
    return name, column, value if equals else None


def _guess(rows: Stream) -> tuple[None, str, None]:
    two = [p for p in rows.profiles.values() if p.distinct == 2 and not p.is_list]
    named = [p for p in two if set(words(p.name)) & LABEL_WORDS and _positive(p) is not None]
    if len(named) == 1:
        return None, named[0].name, None
    shown = "; ".join(
        f"{p.name}: {', '.join(f'{v} ({100 * s:.1f} %)' for v, s in p.most_frequent(2))}"
        for p in two[:SHOWN]
    )
    guessed = (
        f"several could be: {', '.join(p.name for p in named)}" if named else "none is named so"
    )
    columns = len(rows.profiles)
    raise FunnelError(
        f"{rows.sample.log.sources[0].path}: a table of {columns} columns needs a label, and "
        f"{guessed}. Columns of two values: {shown or 'none'}. Missing: --label COLUMN for one of "
        '0 and 1, or --label COLUMN="VALUE"'
    )


def _label(
    rows: Stream,
    name: str | None,
    column: str,
    value: str | None,
    evaluation: dict[str, Profile] | None,
) -> Label:
    profile = rows.column(column, "--label")
    label, task = NAMES.get(column, (_name(name or column),) * 2)
    if value is None and (number := _numeric_label(rows, profile, label)) is not None:
        return number
    positive = value if value is not None else _positive(profile)
    texts = _texts(profile)
    if positive is None or not pc.any(pc.equal(texts, positive)).as_py():
        raise FunnelError(_no_value(profile, positive))
    equals: Any = positive
    notes = []
    if evaluation is not None and column in evaluation:
        spellings = _spellings(evaluation[column], positive)
        if spellings != [positive]:
            equals = [positive, *(s for s in spellings if s != positive)]
            notes.append(f"the evaluation file spells it {', '.join(spellings) or 'in no way'}")
    declared: dict[str, Any] = {"column": column}
    if pa.types.is_floating(profile.stored) or pa.types.is_decimal(profile.stored):
        _check_largest(profile, float(positive))
        declared = {"value": column, "at_least": float(positive)}
    elif equals != "1":
        declared["equals"] = equals
    known = pc.fill_null(pc.equal(texts, positive), False).to_numpy(zero_copy_only=False)
    values = np.where(texts.is_valid().to_numpy(zero_copy_only=False), known, -1).astype(np.int8)
    found = Label(label, task, declared, "", values, columns=(column,), notes=notes)
    found.why = f"{100 * found.rate:.3g} % of {rows.sample.rows:,} rows"
    return found


def _numeric_label(rows: Stream, profile: Profile, label: str) -> Label | None:
    """A label that is a number; None where the column has two values, or none that are numbers."""
    if profile.distinct <= 2 or profile.numbers is None or profile.is_list:
        return None
    known = profile.numbers[np.isfinite(profile.numbers)]
    if not len(known):
        return None
    if known.min() < 0:
        raise FunnelError(
            f"--label {profile.name}: holds numbers below 0 ({known.min():,.6g}), and −1 means "
            f'unknown; shift them in the log, or give a value, as in --label {profile.name}="1"'
        )
    declared: dict[str, Any] = {"value": profile.name}
    if heavy_tailed(known):
        declared["transform"] = "log1p"
    why = f"a number, {known.min():,.6g} … {np.median(known):,.6g} … {known.max():,.6g}"
    values = np.where(np.isfinite(profile.numbers), profile.numbers, -1)
    return Label(label, label, declared, why, values, is_number=True, columns=(profile.name,))


def _check_largest(profile: Profile, positive: float) -> None:
    """Raises FunnelError unless no number is above `positive`: a label of numbers is `at_least`."""
    largest = float(np.nanmax(profile.numbers)) if profile.numbers is not None else positive
    if largest > positive:
        raise FunnelError(
            f"--label {profile.name}={positive:g}: the column holds fractions, which a label takes "
            f"from a number on, and {largest:g} is above; give the largest, or no value for a "
            "label that is the number itself"
        )


def _positive(profile: Profile) -> str | None:
    """The value that means yes, of a column that holds it and one other."""
    values = {text for text, _ in profile.most_frequent(3)}
    if values == {"0.0", "1.0"}:
        return "1.0"
    return next((text for text in POSITIVE if text in values and len(values) == 2), None)


def _texts(profile: Profile) -> pa.Array:
    return profile.values.cast(pa.string())


def _spellings(profile: Profile, positive: str) -> list[str]:
    """The texts that differ from `positive` at most by case, spaces and a full stop."""
    plain = positive.strip(" .").lower()
    distinct = profile.encoded.dictionary.cast(pa.string()).to_pylist()
    return [text for text in distinct if text.strip(" .").lower() == plain]


def _no_value(profile: Profile, value: str | None) -> str:
    top = profile.most_frequent(SHOWN)
    shown = ", ".join(f"{text} ({100 * share:.1f} %)" for text, share in top)
    if value is None:
        return (
            f"--label {profile.name}: no value of it means yes: it holds {shown}. Missing: the "
            f'value, as in --label {profile.name}="{top[-1][0] if top else 1}"'
        )
    distinct = profile.encoded.dictionary.cast(pa.string()).to_pylist()
    return (
        f"--label {profile.name}={value}: no row has this value: {nearest(value, distinct[:1000])} "
        f"(most frequent: {shown})"
    )


def _name(text: str) -> str:
    name = input_name(text)
    return f"{name}_label" if name in RESERVED else name

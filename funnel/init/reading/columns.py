"""Columns of a sample → profiles: which texts are numbers, times, lists or missing values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.kinds.lists import lengths
from funnel.init.reading.profile import Profile
from funnel.init.reading.sample import Sample
from pipeline.rows.cast import to_microseconds

# Texts that stand for a missing value. The second ones may also be names: they count only in a
# column whose other values are numbers.
MISSING = ("?", "\\N", "NULL", "null", "N/A", "n/a", "<NA>")
MISSING_NUMBERS = ("NA", "NaN", "nan", "None", "none", "-", ".")
HEAD = 100  # distinct texts, from which it is seen whether parsing all is worth it
PARSE = 0.999  # the share of texts that must parse for the column to hold numbers or times
# Between the values of a list, and how many distinct texts there must be for each distinct value.
SEPARATORS = {"|": 1, ";": 4, ",": 4}
SEPARATED = 0.05  # the share of texts that must hold a separator for the column to hold lists


def missing_texts(sample: Sample) -> list[str]:
    """The texts of a sample that stand for a missing value."""
    found: set[str] = set()
    for array in sample.columns.values():
        if not pa.types.is_string(array.type):
            continue
        distinct = pc.unique(array).drop_null()
        known = pa.array(MISSING + MISSING_NUMBERS)
        held = set(distinct.filter(pc.is_in(distinct, known)).to_pylist())
        found |= held & set(MISSING)
        if held & set(MISSING_NUMBERS):
            rest = distinct.filter(pc.invert(pc.is_in(distinct, pa.array(sorted(held)))))
            if len(rest) and _numeric(rest) == 1:
                found |= held
    return sorted(found)


def profiles(sample: Sample, missing: list[str]) -> dict[str, Profile]:
    """The profile of each column."""
    return {name: _profile(name, array, sample, missing) for name, array in sample.columns.items()}


def _profile(name: str, array: pa.Array, sample: Sample, missing: list[str]) -> Profile:
    stored, counts, separator = array.type, None, None
    if pa.types.is_string(stored) and missing:
        absent = pc.is_in(array, pa.array(missing))
        array = pc.if_else(absent, pa.scalar(None, pa.string()), array)
    missing_rows = array.null_count
    if pa.types.is_string(stored):
        separator = _separator(array)
        if separator:
            array = pc.split_pattern(array, separator)
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        counts = lengths(array)
        array = array.flatten()
        if pa.types.is_large_string(array.type):
            array = array.cast(pa.string())
    found = Profile(
        name, array, "other", sample.rows, sample.total, missing_rows, stored, counts, separator
    )
    _classify(found)
    return found


def _classify(found: Profile) -> None:
    """Sets the type, and the numbers where it holds any."""
    kind = found.values.type
    if pa.types.is_boolean(kind):
        found.type = "boolean"
    elif pa.types.is_integer(kind):
        found.type, found.numbers = "integer", _floats(found.values)
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = found.values.cast(pa.float64())
        found.values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        if not found.is_list:
            found.missing = found.values.null_count
        found.numbers, found.type = _floats(found.values), "number"
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found.type = "time"
    elif pa.types.is_null(kind):
        found.values, found.type = found.values.cast(pa.string()), "text"
    elif pa.types.is_string(kind):
        found.type = "text"
        _classify_text(found)


def _classify_text(found: Profile) -> None:
    """Texts that all are numbers or times."""
    present = found.present
    if not present:
        return
    distinct = found.encoded.dictionary
    if _numeric(distinct[:HEAD]) > 0.5:
        parsed, bad = _parse_numbers(distinct)
        wrong = int(found.frequencies[bad].sum())
        if wrong <= (1 - PARSE) * present:
            table = np.append(parsed, np.nan)
            codes = pc.fill_null(found.encoded.indices, len(parsed)).to_numpy()
            found.numbers, found.unparsed = table[codes], wrong
            whole = np.all(parsed[~bad] == np.round(parsed[~bad])) and not _any_point(distinct)
            found.type = "integer" if whole else "number"
            return
    if _is_time(distinct[:HEAD]):
        _, bad = to_microseconds(found.name, distinct, None)
        wrong = int(found.frequencies[bad].sum())
        if wrong <= (1 - PARSE) * present:
            found.type, found.unparsed = "time", wrong


def times(found: Profile) -> np.ndarray | None:
    """[n] times in µs as float64, NaN where missing; None where the column holds none."""
    if found.is_list or found.type not in ("time", "integer", "number"):
        return None
    encoded = found.encoded
    parsed, bad = to_microseconds(found.name, encoded.dictionary, None)
    table = np.append(np.where(bad, np.nan, _floats(parsed)), np.nan)
    found_times: np.ndarray = table[pc.fill_null(encoded.indices, len(parsed)).to_numpy()]
    return found_times


def _numeric(texts: pa.Array) -> float:
    """The share of texts that are numbers."""
    return float((~_parse_numbers(texts)[1]).mean()) if len(texts) else 0.0


def _parse_numbers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """([n] numbers, [n] mask of texts that are none)."""
    good = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    numbers = pc.if_else(good, texts, pa.scalar(None, pa.string())).cast(pa.float64())
    return _floats(numbers), ~good.to_numpy(zero_copy_only=False)


def _any_point(texts: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, r"[.eE]")).as_py())


def _is_time(texts: pa.Array) -> bool:
    """Whether texts look like dates, and can be read as such."""
    dated = pc.match_substring_regex(texts, r"^\d{4}-\d\d-\d\d([T ]\d\d:?\d\d.*)?$")
    if pc.mean(dated.cast(pa.int8())).as_py() < PARSE:
        return False
    return bool(to_microseconds("", texts, None)[1].mean() <= 1 - PARSE)


def _separator(texts: pa.Array) -> str | None:
    """The separator of texts that hold lists: the values between it repeat more than the texts."""
    head = texts.drop_null()[:2000]
    for separator, repeats in SEPARATORS.items():
        held = pc.match_substring(head, separator)
        if not len(head) or pc.mean(held.cast(pa.int8())).as_py() < SEPARATED:
            continue
        values = pc.unique(pc.split_pattern(head, separator).flatten())
        if len(pc.unique(head)) > repeats * len(values):
            return separator
    return None


def _floats(array: pa.Array) -> np.ndarray:
    numbers: np.ndarray = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers

"""pipeline.statistics.relevance: its constants, by small inputs that tell them from others."""

import numpy as np
import pytest

from pipeline.statistics import relevance
from pipeline.statistics.relevance import Values, by_value, values_of_numbers

COUNTS = {"click": {"positive": 10**6, "negative": 10**6, "unknown": 0}}


@pytest.mark.parametrize(
    ("auc", "warned"), [(0.95, 0), (float(np.nextafter(0.95, 1)), 1), (1.0, 1)]
)
def test_an_auc_above_the_boundary_is_suspect(auc, warned):
    assert len(relevance.suspects({"user": {"click": auc}}, COUNTS)) == warned


@pytest.mark.parametrize(("negatives", "warned"), [(5, 0), (6, 1)])
def test_an_interval_that_holds_chance_is_not_suspect(negatives, warned):
    counts = {"click": {"positive": 2, "negative": negatives, "unknown": 0}}
    low, _ = relevance.auc_interval(1.0, 2, negatives)
    assert (low > 0.5) == bool(warned)
    assert len(relevance.suspects({"user": {"click": 1.0}}, counts)) == warned


@pytest.mark.parametrize(("rows", "positives", "auc"), [(100, 51, 0.0), (125, 64, 1.0)])
def test_a_mean_counts_as_ten_rows(rows, positives, auc):
    """In fold 0 a row of A is positive, one of B negative. Other folds have 1 row of A, positive,
    10 of B, 6 of them positive, and others. With m rows of the overall mean p, A is above B if
    (1 + m·p) / (1 + m) > (6 + m·p) / (10 + m): for p = 0.51 below m = 9.8, for 0.512 below 10.2.
    """
    a, b, c = [1], [1] * 6 + [0] * 4, [1] * (positives - 7) + [0] * (rows - positives - 4)
    codes = np.repeat([0, 1, 0, 1, 2], [1, 1, len(a), len(b), len(c)])
    label = np.array([1, 0, *a, *b, *c])
    folds = np.where(label == 1, 1, 2)  # one class each, so without an AUC of their own
    folds[:2] = 0
    assert by_value(Values(np.arange(len(label)), codes, 3), label, folds) == auc


def test_numbers_fall_into_twenty_bins_and_one_for_those_that_are_missing():
    values = values_of_numbers(np.array([*range(100), np.nan]))
    assert (values.count, set(values.codes)) == (21, set(range(21)))

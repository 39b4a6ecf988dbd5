"""Metrics by name: one file for each family of functions, and the dict of them.

In: the rows of a sample space as NumPy arrays. Out: a number, or None where it is undefined.
Imports no other package of the project and no TensorFlow, since the command line lists metrics.
"""

from model.metrics.base import Metric
from model.metrics.calibration import calibration
from model.metrics.decisions import accuracy, precision, recall
from model.metrics.errors import logloss, mae, mse
from model.metrics.ranking import auc

METRICS: dict[str, Metric] = {
    "auc": Metric(auc, of="binary", better="higher", title="AUC"),
    "logloss": Metric(logloss, of="binary", better="lower", title="log loss"),
    "mse": Metric(mse, of="number", better="lower", title="squared error"),
    "mae": Metric(mae, of="number", better="lower", title="absolute error"),
    "calibration": Metric(calibration, of="both", better=None, title="calibration"),
    "precision": Metric(precision, of="binary", better="higher", title="precision"),
    "recall": Metric(recall, of="binary", better="higher", title="recall"),
    "accuracy": Metric(accuracy, of="binary", better="higher", title="accuracy"),
}

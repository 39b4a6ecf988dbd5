"""Training callbacks: metrics log, TensorBoard, profiler, early stopping.

In: a Progress at each report and each evaluation. Out: files, and True where the training is to
end. Callbacks never import the estimator, which calls them.
"""

from model.estimator.callbacks.early_stopping import EarlyStopping
from model.estimator.callbacks.metrics_log import MetricsLog, last_fall
from model.estimator.callbacks.profiler import Profile
from model.estimator.callbacks.tensorboard import TensorBoard

__all__ = ["EarlyStopping", "MetricsLog", "Profile", "TensorBoard", "last_fall"]

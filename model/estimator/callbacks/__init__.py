from model.estimator.callbacks.metrics_log import (
    EarlyStopping,
    MetricsLog,
    Profile,
    TensorBoard,
    last_fall,
)

__all__ = ["EarlyStopping", "MetricsLog", "Profile", "TensorBoard", "last_fall"]

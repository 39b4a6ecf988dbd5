"""The training loop inside one process: steps, gradients, replicas, reports.

In: batches of tensors and a configuration. Out: updated variables and a Progress at each report.
Touches no file, and imports neither evaluation, serving nor the estimator.
"""

"""RankingEstimator and what it writes: checkpoints, model.json, metrics, exports.

In: a RankingConfig and input_fns. Out: a model directory. It is the top room of model/: no other
room imports it.
"""

"""How good predictions are, and how well a network uses its weights.

In: a model, scores and labels. Out: metrics, conditions on them, and warnings. Imports neither
training, serving nor the estimator.
"""

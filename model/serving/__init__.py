"""A trained model and raw rows → a version directory that TF Serving loads.

Imports features/ and the network, never training, the estimator or the pipeline.
"""

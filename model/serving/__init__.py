"""Exports that TF Serving loads.

In: a trained model and raw rows. Out: a version directory. Imports features/ and the network, never
training, the estimator or the pipeline.
"""

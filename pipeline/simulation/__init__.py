"""A configuration in; event logs with known probabilities out. Imports no other package of
the pipeline.
"""

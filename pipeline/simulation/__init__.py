"""A configuration in; event logs with known probabilities out. Imports nothing else of the pipeline."""

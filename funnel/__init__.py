"""The command: the only package that may use the pipeline and the model together."""

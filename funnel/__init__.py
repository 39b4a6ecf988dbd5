"""The front door: the `funnel` command, its configuration file, reports and experiments.

What goes in: a configuration file. What comes out: the files of a run. It is the only package that
imports both the pipeline and the model.
"""

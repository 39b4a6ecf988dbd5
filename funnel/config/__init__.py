"""The configuration file.

What goes in: a TOML file and overrides. What comes out: the settings of every stage, validated. It
never imports `funnel.stages`, `funnel.cli` or TensorFlow.
"""

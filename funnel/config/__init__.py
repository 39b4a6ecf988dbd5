"""The configuration file.

What goes in: a TOML file and overrides. What comes out: the settings of every stage, validated. It
never imports `funnel.stages` or `funnel.cli`, nor TensorFlow before [model] or [train] is read.
"""

"""`funnel init`: a configuration from the logs themselves.

What goes in: paths of logs, and what the user already knows of them. What comes out: the text of a
TOML file, each line with the evidence for it, and a summary of what was found. It reads a bounded
sample of every stream and writes nothing but that file. It never imports TensorFlow, nor Beam
except through `pipeline.sources` for a remote path, nor `funnel.stages` or `funnel.cli`.
"""

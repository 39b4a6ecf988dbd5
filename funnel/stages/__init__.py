"""The stages of a run: simulate, preprocess, train, evaluate, export, report.

What goes in: a `Config`. What comes out: files below the run's directory, summary.json,
.stages.json, and what the stage found. Its lines go to `listener`: it prints nothing itself. It
never imports `funnel.cli` or `funnel.experiments`.
"""

"""The stages of a run: simulate, preprocess, train, evaluate, export, report.

What goes in: a `Config`. What comes out: files below the run's directory, a line on the screen per
stage, summary.json and .stages.json. It never imports `funnel.cli` or `funnel.experiments`.
"""

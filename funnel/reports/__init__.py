"""What a run found, for people: an HTML page, tables in the terminal, examples by feature name.

What goes in: the files of a run's directory. What comes out: report.html and tables. It never
imports `funnel.cli` or trains.
"""

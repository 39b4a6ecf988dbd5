"""Raw rows → probabilities by name, by a run's latest checkpoint or by an export.

What goes in: a configuration or an export's directory, and rows in memory or in files. What comes
out: Arrow tables. It never imports `funnel.cli`.
"""

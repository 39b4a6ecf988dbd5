"""Encoded impressions and events in; deduplicated impressions with labels and splits out. Never
imports sources, rows, statistics or output.
"""

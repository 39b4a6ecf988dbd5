"""Batches and written rows in; statistics.json and fitted.json out. Never imports labeling or
output.
"""

"""Pieces of files in; batches of valid rows and rejects out. Never imports labeling, statistics or
output.
"""

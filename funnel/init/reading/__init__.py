"""Paths → samples of streams, and the statistics of their columns.

What goes in: files, folders and globs. What comes out: bounded samples as Arrow columns, with a
profile of each. It never imports what proposes keys, labels or features from them.
"""

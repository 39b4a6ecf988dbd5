"""Globs and dates in; files, pieces of files and open logs out. Imports nothing of the pipeline but
its configuration and Arrow helpers.
"""

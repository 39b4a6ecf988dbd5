"""Requests → scores, by each loader of SavedModels, in a process of its own.

In: a SavedModel's path and requests, on standard input. Out: a line of JSON for each loader.
`python -I loaders/` runs it, with this folder as the path: modules here import nothing of the
project, and each other by bare names. Nothing here may need Keras.
"""

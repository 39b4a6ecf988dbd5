"""Embedding tables and the wide part.

In: ids [B, S] and numbers [B, D]. Out: Inputs, what a sharing reads. Imports features/ and no other
room of model/.
"""

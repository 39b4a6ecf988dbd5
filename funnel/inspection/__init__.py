"""`funnel inspect`: what a directory or a file holds.

What goes in: a path. What comes out: a document, plain values that JSON holds, and its tables.
Imports TensorFlow only to check checkpoints, and Beam only for logs that are not on this machine.
"""

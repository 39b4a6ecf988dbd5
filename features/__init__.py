"""The contract between the pipeline and the model: what a column is and how it becomes numbers.

What goes in: declarations of features, labels and tasks, and raw columns. What comes out: ids and
numbers, equal on Arrow columns (`arrays`) and on tensors (`graph`). It never imports the other
packages, nor Beam; TensorFlow only in `graph`.
"""

"""Preprocessed directories → batches of tensors.

In: shards of TFRecords, here or on an object store. Out: input_fns. Imports features/ and no other
room of model/.
"""

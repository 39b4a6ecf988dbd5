"""What models predict, on which rows, and what is minimized.

In: predictions and labels by name. Out: objectives, and the base rates that outputs start at.
Imports features/ and no other room of model/.
"""

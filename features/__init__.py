"""The contract between the pipeline and the model: what a column is and how it becomes numbers."""

"""Logs → TFRecords: Beam and Arrow. Never imports TensorFlow or the model."""

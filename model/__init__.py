"""TFRecords → SavedModel: TensorFlow, never Beam and never the pipeline."""

"""Labeled rows in; TFRecord shards, schema.pbtxt and manifest.json out. Imports no Beam."""

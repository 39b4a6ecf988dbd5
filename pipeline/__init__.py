"""Logs → TFRecords, with Beam and Arrow.

`job.preprocess` runs it: `plan` decides, `sources` finds and opens files, `rows` reads valid rows,
`encode` turns them into tables, `labeling` joins and labels them, `partition` writes shards,
`statistics` counts, `output` writes and publishes. `simulation` writes logs whose truth is known.
It never imports TensorFlow, `model` or `funnel`.
"""

import logging

# Without apache-beam[gcp], Beam's import warns that BigQuery, which nothing here uses, is missing.
logging.getLogger().addFilter(lambda record: "apitools not found" not in str(record.msg))

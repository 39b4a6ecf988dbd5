"""Writes the data and the configuration of tests/test_tfio.py: python tests/tfio_data.py FOLDER.
The pipeline needs the default stack.
"""

import sys
from pathlib import Path

import tomli_w
from model_data import FEATURES, LABELS, TASKS, write_data

folder = Path(sys.argv[1])
write_data(folder)
train = {
    "batch_size": 16,
    "steps": 6,
    "log_every": 3,
    "checkpoint_every": 3,
    "precision": "float32",
    "xla": False,
}
model = {"sharing": {"name": "mmoe", "experts": 2, "expert_units": [5, 4]}}
(folder / "ads.toml").write_text(
    tomli_w.dumps(
        {"features": FEATURES, "labels": LABELS, "tasks": TASKS, "model": model, "train": train}
    )
)

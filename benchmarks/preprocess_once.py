"""Preprocesses a folder of benchmarks/pipeline_logs.py once; the last line is JSON: seconds and the
process's peak memory in bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pipeline_logs import make_settings
from features.spec import Spec
from pipeline.config import PreprocessConfig
from pipeline.job import preprocess


def make_config(folder: Path, impressions: int) -> PreprocessConfig:
    """The logs below `folder`, of `impressions` rows."""
    settings = make_settings(folder, impressions)
    return PreprocessConfig.parse(settings | {"spec": Spec.parse(settings["spec"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("impressions", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder.parent) as out:
        start = time.perf_counter()
        preprocess(make_config(arguments.folder, arguments.impressions), Path(out) / "data")
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()

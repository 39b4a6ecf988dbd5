"""The model's side of the house imports neither Beam nor the pipeline."""

import subprocess
import sys

CODE = """
import sys, model.estimator.estimator, model.serving.export
found = {name.split(".")[0] for name in sys.modules}
found &= {"apache_beam", "pipeline", "tfx_bsl", "funnel"}
sys.exit(f"imported: {sorted(found)}" if found else 0)
"""


def test_a_fresh_process_has_neither():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]

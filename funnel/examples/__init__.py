"""Configurations that run, shipped with the package.

`EXAMPLES / "demo.toml"` is the path of one. Imports nothing of funnel.
"""

from pathlib import Path

EXAMPLES = Path(__file__).parent

"""The version, alone in a file that setup.py, `funnel --version` and the library read."""

__version__ = "0.1.0"

"""Which extra brings a library that is not installed."""

from __future__ import annotations

EXTRAS = {
    "apache_beam": "pipeline",
    "google_crc32c": "pipeline",
    "tensorflow_metadata": "pipeline",
    "keras": "train",
    "scipy": "train",
    "sklearn": "train",
    "tensorflow": "train",
    "tfx_bsl": "inspect",
    "jinja2": "report",
    "matplotlib": "report",
}


def remedy(error: Exception) -> str | None:
    """What to install where an import failed; None for any other error, and where no extra brings
    the module.

    Example:
        >>> remedy(ModuleNotFoundError(name="tensorflow.python"))
        "tensorflow is not installed; run pip install 'funnel[train]'"
    """
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return f"{module} is not installed; run pip install 'funnel[{EXTRAS[module]}]'"

"""The one exception that users see, and the search for the name that they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FunnelError(ValueError):
    """Something the user can mend. The text names the thing, its value, the rule and the remedy."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Ends an error about an unknown name: the nearest known one if there is one, else all of them."""
    known = sorted(known)
    if not known:
        return "none is known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)

"""The one exception that users see, and the search for the name that they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FunnelError(ValueError):
    """Something the user can mend. The text names the thing, its value, the rule and the remedy."""


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """Ends an error about an unknown name: the nearest known one if there is one, else, or where
    they are to be `listed`, all of them.
    """
    known = sorted(known)
    if not known:
        return "none is known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint, everything = [f"did you mean '{c}'?" for c in close], "known: " + ", ".join(known)
    return " ".join([*hint, *([everything] if listed or not close else [])])

"""The one exception that users see, and the search for the name that they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from features.printable import printable


class FunnelError(ValueError):
    """An error the user can fix. The message gives the key, its value, the rule and the fix. What
    it quotes is made printable, and credentials are hidden.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """The end of an error about an unknown name: the nearest known name, or all names.

    Args:
        listed: List all known names, too, if there is a near one.

    Example:
        >>> nearest("clik", ["click", "convert"])
        "did you mean 'click'?"
        >>> nearest("xyz", ["click", "convert"])
        'known: click, convert'
    """
    known = sorted(known)
    if not known:
        return "none is known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint, everything = [f"did you mean '{c}'?" for c in close], "known: " + ", ".join(known)
    return " ".join([*hint, *([everything] if listed or not close else [])])

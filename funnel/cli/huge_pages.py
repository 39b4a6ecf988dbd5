"""Huge pages for embedding tables, where Linux gives them to those who ask."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TUNABLE = "glibc.malloc.hugetlb"


def ask() -> None:
    """Starts this program anew, as it was called, with glibc told to ask for huge pages; nothing
    where that was said or is of no use.

    A batch reads rows all over tables of gigabytes, and with pages of 4 KiB nearly each of them
    misses the processor's translation cache. glibc reads its tunables before a process's first
    line: hence the new start.
    """
    told = os.environ.get("GLIBC_TUNABLES", "")
    on_request = (
        ENABLED.exists()
        and "[madvise]" in ENABLED.read_text()
        and platform.libc_ver()[0] == "glibc"
    )
    if on_request and TUNABLE not in told:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, [told, f"{TUNABLE}=1"]))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

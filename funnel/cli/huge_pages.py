"""Huge pages for embedding tables, where Linux gives them on request."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TUNABLE = "glibc.malloc.hugetlb"


def reexec_with_huge_pages() -> None:
    """Replaces this process by the same command with glibc's request for huge pages switched on.
    Returns if that is set already, or has no effect on this machine.

    A batch reads rows all over tables of gigabytes; with pages of 4 KiB nearly each of them misses
    the processor's translation cache. glibc reads its tunables before a process's first line, hence
    the new start.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    on_request = (
        ENABLED.exists()
        and "[madvise]" in ENABLED.read_text()
        and platform.libc_ver()[0] == "glibc"
    )
    if on_request and TUNABLE not in tunables:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, [tunables, f"{TUNABLE}=1"]))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

"""What becomes of memory that a call has freed."""

from __future__ import annotations

import ctypes

KEPT = 16 << 20
"""Bytes at the end of the heap that stay with the worker. A large argument or result takes a few times its
size, and to get these pages from the system for each call costs more than all copies of what is in them."""

MAPPED = 32 << 20
"""Bytes from which one allocation is a mapping of its own: where the C library ends up by itself."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Does nothing with a C library that has no such choice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_MMAP_THRESHOLD, MAPPED)

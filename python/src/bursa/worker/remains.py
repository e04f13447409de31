"""Ended processes that calls left to their worker: it adopts what they start in the background."""

from __future__ import annotations

import os
from contextlib import suppress

MOST = 100
"""Ended children that are kept: one of them may be a process that a later call means to wait for."""

_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def bury() -> None:
    """Reaps them once there are many. To be called between calls."""
    with suppress(OSError):  # no children at all, or a system that does not list them
        if os.waitid(os.P_ALL, 0, _ENDED) is None:
            return
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            if len(children.read().split()) <= MOST:
                return
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

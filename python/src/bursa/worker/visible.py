"""What functions see of the host, to explain a failure on a path that they do not."""

from __future__ import annotations

import errno
import os
from typing import List, NamedTuple

WORK = "/run/task"
"""The working directory and home of every call, empty when it begins."""
OWN = (WORK, "/tmp", "/dev/shm")
"""Directories that each worker has for itself."""

_REFUSED = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)
_OUTSIDE = (
    "%s is outside this endpoint's sandbox; its owner can grant it with sandbox.read or sandbox.write "
    "(`bursa up --read DIR --write DIR`)"
)
_READ_ONLY = (
    "%s is read-only in this endpoint's sandbox; its owner can grant it with sandbox.write "
    "(`bursa up --write DIR`)"
)


class Visible(NamedTuple):
    """Roots of what can be read, and of what can be written."""

    read: List[str]
    write: List[str]


known: Visible | None = None
"""None where there is no sandbox."""


def is_below(path: str, root: str) -> bool:
    """Whether `path` is `root` or in it."""
    return root == "/" or path == root or path.startswith(root + "/")


def advice(error: BaseException) -> str:
    """What the endpoint's owner can do about a path that functions do not see; nothing for other failures."""
    if known is None or not isinstance(error, OSError) or error.errno not in _REFUSED:
        return ""
    if not isinstance(error.filename, (str, bytes)):
        return ""
    path = os.path.abspath(os.fsdecode(error.filename))
    if is_below(path, WORK) or any(is_below(path, root) for root in known.write):
        return ""
    if any(is_below(path, root) for root in known.read):
        return "" if error.errno == errno.ENOENT else _READ_ONLY % path
    if any(is_below(path, root) for root in OWN) and error.errno != errno.ENOENT:
        return ""
    return _OUTSIDE % path

"""A fork of the zygote becomes a worker: descriptors, signals, process group, output, then the loop."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import random
import signal
import socket
import sys
import traceback
import types
from typing import List

from .loop import Worker
from .output import Capture, Tail

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent` dies; at once if it is dead already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def keep_descendants() -> None:
    """What a call starts stays below this process, whatever it forks: it is found and ended with this worker,
    and nothing of another worker is taken for it."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become_worker(descriptors: List[int], cwd: str, parent: int) -> None:
    """Runs the worker and never returns. `descriptors`: socket, pipe for fd 1 and 2, memfd."""
    status = 1
    try:
        os.setpgid(0, 0)
        die_with_parent(parent)
        keep_descendants()
        _reset_signals()
        sock, capture = _adopt(descriptors)
        os.chdir(cwd)
        _reseed()
        gc.enable()
        Worker(sock, capture).serve(os.getpid())
        status = 0
    except BaseException:  # nothing above the loop may survive into the zygote's code
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _adopt(descriptors: List[int]) -> tuple[socket.socket, Capture]:
    number, pipe, memfd = descriptors
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (pipe, 1), (pipe, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(pipe)
    capture = Capture(Tail(memfd))
    os.close(memfd)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    faulthandler.enable(2)
    # The user's code sees an empty __main__, as in a fresh interpreter.
    sys.modules["__main__"] = types.ModuleType("__main__")
    return socket.socket(fileno=number), capture


def _reseed() -> None:
    """Forks of one zygote would otherwise draw the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()

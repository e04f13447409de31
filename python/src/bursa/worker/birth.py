"""A fork of the zygote becomes a worker: descriptors, signals, process group, output, then the loop."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import signal
import socket
import sys
import traceback
import types
from typing import Any, Dict, List, NamedTuple

from .confine import Confinement, keep_house, prctl
from .loop import Worker
from .memory import keep_freed
from .output import Capture, Tail

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent` dies; at once if it is dead already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def keep_descendants() -> None:
    """What a call starts stays below this process, whatever it forks: it is found and ended with this worker,
    and nothing of another worker is taken for it."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def leave_descendants() -> None:
    """Who started the zygote may have made it keep what dead workers leave: that is for the executor
    to end."""
    prctl(_PR_SET_CHILD_SUBREAPER, 0)


class Birth(NamedTuple):
    """What the zygote hands to a fork. `descriptors`: the worker's socket, the pipe for fd 1 and 2, the
    memfd. `share`: what it has for itself of its node, `env` and `cpus`."""

    number: int
    control: socket.socket
    descriptors: List[int]
    cwd: str
    share: Dict[str, Any]
    parent: int


def become_worker(birth: Birth, confinement: Confinement | None) -> None:
    """Runs the worker and never returns."""
    status = 1
    try:
        os.dup2(birth.descriptors[1], 2)  # what fails from here on is the worker's own
        _reset_signals()
        os.setpgid(0, 0)
        os.environ.update(birth.share.get("env", {}))
        if birth.share.get("cpus"):
            os.sched_setaffinity(0, birth.share["cpus"])
        if confinement is None:
            die_with_parent(birth.parent)
        else:
            _begin_namespace(birth, confinement)
        keep_descendants()
        birth.control.sendall(json.dumps({"forked": birth.number}).encode())
        birth.control.close()
        sock, capture = _adopt(birth.descriptors)
        if confinement is None:
            scratch = None
            os.chdir(birth.cwd)
        else:
            scratch = confinement.seal()
        _reseed()
        gc.enable()
        keep_freed()
        Worker(sock, capture, scratch).serve(os.getpid())
        status = 0
    except BaseException:  # nothing above the loop may survive into the zygote's code
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)


def _begin_namespace(birth: Birth, confinement: Confinement) -> None:
    """The first process of a pid namespace makes the worker's world, and forks the worker, which returns."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    confinement.furnish()
    birth.control.sendall(json.dumps({"born": birth.number}).encode())
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)
        return die_with_parent(1)

    def told(status: int, maxrss_kb: int) -> None:
        exited = {"exited": birth.number, "status": status, "maxrss_kb": maxrss_kb}
        birth.control.sendall(json.dumps(exited).encode())

    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    for descriptor in (*birth.descriptors, null):
        os.close(descriptor)
    return keep_house(worker, told)


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

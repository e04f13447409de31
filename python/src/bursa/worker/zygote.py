"""The zygote: a single-threaded fork server that never runs user code.

On its control socket (SOCK_SEQPACKET, one JSON object per packet) it is told to fork, with three descriptors,
and tells which workers began and ended. When the socket closes it kills its workers and ends.
"""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, Dict, List, Tuple

from .birth import Birth, become_worker, leave_descendants
from .confine import Confinement

PACKET = 1 << 16
DESCRIPTORS = 3


class Zygote:
    """Owns the control socket and the worker processes."""

    def __init__(self, control: socket.socket, confinement: Confinement | None) -> None:
        self._control = control
        self._confinement = confinement
        self._is_first = os.getpid() == 1 and not confinement
        self._workers: Dict[int, int] = {}  # pid of the fork -> number given by the executor
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def serve(self) -> None:
        """Until the control socket closes."""
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        try:
            self._tell({"hello": {"pid": os.getpid(), "python": list(sys.version_info[:2])}})
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._wake_read:
                        self._reap()
                    elif not self._obey():
                        return
        except ConnectionError:
            return
        finally:
            self._kill_all()

    def _tell(self, message: Dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode())

    def _obey(self) -> bool:
        """One packet; False when the executor is gone."""
        packet, descriptors = _receive(self._control)
        if not packet:
            return False
        try:
            order = json.loads(packet)
            if len(descriptors) == DESCRIPTORS:
                self._spawn(order["spawn"], order["cwd"], order.get("share", {}), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _spawn(self, number: int, cwd: str, share: Dict[str, Any], descriptors: List[int]) -> None:
        parent = os.getpid()
        if self._confinement:
            self._confinement.open()
        pid = os.fork()
        if pid == 0:
            os.close(self._wake_read)
            os.close(self._wake_write)
            become_worker(Birth(number, self._control, descriptors, cwd, share, parent), self._confinement)
        if self._confinement:
            self._confinement.close()
        self._workers[pid] = number

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_read, PACKET)
        while self._workers:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._workers.pop(pid, None)
            if number is not None:
                if self._is_first and not self._workers:
                    _end_others()
                # In a sandbox it is the worker's first process, which has told how the worker ended.
                what = "ended" if self._confinement else "exited"
                self._tell({what: number, "status": status, "maxrss_kb": usage.ru_maxrss})

    def _kill_all(self) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _end_others() -> None:
    """In a container of its own: nothing that a worker started outlives it."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def connected(address: str) -> int:
    """The control socket by its name: a descriptor. Its directory may have a longer name than sockets may."""
    before = os.getcwd()
    directory, name = os.path.split(address)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.chdir(directory)
    control.connect(name)
    os.chdir(before)
    return control.detach()


def _noted(signum: int, frame: Any) -> None:
    """SIGCHLD needs a handler for the wake-up descriptor to be written."""


def _receive(control: socket.socket) -> Tuple[bytes, List[int]]:
    """One packet and the descriptors that came with it. (`socket.recv_fds` is newer than Python 3.8.)"""
    numbers = array.array("i")
    space = socket.CMSG_SPACE(DESCRIPTORS * numbers.itemsize)
    packet, ancillary, _, _ = control.recvmsg(PACKET, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return packet, list(numbers)


def main(descriptor: int, confinement: Dict[str, Any] | None) -> None:
    """Serve the control socket that was inherited as `descriptor`; inside a sandbox, with what `enclose`
    told."""
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    gc.freeze()
    leave_descendants()
    confined = Confinement(confinement) if confinement is not None else None
    Zygote(socket.socket(fileno=descriptor), confined).serve()

"""The worker's loop: frames in, calls run in order, frames out, and when to send them."""

from __future__ import annotations

import signal
import socket
import sys
from _signal import getsignal  # signal.getsignal takes 1 µs of every call to make an enum
from collections import deque
from time import perf_counter_ns
from typing import Deque, List, Tuple

from . import frames
from .calls import Functions, Runner
from .confine import Scratch
from .frames import BUFFER, FLUSH_FIRST, LOAD, LOAD_HEAD, RUN, RUN_HEAD, STOP, SUCCESS, Inbox
from .output import Capture
from .remains import bury

QUIET_NS = 4_000_000
"""Finished calls are sent before a call that begins this long after the last send, though more calls wait."""

BRIEF_NS = 5_000
"""Calls that took no longer have left no file: to make one takes more, and to look takes a part of it."""

_DEFAULT = int(signal.SIG_DFL)

Call = Tuple[int, bytes, int, bytes, bytearray]
"""(flags, task, attempt, hash, the whole `run` frame)"""


class Worker:
    """Owns the socket. Never raises for what a user's function does."""

    def __init__(self, sock: socket.socket, capture: Capture, scratch: Scratch | None) -> None:
        self._sock = sock
        self._scratch = scratch
        self._inbox = Inbox(sock)
        self._capture = capture
        self._functions = Functions()
        self._runner = Runner(self._functions)
        self._calls: Deque[Call] = deque()
        self._out: List[bytes] = []
        self._sent_at = 0
        self._now = 0  # when the last call ended, or the wait for the next
        self._stopping = False

    def serve(self, pid: int) -> None:
        """Until `stop` (all calls before it are finished) or until the executor closes the socket."""
        try:
            self._send(frames.ready(pid, *sys.version_info[:2]))
            calls, run = self._calls, self._run
            while len(calls) > 1 or self._next():
                run(calls.popleft())
        except (EOFError, ConnectionError):
            return

    def _next(self) -> bool:
        """Have a call at hand, and know whether another waits behind it. False: the work is over."""
        calls = self._calls
        if not self._stopping:
            self._look()
            while not calls and not self._stopping:
                self._flush()
                bury()
                self._take(self._inbox.read())
                self._now = perf_counter_ns()
        if not calls:
            self._flush()
        return bool(calls)

    def _look(self) -> None:
        """Take what is in the socket already, without waiting."""
        try:  # noqa: SIM105  suppress() takes longer
            self._take(self._inbox.read(socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass

    def _take(self, received: List[bytearray]) -> None:
        append = self._calls.append
        for frame in received:
            kind = frame[0]
            if kind == RUN:
                _, flags, task, attempt, body_hash = RUN_HEAD.unpack_from(frame)
                append((flags, task, attempt, body_hash, frame))
            elif kind == LOAD:
                self._functions.add(LOAD_HEAD.unpack_from(frame)[1], bytes(frame[LOAD_HEAD.size :]))
            elif kind == STOP:
                self._stopping = True

    def _fetch(self, body_hash: bytes) -> None:
        """Ask for a body and wait for it; other frames that come meanwhile keep their order."""
        self._out.append(frames.need(body_hash))
        self._flush()
        while body_hash not in self._functions:
            self._take(self._inbox.read())

    def _run(self, call: Call) -> None:
        flags, task, attempt, body_hash, frame = call
        if not self._capture.begin():  # before its body is fetched: nobody keeps that for a call taken back
            self._out.append(frames.skipped(self._capture.calls))
            return self._flush()
        if body_hash not in self._functions:
            self._fetch(body_hash)
        if not self._calls or flags & FLUSH_FIRST or self._now - self._sent_at >= QUIET_NS:
            self._out.append(frames.started(task, attempt))
            self._flush()
        begin = perf_counter_ns()
        outcome, load, run, sections = self._runner.run(body_hash, frame, begin)
        self._now = perf_counter_ns()
        took = load, run, self._now - begin - load - run
        if getsignal(signal.SIGALRM) != _DEFAULT:
            _end_alarm()
        output = self._capture.end()
        if outcome == SUCCESS:
            payload = sections[0]
            if len(payload) < BUFFER:
                self._out.append(frames.success(task, attempt, took, payload, output))
            else:
                self._out.append(frames.success_head(task, attempt, took, payload, output))
                self._flush()
                self._send(payload)
                self._send(output)
        else:
            self._out.append(frames.done(task, attempt, outcome, took, *sections, output))
        if self._scratch is not None and load + run > BRIEF_NS:
            self._tidy(self._scratch)

    def _tidy(self, scratch: Scratch) -> None:
        """A worker that cannot remove what a call left ends, and takes it along."""
        try:
            scratch.tidy()
        except OSError:
            self._flush()
            raise

    def _flush(self) -> None:
        if self._out:
            self._send(b"".join(self._out))
            self._out.clear()

    def _send(self, data: bytes) -> None:
        self._sock.sendall(data)
        self._sent_at = perf_counter_ns()


def _end_alarm() -> None:
    """An alarm that outlives its call would interrupt the loop in the middle of a frame."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

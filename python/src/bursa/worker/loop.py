"""The worker's loop: frames in, calls run in order, frames out, and when to send them."""

from __future__ import annotations

import signal
import socket
import sys
from _signal import getsignal  # signal.getsignal takes 1 µs of every call to make an enum
from collections import deque
from time import perf_counter_ns
from typing import Deque, List

from . import frames
from .calls import Functions, Parts, Runner, Sections
from .confine import Scratch
from .frames import FLUSH_FIRST, LARGE, LOAD, LOAD_HEAD, STOP, SUCCESS, Call, Inbox, Took
from .outbox import Outbox
from .output import BEGUN, WITHHELD, Capture
from .remains import bury

QUIET_NS = 4_000_000
"""Finished calls are sent before a call that begins this long after the last send, though more calls wait."""

BRIEF_NS = 5_000
"""Calls that took no longer have left no file: to make one takes more, and to look takes a part of it."""

_DEFAULT = int(signal.SIG_DFL)
_SIGALRM = int(signal.SIGALRM)


class Worker:
    """Owns the socket. Never raises for what a user's function does."""

    def __init__(self, sock: socket.socket, capture: Capture, scratch: Scratch | None) -> None:
        self._scratch = scratch
        self._inbox = Inbox(sock)
        self._capture = capture
        self._functions = Functions()
        self._runner = Runner(self._functions)
        self._calls: Deque[Call] = deque()
        self._out = Outbox(sock, capture.tail)
        self._begun = 0
        self._stopping = False

    def serve(self, pid: int) -> None:
        """Until `stop` (all calls before it are finished) or until the executor closes the socket."""
        try:
            self._out.add(frames.ready(pid, *sys.version_info[:2]))
            self._out.flush()
            while self._next():
                self._run()
        except (EOFError, ConnectionError):
            return

    def _next(self) -> bool:
        """Have a call at hand, and know whether another waits behind it. False: the work is over."""
        calls = self._calls
        if not self._stopping:
            # Who was told nothing since the last look has nothing to add to calls that wait.
            if self._out.told or not calls:
                self._look()
            while not calls and not self._stopping:
                self._out.flush()
                bury()
                self._take(self._inbox.read(calls))
        if not calls:
            self._out.flush()
        return bool(calls)

    def _look(self) -> None:
        """Take what is in the socket already, without waiting."""
        self._out.told = False
        if self._calls:  # as good as sure: the executor has had a call's time to answer
            try:  # noqa: SIM105
                self._take(self._inbox.read(self._calls, socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass
        elif self._inbox.has_more():
            self._take(self._inbox.read(self._calls))

    def _take(self, received: List[bytes]) -> None:
        for frame in received:
            kind = frame[0]
            if kind == LOAD:
                self._functions.add(LOAD_HEAD.unpack_from(frame)[1], frame[LOAD_HEAD.size :])
            elif kind == STOP:
                self._stopping = True

    def _fetch(self, body_hash: bytes) -> None:
        """Ask for a body and wait for it; other frames that come meanwhile keep their order."""
        self._out.add(frames.need(body_hash))
        self._out.flush()
        while body_hash not in self._functions:
            self._take(self._inbox.read(self._calls))

    def _run(self) -> None:
        """Runs the calls at hand, up to one behind which none waits that has been seen.

        All that most calls need is written out in this loop, on local variables: a burst of calls that take
        nothing costs what is between two of them. A call's time begins when the one before has ended.
        """
        calls, out, runner, capture = self._calls, self._out, self._runner, self._capture
        tail, words, begun = capture.tail, capture.tail.words, self._begun
        now = perf_counter_ns()
        while True:
            flags, name, body_hash, head, rest = calls.popleft()
            begun += 1
            # First told, then looked up: who withholds, and then counts, sees each call that began.
            words[BEGUN] = begun
            # Before its body is fetched: nobody keeps that for a call taken back.
            if begun <= words[WITHHELD]:
                out.add(frames.skipped(begun))
                out.flush()
            else:
                if tail.written or sys.stdout is not capture.out or sys.stderr is not capture.err:
                    capture.reset()
                if body_hash != runner.newest and body_hash not in self._functions:
                    self._fetch(body_hash)
                    now = perf_counter_ns()
                if not calls or flags & FLUSH_FIRST or now - out.sent_at >= QUIET_NS:
                    out.add(frames.started(name))
                    out.flush()
                    now = perf_counter_ns()
                begin = now
                outcome, load, run, sections = runner.run(body_hash, head, rest, begin)
                now = perf_counter_ns()
                if getsignal(_SIGALRM) != _DEFAULT:
                    _end_alarm()
                if outcome == SUCCESS and not tail.written:
                    out.add_success(name, load, run, now - begin - load - run, sections[0])
                else:
                    self._tell(name, outcome, (load, run, now - begin - load - run), sections)
                if load + run > BRIEF_NS and self._scratch is not None:
                    self._tidy(self._scratch)
                    now = perf_counter_ns()
            if len(calls) < 2:
                self._begun = begun
                return

    def _tell(self, name: bytes, outcome: int, took: Took, sections: Sections | Parts) -> None:
        """Of a call that failed, printed, or has a large result."""
        output = self._capture.tail.read()
        if outcome == LARGE:
            size = sum(map(len, sections))
            head = frames.done_head(name, SUCCESS, took, size, 0, 0, 0, len(output))
            self._out.send([head, *sections, output])
        else:
            sections = (*sections, output)
            self._out.add(frames.done_head(name, outcome, took, *map(len, sections)), *sections)

    def _tidy(self, scratch: Scratch) -> None:
        """A worker that cannot remove what a call left ends, and takes it along."""
        try:
            scratch.tidy()
        except OSError:
            self._out.flush()
            raise


def _end_alarm() -> None:
    """An alarm that outlives its call would interrupt the loop in the middle of a frame."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

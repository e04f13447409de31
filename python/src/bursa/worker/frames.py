"""Frames of the worker socket: `u32 length`, `u8 kind`, fields; little-endian. No policy here."""

from __future__ import annotations

import select
import socket
import struct
from typing import Deque, List, Tuple

LOAD, RUN, STOP = 1, 2, 3
READY, STARTED, DONE, NEED, SKIPPED = 16, 17, 18, 19, 20

SUCCESS, USER_ERROR, LOAD_FAILED, MISMATCH, TOO_LARGE = range(5)
"""Outcomes of `done`."""

LARGE = -1
"""For SUCCESS within the worker, when the payload is not put together."""

FLUSH_FIRST = 1
"""Flag of `run`: send what is finished before starting this."""

LOAD_HEAD = struct.Struct("<B32s")
RUN_HEAD = struct.Struct("<IBB24s32s3s")
_READY = struct.Struct("<IBIBB")
_STARTED = struct.Struct("<IB24s")
_DONE = struct.Struct("<IB24sB3Q5I")
DONE_SIZE = _DONE.size - 4
QUIET = struct.Struct("<IB24sB3QI16x")
"""The head of a `done` frame of which only the payload has something in it; its length is DONE_SIZE more."""
_NO_ARGS = RUN_HEAD.size - 4 - 3
_PAD = bytes(RUN_HEAD.size)
_NEED = struct.Struct("<IB32s")
_SKIPPED = struct.Struct("<IBQ")

BUFFER = 1 << 16
"""What is received at once, and the size of frames and payloads from which they are not copied."""

Call = Tuple[int, bytes, bytes, bytes, "bytes | memoryview"]
"""A `run` frame: flags, name (task and attempt as they came, to be said again), hash of the function, header
of the arguments' payload, the rest of it."""

Took = Tuple[int, int, int]
"""Nanoseconds: function and arguments loaded, the function run, its result serialized."""


def ready(pid: int, major: int, minor: int) -> bytes:
    return _READY.pack(_READY.size - 4, READY, pid, major, minor)


def started(name: bytes) -> bytes:
    return _STARTED.pack(_STARTED.size - 4, STARTED, name)


def need(body_hash: bytes) -> bytes:
    return _NEED.pack(_NEED.size - 4, NEED, body_hash)


def skipped(number: int) -> bytes:
    return _SKIPPED.pack(_SKIPPED.size - 4, SKIPPED, number)


def done_head(name: bytes, outcome: int, took: Took, *sizes: int) -> bytes:
    """What comes before the five sections of these sizes in a `done` frame: payload, class, message,
    traceback, output. The texts are UTF-8."""
    return _DONE.pack(DONE_SIZE + sum(sizes), DONE, name, outcome, *took, *sizes)


class Inbox:
    """Whole frames out of a socket: cut from what is received at once, a larger one in memory of its own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._rest = b""
        self._large: memoryview | None = None
        self._filled = 0

    def has_more(self) -> bool:
        """Whether a receive would not wait. For where it would: an exception takes several times as long."""
        return bool(self._poll.poll(0))

    def read(self, calls: Deque[Call], flags: int = 0) -> List[bytes]:
        """Adds the `run` frames of one receive to `calls`; the others, without their length. Maybe none yet.

        `flags` as for `recv`. Raises EOFError when the executor is gone, BlockingIOError with MSG_DONTWAIT
        when nothing is there.
        """
        if self._large is not None:
            return self._read_large(self._large, calls, flags)
        received = self._sock.recv(BUFFER, flags)
        if not received:
            raise EOFError
        return self._split(b"".join((self._rest, received, _PAD)), calls)

    def _split(self, data: bytes, calls: Deque[Call]) -> List[bytes]:
        """`data` ends with a pad, so that a head can be read wherever a frame begins."""
        others: List[bytes] = []
        append, unpack, head_size = calls.append, RUN_HEAD.unpack_from, RUN_HEAD.size
        at, end = 0, len(data) - head_size
        while end - at >= 4:
            size, kind, flags, name, body_hash, head = unpack(data, at)
            stop = at + 4 + size
            if stop > end:
                if 4 + size > BUFFER:
                    return self._begin_large(4 + size, data[at:end], others)
                break
            if kind != RUN:
                others.append(data[at + 4 : stop])
            elif size >= _NO_ARGS + 3:
                append((flags, name, body_hash, head, data[at + head_size : stop]))
            else:
                append((flags, name, body_hash, head[: size - _NO_ARGS], b""))
            at = stop
        self._rest = data[at:end]
        return others

    def _begin_large(self, size: int, begun: bytes, others: List[bytes]) -> List[bytes]:
        self._large = memoryview(bytearray(size))
        self._large[: len(begun)] = begun
        self._filled, self._rest = len(begun), b""
        return others

    def _read_large(self, frame: memoryview, calls: Deque[Call], flags: int) -> List[bytes]:
        count = self._sock.recv_into(frame[self._filled :], 0, flags)
        if count == 0:
            raise EOFError
        self._filled += count
        if self._filled < len(frame):
            return []
        self._large = None
        _, kind, *fields = RUN_HEAD.unpack_from(frame)
        if kind != RUN:
            return [bytes(frame[4:])]
        calls.append((*fields, frame[RUN_HEAD.size :]))
        return []

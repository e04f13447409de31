"""Frames of the worker socket: `u32 length`, `u8 kind`, fields; little-endian. No policy here."""

from __future__ import annotations

import socket
import struct
from typing import List, Tuple

LOAD, RUN, STOP = 1, 2, 3
READY, STARTED, DONE, NEED, SKIPPED = 16, 17, 18, 19, 20

SUCCESS, USER_ERROR, LOAD_FAILED, MISMATCH, TOO_LARGE = range(5)
"""Outcomes of `done`."""

FLUSH_FIRST = 1
"""Flag of `run`: send what is finished before starting this."""

LENGTH = struct.Struct("<I")
LOAD_HEAD = struct.Struct("<B32s")
RUN_HEAD = struct.Struct("<BB16sQ32s")
_READY = struct.Struct("<IBIBB")
_STARTED = struct.Struct("<IB16sQ")
_DONE = struct.Struct("<IB16sQB3Q5I")
_DONE_SIZE = _DONE.size - 4
_NEED = struct.Struct("<IB32s")
_SKIPPED = struct.Struct("<IBQ")

BUFFER = 1 << 16
"""What is received at once, and the size of frames and payloads from which they are not copied."""

Took = Tuple[int, int, int]
"""Nanoseconds: function and arguments loaded, the function run, its result serialized."""


def ready(pid: int, major: int, minor: int) -> bytes:
    return _READY.pack(_READY.size - 4, READY, pid, major, minor)


def started(task: bytes, attempt: int) -> bytes:
    return _STARTED.pack(_STARTED.size - 4, STARTED, task, attempt)


def need(body_hash: bytes) -> bytes:
    return _NEED.pack(_NEED.size - 4, NEED, body_hash)


def skipped(number: int) -> bytes:
    return _SKIPPED.pack(_SKIPPED.size - 4, SKIPPED, number)


def done(
    task: bytes,
    attempt: int,
    outcome: int,
    took: Took,
    payload: bytes = b"",
    name: bytes = b"",
    message: bytes = b"",
    traceback: bytes = b"",
    output: bytes = b"",
) -> bytes:
    """A `done` frame; the text sections are UTF-8."""
    sizes = len(payload), len(name), len(message), len(traceback), len(output)
    head = _DONE.pack(_DONE_SIZE + sum(sizes), DONE, task, attempt, outcome, *took, *sizes)
    return b"".join((head, payload, name, message, traceback, output))


def success(task: bytes, attempt: int, took: Took, payload: bytes, output: bytes) -> bytes:
    """`done` with the outcome SUCCESS: the frame that is written most."""
    return success_head(task, attempt, took, payload, output) + payload + output


def success_head(task: bytes, attempt: int, took: Took, payload: bytes, output: bytes) -> bytes:
    """What comes before payload and output in `success`, for a payload that is too large to be copied."""
    size, tail = len(payload), len(output)
    return _DONE.pack(_DONE_SIZE + size + tail, DONE, task, attempt, SUCCESS, *took, size, 0, 0, 0, tail)


class Inbox:
    """Whole frames out of a socket: through one buffer, and a frame that is larger into memory of its own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(BUFFER)
        self._held = 0
        self._large: bytearray | None = None
        self._filled = 0

    def read(self, flags: int = 0) -> List[bytearray]:
        """Frames (without their length) of one receive; maybe none yet. `flags` as for `recv`.

        Raises EOFError when the executor is gone, BlockingIOError with MSG_DONTWAIT when nothing is there.
        """
        if self._large is not None:
            return self._read_large(self._large, flags)
        self._held += self._receive(self._buffer, self._held, flags)
        return self._split()

    def _receive(self, buffer: bytearray, at: int, flags: int) -> int:
        room = memoryview(buffer)[at:]
        count = self._sock.recv_into(room, 0, flags)
        room.release()
        if count == 0:
            raise EOFError
        return count

    def _read_large(self, frame: bytearray, flags: int) -> List[bytearray]:
        self._filled += self._receive(frame, self._filled, flags)
        if self._filled < len(frame):
            return []
        self._large = None
        return [frame]

    def _split(self) -> List[bytearray]:
        buffer, end, at = self._buffer, self._held, 0
        frames: List[bytearray] = []
        length = LENGTH.unpack_from
        while end - at >= 4:
            size = length(buffer, at)[0]
            stop = at + 4 + size
            if stop > end:
                if size > BUFFER - 4:
                    self._begin_large(at + 4, size)
                    return frames
                break
            frames.append(buffer[at + 4 : stop])
            at = stop
        self._held = end - at
        if at:
            buffer[: self._held] = buffer[at:end]
        return frames

    def _begin_large(self, at: int, size: int) -> None:
        """A frame that begins at `at` does not fit the buffer."""
        self._filled = self._held - at
        self._large = bytearray(size)
        self._large[: self._filled] = memoryview(self._buffer)[at : self._held]
        self._held = 0

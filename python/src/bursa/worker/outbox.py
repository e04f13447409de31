"""Frames on their way to the executor, which can look at those that wait."""

from __future__ import annotations

import socket
from time import perf_counter_ns

from .calls import Parts
from .frames import DONE, DONE_SIZE, QUIET, SUCCESS, done_head
from .output import FRAMES, SIZE, UNSENT, Tail

_PARTS = 512
"""Of a payload that are sent at once: half of what the system takes."""

_SENDING = 1 << 32
"""One sending more, beside the bytes that wait. Between two sendings frames are only added: the executor
reads the word before and after them, and knows that they were whole."""

_WORD = (1 << 64) - 1


class Outbox:
    """Frames wait here to be sent together. They wait in memory that the executor has too: the result of a
    call that ended does not wait for the end of one that lasts, and does not die with its worker."""

    def __init__(self, sock: socket.socket, tail: Tail) -> None:
        self._sock = sock
        self._words, self._memory = tail.words, tail.memory
        self._end = FRAMES
        self._sendings = 0
        self.sent_at = 0
        self.told = True
        """Something was sent since this was last unset."""

    def add_success(self, name: bytes, load: int, run: int, dump: int, payload: bytes) -> None:
        """Of a call that printed nothing: what is said most. Written out for the time that it takes."""
        size = len(payload)
        end = self._end + QUIET.size + size
        if end > SIZE:
            return self.add(done_head(name, SUCCESS, (load, run, dump), size, 0, 0, 0, 0), payload)
        QUIET.pack_into(self._memory, self._end, DONE_SIZE + size, DONE, name, SUCCESS, load, run, dump, size)
        self._memory[end - size : end] = payload
        self._end = end
        self._words[UNSENT] = self._sendings + end - FRAMES

    def add(self, *parts: bytes) -> None:
        """A frame."""
        size = sum(map(len, parts))
        if self._end + size > SIZE:
            self.flush()
        if FRAMES + size > SIZE:
            return self.send(list(parts))
        for part in parts:
            end = self._end + len(part)
            self._memory[self._end : end] = part
            self._end = end
        self._words[UNSENT] = self._sendings + self._end - FRAMES

    def flush(self) -> None:
        if self._end > FRAMES:
            self._sock.sendall(self._memory[FRAMES : self._end])
            self._sent()

    def send(self, parts: Parts) -> None:
        """What waits, and a large frame behind it, which is not copied."""
        parts = [self._memory[FRAMES : self._end], *parts]
        for at in range(0, len(parts), _PARTS):
            some = parts[at : at + _PARTS]
            sent = self._sock.sendmsg(some)
            if sent < sum(map(len, some)):  # a signal came
                self._sock.sendall(b"".join(some)[sent:])
        self._sent()

    def _sent(self) -> None:
        self._end = FRAMES
        self._words[UNSENT] = self._sendings = self._sendings + _SENDING & _WORD
        self.sent_at, self.told = perf_counter_ns(), True

"""What worker and executor share, in a memfd: which calls began, which shall not, a task's output, and frames
that wait.

Layout: `u64 written` (total bytes of Python-level output since the task began), `u64 begun` (number of the
last call that began; 1 is the first), `u64 withheld` (the executor's: no call up to this number begins any
more), `u64 unsent` (bytes of whole frames that wait; in its upper half how often such were sent), then RING
bytes; byte i of the output is at i mod RING; then SPACE bytes for those frames.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import sys
import threading
from typing import Any

RING = SPACE = 1 << 16
HEAD = 32
FRAMES = HEAD + RING
SIZE = FRAMES + SPACE
_WRITTEN = struct.Struct("<Q")
BEGUN, WITHHELD, UNSENT = 1, 2, 3
"""Which words of the head."""


class Tail:
    """The ring. Only this process writes; `written` moves after the bytes it counts."""

    def __init__(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size < SIZE:
            os.ftruncate(descriptor, SIZE)
        self.memory = mmap.mmap(descriptor, SIZE)
        self.words = memoryview(self.memory)[:HEAD].cast("Q")
        self._lock = threading.RLock()  # threads print; so may a signal handler amid a print
        self.written = 0
        self.reset()

    def reset(self) -> None:
        """A new task begins."""
        self.written = 0
        _WRITTEN.pack_into(self.memory, 0, 0)

    def write(self, data: Any) -> int:
        with self._lock:
            size = len(data)
            start = self.written % RING
            if start + size <= RING:
                self.memory[HEAD + start : HEAD + start + size] = data
            else:
                self._wrap(memoryview(data)[-RING:], self.written + size)
            self.written += size
            _WRITTEN.pack_into(self.memory, 0, self.written)
        return size

    def _wrap(self, data: memoryview, end: int) -> None:
        start = (end - len(data)) % RING
        first = min(len(data), RING - start)
        self.memory[HEAD + start : HEAD + start + first] = data[:first]
        self.memory[HEAD : HEAD + len(data) - first] = data[first:]

    def read(self) -> bytes:
        """The last RING bytes (or fewer), in order."""
        if self.written <= RING:
            return self.memory[HEAD : HEAD + self.written]
        split = HEAD + self.written % RING
        return self.memory[split : HEAD + RING] + self.memory[HEAD:split]


class _TailFile(io.RawIOBase):
    """The binary layer of `sys.stdout`. `fileno` is the real descriptor, for child processes."""

    def __init__(self, tail: Tail, descriptor: int) -> None:
        self.write = tail.write  # type: ignore[method-assign]
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Stays open: the next task prints here too."""


class _Text(io.TextIOWrapper):
    def close(self) -> None:
        """Stays open: the next task prints here too."""
        self.flush()

    def detach(self) -> Any:
        return self.buffer


class Capture:
    """Puts a Tail behind `sys.stdout` and `sys.stderr`, and puts it back when a task has replaced them."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.out, self.err = (
            _Text(_TailFile(tail, fd), "utf-8", "backslashreplace", write_through=True)  # type: ignore[arg-type]
            for fd in (1, 2)
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr = self.out, self.err  # type: ignore[misc]
        os.register_at_fork(after_in_child=_print_to_descriptors)

    def reset(self) -> None:
        """Before a task, if the one before printed or replaced `sys.stdout` or `sys.stderr`."""
        sys.stdout, sys.stderr = self.out, self.err
        self.tail.reset()


def _print_to_descriptors() -> None:
    """In a child of the user's code: the ring has one writer, so children print to the pipe on fd 1 and 2."""
    sys.stdout, sys.stderr = (
        open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        for fd in (1, 2)
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]

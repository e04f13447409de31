"""What worker and executor share, in a memfd: which calls began, which shall not, and a task's output.

Layout: `u64 written` (total bytes of Python-level output since the task began), `u64 begun` (number of the
last call that began; 1 is the first), `u64 withheld` (the executor's: no call up to this number begins any
more), then RING bytes; byte i of the output is at i mod RING.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import sys
import threading
from typing import Any

RING = 1 << 16
HEAD = 24
_WRITTEN = struct.Struct("<Q")
BEGUN, WITHHELD = 1, 2
"""Which words of the head."""


class Tail:
    """The ring. Only this process writes; `written` moves after the bytes it counts."""

    def __init__(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size < HEAD + RING:
            os.ftruncate(descriptor, HEAD + RING)
        self._map = mmap.mmap(descriptor, HEAD + RING)
        self.words = memoryview(self._map)[:HEAD].cast("Q")
        self._lock = threading.RLock()  # threads print; so may a signal handler amid a print
        self.written = 0
        self.reset()

    def reset(self) -> None:
        """A new task begins."""
        self.written = 0
        _WRITTEN.pack_into(self._map, 0, 0)

    def write(self, data: Any) -> int:
        with self._lock:
            size = len(data)
            start = self.written % RING
            if start + size <= RING:
                self._map[HEAD + start : HEAD + start + size] = data
            else:
                self._wrap(memoryview(data)[-RING:], self.written + size)
            self.written += size
            _WRITTEN.pack_into(self._map, 0, self.written)
        return size

    def _wrap(self, data: memoryview, end: int) -> None:
        start = (end - len(data)) % RING
        first = min(len(data), RING - start)
        self._map[HEAD + start : HEAD + start + first] = data[:first]
        self._map[HEAD : HEAD + len(data) - first] = data[first:]

    def read(self) -> bytes:
        """The last RING bytes (or fewer), in order."""
        if self.written <= RING:
            return self._map[HEAD : HEAD + self.written]
        split = HEAD + self.written % RING
        return self._map[split : HEAD + RING] + self._map[HEAD:split]


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

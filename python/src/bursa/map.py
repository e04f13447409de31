"""`client.map`: a function over many items, in chunks, each of which is one task."""

from __future__ import annotations

import _thread
import time
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Iterator

from .chunks import Chunk, Columns, Inputs, Piece, Plan, Ran, Whole, halves
from .errors import BursaError, SerializationError, TooLarge
from .future import TaskFuture
from .ids import to_text
from .progress import Bar

if TYPE_CHECKING:
    from .client import Client

IN_FLIGHT, PER_SLOT = 32, 4
"""Chunks that may be under way: enough to hide the way there and back, or so many for each slot."""

WINDOW_S = 0.1
"""Twice as many may be when all of them took less: then the way there and back is what takes the time."""

AHEAD_CHUNKS, AHEAD_BYTES = 4096, 64 << 20
"""Chunks, and bytes of arguments and results, that wait to be read; nothing is drawn beyond them."""


class Calls:
    """One function on one endpoint: how chunks get there."""

    def __init__(
        self,
        client: Client,
        function: Any,
        endpoint_id: str | None,
        options: tuple[Any, ...] = (None,) * 6,
        note: Callable[[TaskFuture], None] | None = None,
    ) -> None:
        """`options`: retries, retry_on_error, deadline, memoize, container, resources.
        `note` is shown every task."""
        self.client, self._function, self._endpoint_id = client, function, endpoint_id
        self._options, self._note = options, note

    def send(self, payload: bytes, timeout: float | None) -> TaskFuture:
        """Submit one task."""
        retries, retry_on_error, *others = self._options
        options = (retries, retry_on_error, timeout, *others)
        future = self.client._send(self.client._route(self._function, self._endpoint_id, options), payload)
        if self._note is not None:
            self._note(future)
        return future

    def slots(self) -> int:
        """How many calls the endpoint can run at once; 0 if that is not known."""
        with suppress(BursaError):
            status = self.client.endpoint_status(to_text(self.client._endpoint(self._endpoint_id)))
            return int(status.get("slots_total", 0))
        return 0


class Results(Iterator[Any]):
    """The results of a map in the order of its items, for one thread to read.

    Reading is what draws items and submits them, so nothing runs ahead of a reader by more than a bounded
    number of chunks. The exception of an item is raised at its place; reading on gives the items behind it.
    What is in flight when nobody has it any more is cancelled.
    """

    _is_eager = True  # what __del__ finds when __init__ did not get far

    def __init__(
        self,
        calls: Calls,
        inputs: Inputs,
        plan: Plan,
        *,
        is_eager: bool = False,
        return_exceptions: bool = False,
        timeout: float | None = None,
        bar: Bar | None = None,
    ) -> None:
        """`is_eager`: all is drawn and submitted now, and stays so when nobody reads; with a `timeout` in
        seconds from now."""
        self._calls, self._plan = calls, plan
        self._inputs: Inputs | None = inputs
        self._return_exceptions = return_exceptions
        self._until = None if timeout is None else time.monotonic() + timeout
        self._bar = bar
        self._broken: Exception | None = None
        self._window = IN_FLIGHT
        self._knows_slots = False
        self._since, self._count = time.monotonic(), 0  # chunks that have ended since then
        self._order: deque[Chunk] = deque()
        self._flying: dict[Chunk, TaskFuture] = {}
        self._ended: SimpleQueue[Chunk] = SimpleQueue()
        self._held = 0  # bytes of chunks that are not read
        self._pieces: deque[Piece] = deque()
        self._ready: Iterator[Any] = iter(())
        self._is_eager = is_eager
        self._fill()

    # Reading

    def __next__(self) -> Any:
        while True:
            for value in self._ready:
                return value
            if not self._advance():
                raise StopIteration

    def __iter__(self) -> Iterator[Any]:
        """What `next` gives, for less."""
        while True:
            yield from self._ready
            if not self._advance():
                return

    def _advance(self) -> bool:
        """Have the next values ready, or raise the next exception. False at the end."""
        while not self._pieces:
            chunk = self._next_chunk()
            if chunk is None:
                return False
            self._pieces.extend(chunk.pieces(self._calls.client.loads))
        piece = self._pieces.popleft()
        if self._bar is not None:
            self._bar.add(len(piece) if isinstance(piece, list) else 1)
        if isinstance(piece, list):
            self._ready = iter(piece)
        elif self._return_exceptions:
            self._ready = iter((piece,))
        elif isinstance(piece, StopIteration):  # raised as it is, it would be an end
            raise RuntimeError("The function raised StopIteration.") from piece
        else:
            raise piece
        return True

    def _next_chunk(self) -> Chunk | None:
        """The next chunk in order, ended; None when there are no more."""
        while True:
            self._fill()
            if not self._order:
                return self._finish()
            chunk = self._order[0]
            if chunk.end is not None:
                self._order.popleft()
                self._order.extendleft(reversed(chunk.after))
                self._held -= chunk.size
                return chunk
            self._wait(chunk)

    def _finish(self) -> None:
        """The end; the iterables' own exception is raised there."""
        if self._bar is not None:
            self._bar.close()
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def _wait(self, chunk: Chunk) -> None:
        """Until this chunk has ended, or any other that may make room."""
        self._take(chunk if self._is_eager else self._ended.get())

    # Submitting

    def _fill(self) -> None:
        """Take what has ended, and submit while there is room."""
        while not self._ended.empty():
            self._take(self._ended.get())
        if 4 * len(self._flying) > 3 * self._window:  # a few at a time: they share messages and commits
            return
        while self._inputs is not None and self._has_room():
            columns = self._inputs.take(self._plan.size)
            if columns is None:
                self._broken, self._inputs = self._inputs.error, None
                return
            self._order.extend(self._submit(columns))

    def _has_room(self) -> bool:
        if self._is_eager:
            return True
        if len(self._flying) >= self._window and not self._knows_slots:
            self._knows_slots = True
            self._window = max(IN_FLIGHT, PER_SLOT * self._calls.slots())
        # Others go on far beyond a chunk that takes long, but not for a reader that is slow.
        ahead = AHEAD_CHUNKS if self._order and self._order[0].end is None else self._window
        is_ahead = len(self._order) >= self._window + ahead or self._held >= AHEAD_BYTES
        return len(self._flying) < self._window and not is_ahead

    def _submit(self, columns: Columns, again: bool = False) -> list[Chunk]:
        """Chunks of these items, under way. An item that cannot be sent is a chunk of its own, ended."""
        count = len(columns[0])
        chunk = Chunk(count, self._plan.is_alone(count, again))
        try:
            chunk.pack(columns, self._plan.slice_ns)
        except (SerializationError, TooLarge) as error:
            if count > 1:
                first, second = halves(columns)
                return [*self._submit(first, again), *self._submit(second, again)]
            return [_failed(1, error)]
        self._flying[chunk] = future = self._calls.send(chunk.payload, self._plan.timeout(count))
        self._held += chunk.size
        if not self._is_eager:
            future.add_done_callback(lambda _, put=self._ended.put: put(chunk))  # not self: it is free to go
        return [chunk]

    def _take(self, chunk: Chunk) -> None:
        """A chunk has ended; items that have not go on in others. Raises TaskPending when time is up."""
        future = self._flying.get(chunk)
        if future is None:  # cancelled
            return
        outcome = future.outcome(None if self._until is None else max(0.0, self._until - time.monotonic()))
        del self._flying[chunk]
        self._widen()
        self._held -= chunk.size
        end = chunk.take(outcome, future.raw, self._calls.client.loads)
        self._held += chunk.size
        if isinstance(end, Ran):
            self._plan.learn(end.count, end.took_ns, max(len(chunk.payload), chunk.size))
        try:
            chunk.after = [each for part in chunk.left() for each in self._submit(part, again=True)]
        except BursaError as error:  # such as a closed client
            if isinstance(end, Ran):
                chunk.after = [_failed(chunk.count - end.count, error)]
        chunk.payload = b""

    def _widen(self) -> None:
        """A chunk has ended: perhaps more should be under way."""
        self._count += 1
        if self._count >= self._window:
            now = time.monotonic()
            if now - self._since < WINDOW_S:
                self._window = min(2 * self._window, AHEAD_CHUNKS)
            self._since, self._count = now, 0

    # Stopping

    def cancel(self) -> None:
        """Stop: nothing more is drawn, what is in flight is cancelled, and reading is at its end."""
        futures = self._unfinished()
        self._inputs = self._broken = None
        self._flying.clear()
        self._order.clear()
        self._pieces.clear()
        deque(self._ready, 0)
        if self._bar is not None:
            self._bar.close()
        if futures:
            self._calls.client.cancel(futures)

    close = cancel  # for contextlib.closing

    def _unfinished(self) -> list[TaskFuture]:
        return [future for future in self._flying.values() if not future.done()]

    def __del__(self) -> None:
        futures = [] if self._is_eager else self._unfinished()
        if futures:
            # In a thread: garbage is collected amid anything, also where this one holds the client's locks.
            with suppress(RuntimeError):  # the interpreter ends
                _thread.start_new_thread(_cancel, (self._calls.client, futures))


def _failed(count: int, error: BursaError) -> Chunk:
    """A chunk whose items all raise `error`."""
    chunk = Chunk(count)
    chunk.end = Whole(count, error)
    return chunk


def _cancel(client: Client, futures: list[TaskFuture]) -> None:
    with suppress(BursaError):
        client.cancel(futures)

"""The task path: one WebSocket that carries submits and results.

`submit` appends to a queue; whoever gets the sending lock sends what is there. While one message is
unanswered the queue collects, and the reader thread sends the next batch when the answer comes. Large
arguments that fill a message have nothing to wait for and are sent at once, for the service to write side by
side. There is no sender thread and no timer on this path. After a broken connection everything unanswered is
sent again.

Who waits for the only call that is open reads by itself (`read_for`), while the reader thread waits on: to
hand a message from thread to thread is most of what such a call costs a client. Nor does the `accepted` of
that call wake it for a moment, unless somebody else wants to submit. A signal may interrupt the main thread
anywhere. So the reader thread does all that is more than to note a result, and makes a new connection where a
reading was interrupted: what was lost with it comes again.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import msgpack

from .errors import BursaError, Unavailable, from_service
from .future import TaskFuture, end_all
from .ids import to_text
from .login import Login
from .websocket import CALL, IGNORE, LISTEN, SILENCE, WebSocket

BATCH_TASKS, BATCH_BYTES = 8192, 1 << 20
"""One submit message holds at most so many tasks and, beyond its first, so many bytes of arguments."""

QUEUE_TASKS, QUEUE_BYTES = 32_768, 64 << 20
"""A caller waits while so much is queued here; `QUEUE_BYTES` counts arguments of at least LARGE bytes."""

LARGE = 1 << 14

PART = 1 << 16
"""Arguments of so many bytes are sent as they are, not copied into their message."""

AHEAD_SUBMITS, AHEAD_BYTES = 16, 16 << 20
"""No further message is sent while so many, or so many bytes of them, are unanswered."""

PATIENCE = 0.02
"""Seconds for which who reads for a lone call waits for its result alone."""

GIVE_UP = 60.0
"""Seconds without the service after which futures fail as Unavailable."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts, doubling, with jitter."""

_BIN32 = struct.Struct(">BI")
"""The head of bytes in msgpack."""


class Route:
    """What the tasks of one entry of `calls` share. Compared by identity; the client keeps one for each."""

    def __init__(self, function: bytes, endpoint: bytes, **options: Any) -> None:
        """Raw ids; `options` are named as in `calls`, None for the default."""
        given = {name: value for name, value in options.items() if value is not None}
        self.fields = {"function": function, "endpoint": endpoint, **given}


_Entry = Tuple[bytes, bytes, Route]
"""(task, arguments, route)"""


_Calls = Dict[Route, Tuple[List[bytes], List[bytes]]]
"""Tasks and arguments by route."""


def _packed(number: int, group: bytes, calls: _Calls) -> list[bytes]:
    """A submit message in parts, of which large arguments are some: they are sent without a copy."""
    parts: list[bytes] = []
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(4)
    for each in ("type", "submit", "id", number, "group", group, "calls"):
        packer.pack(each)
    packer.pack_array_header(len(calls))
    for route, (ids, args) in calls.items():
        fields = {**route.fields, "tasks": b"".join(ids)}
        packer.pack_map_header(len(fields) + 1)
        for each in (*chain.from_iterable(fields.items()), "args"):
            packer.pack(each)
        if max(map(len, args)) < PART:
            packer.pack(args)
            continue
        packer.pack_array_header(len(args))
        for each in args:
            if len(each) < PART:
                packer.pack(each)
            else:
                parts += (packer.bytes() + _BIN32.pack(0xC6, len(each)), each)
                packer.reset()
    return [*parts, packer.bytes()]


class _Submit(NamedTuple):
    number: int
    message: list[bytes]
    size: int
    entries: list[_Entry]

    def has_any(self, tasks: set[bytes]) -> bool:
        return any(raw in tasks for raw, _, _ in self.entries)


class Stream:
    """One connection at a time, read by a daemon thread, until `close` or until the service is gone."""

    def __init__(self, url: str, token: str | Login, group: bytes) -> None:
        """Connects. Raises Unavailable, or what the service says (Unauthorized)."""
        self._url, self._token, self._group = url, token, group
        self._pending: dict[bytes, TaskFuture] = {}
        self._queue: deque[_Entry] = deque()
        self._large = 0  # bytes of large arguments in the queue
        self._sending = threading.Lock()
        self._reading = threading.RLock()  # held by who reads; released by no one else, which RLock sees to
        self._left: deque[Callable[[], None]] = deque()  # for the reader thread to do
        self._changed = threading.Condition()  # the queue got shorter, a submit was answered, or it is over
        self._watched = 0  # how many wait for that
        self._deaf: WebSocket | None = None  # whoever reads this one hears results only
        self._unanswered: dict[int, _Submit] = {}  # by number, in order
        self._returned: list[_Submit] = []  # refused for now; back to the queue once all are answered
        self._refused_since: float | None = None  # the service says that it takes nothing now
        self._pause = 0.0  # seconds that they wait there
        self._paused: threading.Timer | None = None  # nothing is submitted before it is over
        self._number = 0
        self._closing = threading.Event()
        self._over: BursaError | None = None
        self._socket: WebSocket | None = None
        self._cursor = 0
        try:
            self._socket = self._open()
        except OSError as error:
            raise Unavailable(
                f"The service at {url} cannot be reached ({error}); run `bursa up` there, or check the url."
            ) from error
        self._reader = threading.Thread(target=self._read_all, name="bursa-stream", daemon=True)
        self._reader.start()

    # Submitting, from any thread

    def submit(self, future: TaskFuture, args: bytes, route: Route) -> None:
        """Raises Unavailable when this stream is over."""
        if len(self._queue) >= QUEUE_TASKS or (len(args) >= LARGE and self._add_large(len(args))):
            self._wait_for_room()
        self._pending[future.raw] = future
        self._queue.append((future.raw, args, route))
        self._hear_all()
        if not self._unanswered or self._large >= BATCH_BYTES:
            self._pump()
        if self._over is not None:
            self._fail_pending(self._over)

    def _add_large(self, size: int) -> bool:
        with self._changed:
            full = self._large > 0 and self._large + size > QUEUE_BYTES
            self._large += size
        return full

    def _wait_for_room(self) -> None:
        if threading.current_thread() is self._reader:  # a done callback submits: nobody else could make room
            return
        self._until(
            lambda: (len(self._queue) < QUEUE_TASKS and self._large <= QUEUE_BYTES)
            or not self._queue
            or self._over is not None
        )

    def _until(self, met: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until something is met. False when time is up."""
        with self._changed:
            self._watched += 1
            self._hear_all()
            try:
                return self._changed.wait_for(met, timeout)
            finally:
                self._watched -= 1

    @property
    def over(self) -> bool:
        """Whether this stream has ended for good; another one is needed."""
        return self._over is not None

    def flush(self, timeout: float) -> bool:
        """Wait until every submit so far is answered. False when time is up."""
        return self._until(
            lambda: self._over is not None or not (self._queue or self._unanswered or self._returned), timeout
        )

    def wait_accepted(self, futures: list[TaskFuture], timeout: float) -> bool:
        """Wait until the service knows these tasks (or has refused them). False when time is up."""
        return self._until(lambda: self._over is not None or not self._unsent(futures), timeout)

    def _unsent(self, futures: list[TaskFuture]) -> bool:
        unsent = {raw for submit in self._sent() for raw, _, _ in submit.entries}
        unsent.update(raw for raw, _, _ in self._queue.copy())
        return any(future.raw in unsent for future in futures)

    def _sent(self) -> list[_Submit]:
        """What was sent, and is not known to be accepted or refused for good."""
        return [*self._unanswered.copy().values(), *self._returned]

    def pending(self) -> list[TaskFuture]:
        """The futures that have not ended."""
        return list(self._pending.copy().values())

    def withdraw(self, futures: list[TaskFuture], timeout: float) -> set[bytes]:
        """Take back what the service has not accepted: the tasks that it will never see.

        Waits for the answer to what it was sent, at most `timeout` seconds.
        """
        until = time.monotonic() + timeout
        wanted = {future.raw for future in futures}
        taken: set[bytes] = set()
        while True:
            with self._sending:
                taken |= self._take_back(wanted)
                sent = {submit.number for submit in self._sent() if submit.has_any(wanted)}
            self._pump()  # what was queued while the lock was held
            if not sent:
                return taken
            left = until - time.monotonic()
            if left <= 0 or self._over is not None or threading.current_thread() is self._reader:
                return taken
            self._until(lambda sent=sent: self._over is not None or not self._all_sent(sent), left)

    def _all_sent(self, numbers: set[int]) -> bool:
        """Whether nothing has become of any of these submits."""
        return numbers <= {submit.number for submit in self._sent()}

    def _take_back(self, wanted: set[bytes]) -> set[bytes]:
        """Takes tasks out of the queue. Others may only append meanwhile: the rest keeps its order."""
        queue, kept, taken = self._queue, [], set()
        for _ in range(len(queue)):
            entry = queue.popleft()
            if entry[0] in wanted:
                taken.add(entry[0])
                self._pending.pop(entry[0], None)
                self._count_large([entry], -1)
            else:
                kept.append(entry)
        queue.extendleft(reversed(kept))
        with self._changed:
            self._changed.notify_all()
        return taken

    def _count_large(self, entries: list[_Entry], sign: int) -> None:
        size = sum(len(args) for _, args, _ in entries if len(args) >= LARGE)
        if size:
            with self._changed:
                self._large += sign * size

    def close(self, timeout: float) -> None:
        """Wait for answers to what was submitted (at most `timeout` seconds), then end."""
        self.flush(timeout)
        self._closing.set()
        self.abandon()
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout)

    def abandon(self) -> None:
        """End the connection without a word (also used on the copy that a fork made)."""
        socket = self._socket
        if socket is not None:
            socket.shut()

    def forget(self) -> None:
        """In a forked child: drop the descriptor, which is the parent's connection."""
        if self._socket is not None:
            self._socket.close()

    # Sending, by whoever holds the lock

    def _pump(self) -> None:
        """Send while there is something to send and nobody else sends.

        Looks again after each release, so that what was queued while the lock was held is not left behind.
        """
        while self._has_work() and self._sending.acquire(blocking=False):
            try:
                self._send_next()
            finally:
                self._sending.release()

    def _has_work(self) -> bool:
        socket = self._socket
        return socket is not None and bool(socket.owed or self._may_submit())

    def _may_submit(self) -> bool:
        if not self._queue or self._paused is not None or self._returned:
            return False
        return not self._unanswered or (self._large >= BATCH_BYTES and self._may_send_ahead())

    def _may_send_ahead(self) -> bool:
        sent = self._unanswered.copy().values()
        return len(sent) < AHEAD_SUBMITS and sum(submit.size for submit in sent) < AHEAD_BYTES

    def _send_next(self) -> None:
        socket = self._socket
        if socket is None:
            return
        reading = threading.current_thread() is self._reader
        try:
            socket.send_owed(reading=reading)
            if self._may_submit():
                submit = self._next_submit()
                self._unanswered[submit.number] = submit
                socket.send(*submit.message, reading=reading)
        except OSError:
            self._socket = None  # the reader notices, connects again and sends it again
            socket.shut()

    def _next_submit(self) -> _Submit:
        calls: _Calls = {}
        entries: list[_Entry] = []
        size, queue = 0, self._queue
        while queue and len(entries) < BATCH_TASKS:
            size += len(queue[0][1])
            if size > BATCH_BYTES and entries:
                break
            raw, args, route = entry = queue.popleft()
            entries.append(entry)
            call = calls.get(route)
            if call is None:
                call = calls[route] = ([], [])
            call[0].append(raw)
            call[1].append(args)
        self._count_large(entries, -1)
        self._number += 1
        message = _packed(self._number, self._group, calls)
        return _Submit(self._number, message, sum(map(len, message)), entries)

    # Reading, in a thread that waits for a result

    def read_for(self, future: TaskFuture, until: float | None) -> None:
        """Read in this thread until `future` has ended or it is `until` (monotonic), if it is the only one.

        Returns early where the reader thread has something to do; that one reads on.
        """
        if len(self._pending) != 1 or threading.current_thread() is self._reader:
            return
        # Each `finally` begins with one call into C, before which no signal is handled: all is undone always.
        acquire, release, after = self._reading.acquire, self._reading.release, CALL
        try:
            socket = self._socket if acquire(False) else None
            if socket is None or socket.watch is None or socket.torn or self._is_more(socket):
                return  # a call that the reader thread has not heard yet stands
            change, number = socket.watch.modify, socket.fileno()
            hear_all = socket.hear_all
            try:
                change(number, IGNORE)
                try:
                    self._hear_results(socket)
                    after = self._read_until(socket, future, until)
                    self._deaf = None
                finally:
                    hear_all()
            finally:
                change(number, after)
        finally:
            try:  # noqa: SIM105, which would come before the call
                release()
            except RuntimeError:  # it was not acquired
                pass

    def _read_until(self, socket: WebSocket, future: TaskFuture, until: float | None) -> int:
        """LISTEN, or CALL when there is something to do for the reader thread."""
        while not future.done():
            left = SILENCE if until is None else min(until - time.monotonic(), SILENCE)
            deaf = self._deaf is not None and left > PATIENCE
            if not socket.arrives(PATIENCE if deaf else left):
                if deaf:
                    self._hear_all()
                    continue
                socket.torn = left == SILENCE
                return CALL if socket.torn else LISTEN
            socket.torn = True
            try:
                socket.fill()
                while socket.has_frame():
                    self._take_next(socket)
            except (OSError, ValueError):
                return CALL
            socket.torn = False
            if self._is_more(socket):
                return CALL
        return LISTEN

    def _hear_results(self, socket: WebSocket) -> None:
        """Let nothing but results wake this thread, as long as nobody else has a use for more."""
        self._deaf = socket
        socket.hear_results()
        if self._queue or self._watched or self._deaf is None:  # somebody came meanwhile
            self._deaf = None
            socket.hear_all()

    def _hear_all(self) -> None:
        """Whoever waits for results alone looks at what else has come."""
        socket, self._deaf = self._deaf, None
        if socket is not None:
            with suppress(OSError):  # it was closed meanwhile
                socket.hear_all()

    def _is_more(self, socket: WebSocket) -> bool:
        """Whether there is more to do than a thread that only waits for a result does."""
        return bool(self._left or self._watched or self._has_work() or socket.has_large())

    # Reading, in the reader thread

    def _read_all(self) -> None:
        while True:
            broken = self._read()
            if self._closing.is_set():
                return self._end(
                    Unavailable(
                        "The client was closed while the task went on; ask a new client for it by its id."
                    )
                )
            try:
                self._reconnect(broken)
            except BursaError as error:
                return self._end(error)

    def _read(self) -> Exception:
        """Until the connection breaks; the reason."""
        socket = self._socket
        if socket is None:
            return ConnectionError("the connection broke while sending")
        try:
            with self._reading:
                self._round(socket)  # what came with the connection's first words
            while True:
                called = socket.wait()
                with self._reading:
                    self._do_left()
                    if socket.torn:
                        return ConnectionError("who read from it was interrupted, or found it broken")
                    if called and socket.watch is not None:
                        socket.watch.modify(socket.fileno(), LISTEN)
                    socket.fill()
                    self._round(socket)
        except (OSError, ValueError) as error:
            return error
        finally:
            socket.shut()

    def _round(self, socket: WebSocket) -> None:
        """All that is there, and what follows from it."""
        self._do_left()
        while socket.has_frame() or socket.has_large():
            self._take_next(socket)
            self._do_left()
            self._pump()
        self._pump()
        if self._watched:
            with self._changed:
                self._changed.notify_all()

    def _do_left(self) -> None:
        while self._left:
            self._left.popleft()()

    def _take_next(self, socket: WebSocket) -> None:
        data = socket.receive()
        if data is not None:
            self._take(msgpack.unpackb(data, strict_map_key=False))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "results":
            end_all(
                self._pending,
                message["tasks"],
                message["states"],
                message["payloads"],
                message.get("failures") or {},
                message.get("outputs") or {},
                message.get("memo") or b"",
                self._left,
            )
            self._cursor = message["cursor"]
        elif kind == "accepted":
            self._answered(message["id"])
        elif kind == "error":
            error = from_service(message["error"])
            self._left.append(partial(self._refused, message.get("id"), error))

    def _answered(self, number: int) -> None:
        if self._unanswered.pop(number, None) is not None:
            self._refused_since = None
            self._put_back()

    def _refused(self, number: int | None, error: BursaError) -> None:
        if number is None:  # what cannot be read has no number
            number = next(iter(self._unanswered), None)
        submit = self._unanswered.get(number)
        if submit is None:
            return
        now = time.monotonic()
        since = self._refused_since = self._refused_since or now
        if error.code == "busy" or (error.code == "unavailable" and now - since < GIVE_UP):
            least = error.retry_after or min(max(now - since, FIRST_PAUSE), LONGEST_PAUSE)
            self._pause = max(self._pause, least)
            self._returned.append(submit)
            del self._unanswered[submit.number]
            return self._put_back()
        for raw, _, _ in submit.entries:
            future = self._pending.pop(raw, None)
            if future is not None:
                future.end(error)
        self._answered(submit.number)

    def _put_back(self) -> None:
        """What the service does not take now waits here once all is answered; in order, it goes out again."""
        if self._unanswered or not self._returned:
            return
        pause = threading.Timer(random.uniform(1.0, 1.5) * self._pause, self._go_on)
        pause.daemon = True
        with self._sending:  # nobody else takes from the queue
            if self._unanswered:  # sent before the refusal was seen: its answer comes here again
                return
            for submit in sorted(self._returned, reverse=True):  # by number
                self._queue.extendleft(reversed(submit.entries))
                self._count_large(submit.entries, 1)
            self._paused, self._pause, self._returned = pause, 0.0, []
        pause.start()
        with self._changed:
            self._changed.notify_all()

    def _go_on(self) -> None:
        self._paused = None
        self._pump()

    # Connecting

    def _open(self) -> WebSocket:
        """A connection whose welcome has come."""
        url, mark, pin = self._url.partition("#")
        socket = WebSocket(f"{url}/api/v1/stream{mark}{pin}", self._token)
        try:
            while (data := socket.receive()) is None:
                pass
            welcome = msgpack.unpackb(data, strict_map_key=False)
        except BaseException:
            socket.close()
            raise
        if self._number == 0:
            self._cursor = welcome.get("cursor", 0)
        return socket

    def _reconnect(self, broken: Exception) -> None:
        """Back on air, with everything unanswered sent again. Raises what ends this stream for good."""
        until = time.monotonic() + GIVE_UP
        pause = FIRST_PAUSE
        while True:
            try:
                return self._resume()
            except Unavailable as error:
                broken = error
            except OSError as error:
                broken = error
            if time.monotonic() >= until:
                raise Unavailable(
                    f"The service at {self._url} was out of reach for {GIVE_UP:.0f} s ({broken}), while the "
                    "task may still run; ask for its result by its id when the service is back."
                )
            if self._closing.wait(random.uniform(0.5, 1.0) * pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)

    def _resume(self) -> None:
        old = self._socket
        self._socket = None
        if old is not None:
            old.shut()
        with self._sending, self._reading:  # whoever used the old connection has failed by now
            if old is not None:
                old.close()
            socket = self._open()
            if self._number:
                subscribe = {"type": "subscribe", "groups": [self._group], "cursor": self._cursor}
                socket.send(msgpack.packb(subscribe), reading=True)
            for submit in self._unanswered.copy().values():
                socket.send(*submit.message, reading=True)
            self._socket = socket
        if self._closing.is_set():  # `close` saw the old connection only
            socket.shut()
        self._pump()

    # The end

    def _end(self, error: BursaError) -> None:
        self._over = error
        pause = self._paused
        if pause is not None:
            pause.cancel()
        socket, self._socket = self._socket, None
        if socket is not None:
            with self._sending, self._reading:
                socket.close()
        self._do_left()
        self._fail_pending(error)
        with self._changed:
            self._changed.notify_all()

    def _fail_pending(self, error: BursaError) -> None:
        while self._pending:
            with suppress(KeyError):
                raw, future = self._pending.popitem()
                future.end(type(error)(f"Task {to_text(raw)}: {error}", code=error.code))

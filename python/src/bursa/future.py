"""Futures of tasks: real `concurrent.futures.Future`s that cost little until somebody waits on one.

A pending future has no lock. Its Condition is made when somebody really needs it (`wait`, `as_completed`,
a callback, a blocking `result`), and the value is unpickled by who asks for it, not by the reader thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import struct
import threading
import time
from collections import deque
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, LOGGER, PENDING
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Generator, Iterable

from .errors import TaskCancelled, TaskPending
from .ids import to_text
from .outcome import Outcome, value_of

_ids = struct.Struct("16s").iter_unpack
_SUCCESS, _CANCELLED = 0, 2
_MEMO = (None, "stored", "hit")

_making = threading.Lock()
"""Held while a Condition is made and while quiet futures finish: either the maker sees the future finished,
or the finisher sees the Condition."""


def _after_fork() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class TaskFuture(concurrent.futures.Future):  # type: ignore[type-arg]
    """One task. `result()`, `exception()`, `done()` as usual; `await` works; `task_id` is a UUID as text."""

    # Defaults live on the class: a pending future stores two attributes.
    _state = PENDING
    _made: threading.Condition | None = None
    _outcome: Outcome | None = None
    _result: Any = None
    _exception: BaseException | None = None
    memo: str | None = None
    """Once it has ended: "hit" (an earlier result), "stored" (later calls may have its), or None."""

    def __init__(self, raw: bytes, client: Any) -> None:
        """`client` has `loads` (payload to value), `opened`, `read_for`, `cancel_one`, `explain`,
        `wait_accepted`."""
        self.raw = raw
        self._client = client

    @property
    def task_id(self) -> str:
        """The task's id, given out once the service has the task on disk (or has refused it)."""
        if self._state == PENDING:
            self._client.wait_accepted([self])
        return to_text(self.raw)

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        made = self._made
        if made is None:
            with _making:
                made = self._made
                if made is None:
                    self._waiters: list[Any] = []
                    self._done_callbacks: list[Callable[..., Any]] = []
                    made = self._made = threading.Condition()
        return made

    def __repr__(self) -> str:
        return f"<TaskFuture {to_text(self.raw)} {'pending' if self._state == PENDING else 'ended'}>"

    def done(self) -> bool:
        return self._state != PENDING

    def cancelled(self) -> bool:
        return self._state == CANCELLED_AND_NOTIFIED

    def running(self) -> bool:
        """Always False: only the service knows; ask `client.status(future)`."""
        return False

    def cancel(self) -> bool:
        """Cancel the task, running or not. True once that is on disk, False when it had ended otherwise."""
        if self._state != PENDING:
            return self.cancelled()
        return self._client.cancel_one(self)

    def explain(self) -> dict[str, Any]:
        """What `client.explain` says of this task: why it waits, or how it ended, and what to do next."""
        return self._client.explain(self)

    @property
    def timings(self) -> dict[str, float] | None:
        """Where the time of the ended task went, in seconds by part, as the service has it (one request).

        None for one that has not ended, or of whose execution nothing is known.
        """
        timings: dict[str, float] | None = self.explain().get("timings")
        return timings

    def result(self, timeout: float | None = None) -> Any:
        """The value, or the exception raised. TaskPending (a TimeoutError) after `timeout` seconds."""
        if self._state == PENDING:
            self._wait(timeout)
        if self._outcome is not None:
            self._decode()
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                del self  # the traceback would hold this frame, and with it the future
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception, None for a success. TaskCancelled and TaskPending are raised."""
        if self._state == PENDING:
            self._wait(timeout)
        if self._outcome is not None:
            self._decode()
        if isinstance(self._exception, TaskCancelled):
            raise self._exception
        return self._exception

    def __await__(self) -> Generator[Any, None, Any]:
        """Cancelling the coroutine that awaits leaves the task running; use `cancel()` for that."""
        if self._state == PENDING:
            loop = asyncio.get_running_loop()
            woken = loop.create_future()

            def wake(_: Any) -> None:
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(_set, woken)

            self.add_done_callback(wake)
            yield from woken
        return self.result()

    def outcome(self, timeout: float | None = None) -> Outcome:
        """How it ended, undecoded, for who asks in place of `result`; waits as that does."""
        if self._state == PENDING:
            self._wait(timeout)
        return self._client.opened(self._outcome or b"", self.raw)

    def _wait(self, timeout: float | None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        if self._made is None:  # nobody else asks
            self._client.read_for(self, until)
        if self._state == PENDING:
            condition = self._condition
            with condition:
                if self._state == PENDING:
                    condition.wait(None if until is None else max(0.0, until - time.monotonic()))
        if self._state == PENDING:
            raise TaskPending(
                f"Task {to_text(self.raw)} has not ended within {timeout} s; it goes on, so ask again later.",
                task_id=to_text(self.raw),
            )

    def _decode(self) -> None:
        outcome = self._outcome
        if outcome is None:  # another thread was quicker
            return
        try:
            self._result = value_of(self._client.opened(outcome, self.raw), self.raw, self._client.loads)
        except Exception as error:
            self._exception = error
        self._outcome = None  # last: who sees None finds the result

    def end(self, outcome: Outcome) -> None:
        """The task ended, or cannot be followed any longer. The second end is ignored."""
        with _making:
            if self._made is None:
                if self._state == PENDING:
                    self._outcome, self._state = outcome, _state_of(outcome)
                return
        self.end_aloud(outcome)

    def end_aloud(self, outcome: Outcome) -> None:
        """End a future that may be waited for."""
        with self._condition:
            if self._state != PENDING:
                return
            self._outcome, self._state = outcome, _state_of(outcome)
            for waiter in self._waiters:
                if self._state == CANCELLED_AND_NOTIFIED:
                    waiter.add_cancelled(self)
                elif isinstance(outcome, bytes):
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            self._condition.notify_all()
        for callback in self._done_callbacks:
            try:
                callback(self)
            except Exception:
                LOGGER.exception("a callback of %r failed", self)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # the coroutine may have been cancelled
        woken.set_result(None)


def _state_of(outcome: Outcome) -> str:
    cancelled = type(outcome) is tuple and outcome[1].get("code") == "cancelled"
    return CANCELLED_AND_NOTIFIED if cancelled else FINISHED


def end_all(
    pending: dict[bytes, TaskFuture],
    tasks: bytes,
    states: bytes,
    payloads: Iterable[bytes],
    failures: dict[int, dict[str, Any]],
    outputs: dict[int, bytes],
    memo: bytes,
    aloud: deque[Callable[[], None]],
) -> None:
    """End the futures of one `results` message and take them out of `pending`; others' ids are skipped.

    How to end those that may be waited for is added to `aloud`. A future leaves `pending` last: a signal may
    interrupt this in the main thread, and then the same message comes again.
    """
    for (raw,), part in zip(_ids(tasks), memo):
        if part and raw in pending:
            pending[raw].memo = _MEMO[part]
    find, drop = pending.get, pending.pop
    outcome: Outcome
    with _making:
        for index, ((raw,), state, payload) in enumerate(zip(_ids(tasks), states, payloads)):
            future = find(raw)
            if future is None:
                continue
            if state == _SUCCESS:
                outcome = payload
            else:
                failure = failures.get(index) or {"code": "cancelled" if state == _CANCELLED else "failed"}
                outcome = (payload, failure, outputs.get(index, b""))
            if future._made is not None:
                aloud.append(partial(future.end_aloud, outcome))
            elif future._state == PENDING:
                future._outcome = outcome
                future._state = FINISHED if state == _SUCCESS else _state_of(outcome)
            drop(raw, None)

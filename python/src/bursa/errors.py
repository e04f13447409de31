"""Every error that Bursa raises: one hierarchy under `BursaError`, each message one sentence.

This module imports the standard library only; the worker loads it through `serialize`.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any


class BursaError(Exception):
    """Something that Bursa refused or could not do. `code` is the service's stable word for it."""

    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """`retry_after`: seconds after which the service thinks that the same request may succeed."""
        super().__init__(message)
        if code is not None:
            self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class Unauthorized(BursaError):
    """The service does not accept this token."""

    code = "unauthorized"


class Forbidden(BursaError):
    """The token may not do this: it lacks a scope, or its user is not allowed to."""

    code = "forbidden"


class NotFound(BursaError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not-found"


class Invalid(BursaError):
    """The request has a wrong or missing field; the message names it."""

    code = "invalid"


class Conflict(BursaError):
    """The same id exists with other content."""

    code = "conflict"


class TooLarge(BursaError):
    """A payload is over its limit; the message has both numbers (bytes)."""

    code = "too-large"


class Unavailable(BursaError):
    """The service cannot be reached, or cannot work at the moment."""

    code = "unavailable"


class Busy(Unavailable):
    """The service asks to send again later."""

    code = "busy"


class SerializationError(BursaError):
    """A value cannot be pickled, or a payload cannot be read here."""

    code = "serialization"


class DeserializeMismatch(SerializationError):
    """A payload with code in it was made by another Python minor; `theirs` and `ours` are (major, minor)."""

    code = "deserialize-mismatch"

    def __init__(self, theirs: tuple[int, int], ours: tuple[int, int], what: str = "payload") -> None:
        """`what` was made there: a function, or another payload."""
        made, here = (f"{major}.{minor}" for major, minor in (theirs, ours))
        advice = f"pass plain data, or use Python {made} on both sides"
        if what == "function":
            advice = (
                f"use Python {made} on both sides, or make it self-contained, so that its source travels "
                "too: defined in a file, without a closure and without globals but imports"
            )
        super().__init__(
            f"This {what} was made by Python {made} and holds code, which Python {here} cannot read; "
            f"{advice}."
        )
        self.theirs, self.ours, self.what = theirs, ours, what

    def of(self, what: str) -> DeserializeMismatch:
        """The same of another thing."""
        return type(self)(self.theirs, self.ours, what)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.theirs, self.ours, self.what)


class TaskPending(BursaError, concurrent.futures.TimeoutError):
    """The task has not ended in the time given; it goes on, ask again. `state` is its last known state."""

    code = "pending"

    def __init__(self, message: str, *, task_id: str = "", state: str = "") -> None:
        super().__init__(message)
        self.task_id, self.state = task_id, state


class TaskFailed(BursaError):
    """The task ended as failed.

    `code` is the kind of failure (`worker-died`, `timeout`, …), `failure` the service's whole record of it,
    `output` the last bytes that the task printed, as text.
    """

    code = "failed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        failure: dict[str, Any] | None = None,
        output: str = "",
        task_id: str = "",
    ) -> None:
        super().__init__(message, code=code)
        self.failure = failure or {}
        self.output, self.task_id = output, task_id


class TaskCancelled(TaskFailed, concurrent.futures.CancelledError):
    """The task was cancelled before it ended by itself."""

    code = "cancelled"


class RemoteTraceback(Exception):
    """The `__cause__` of an exception that a user's function raised elsewhere: its traceback as text."""

    def __init__(self, text: str, *, task_id: str = "", output: str = "") -> None:
        super().__init__(text)
        self.text, self.task_id, self.output = text, task_id, output

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


_BY_CODE: dict[str, type[BursaError]] = {
    cls.code: cls
    for cls in (Unauthorized, Forbidden, NotFound, Invalid, Conflict, TooLarge, Unavailable, Busy)
}


def from_service(error: dict[str, Any]) -> BursaError:
    """The exception for an error object of the service (`{"code", "message", …}`), not raised."""
    code = str(error.get("code", "internal"))
    message = str(error.get("message") or f"The service answered with the error {code}.")
    return _BY_CODE.get(code, BursaError)(
        message, code=code, request_id=error.get("request_id"), retry_after=error.get("retry_after")
    )

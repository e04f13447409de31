"""What a failed call looks like: class, message and a traceback with the user's frames only."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any, NamedTuple

from ..errors import SerializationError
from ..serialize import dumps
from . import secrets
from .visible import advice

TRACEBACK_LIMIT = 128 << 10
MESSAGE_LIMIT = 32 << 10
EXCEPTION_LIMIT = 1 << 20
"""Bytes; a larger exception object is left out, its class, message and traceback still travel."""

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Report(NamedTuple):
    """The last sections of a `done` frame, all UTF-8 but `payload`."""

    payload: bytes
    name: bytes
    message: bytes
    traceback: bytes


def of_exception(error: BaseException) -> Report:
    """Never raises, whatever the exception's own methods do."""
    hint = advice(error)
    if hint:
        error.__notes__ = [
            *getattr(error, "__notes__", ()),
            hint,
        ]  # shown by the client's Python 3.11 and later
    return Report(_payload(error), _name(error), cut(_message(error), MESSAGE_LIMIT), _traceback(error))


def of_failure(error: BaseException, message: str) -> Report:
    """A failure that the worker explains itself; no exception object travels."""
    return Report(b"", _name(error), cut(message, MESSAGE_LIMIT), _traceback(error))


def of_value(value: Any, error: BaseException) -> Report:
    """A call whose result could not be pickled, which raised `error`."""
    if not isinstance(error, SerializationError):  # the user's __reduce__ may do anything
        return of_exception(error)
    cause = error.__cause__ or error
    message = (
        f"The function returned a {type(value).__name__}, which cannot be pickled ({cause}); "
        "return plain data instead."
    )
    return of_failure(cause, message)


def cut(text: str, limit: int) -> bytes:
    """`text` without secrets as at most about `limit` bytes, cut in the middle."""
    data = secrets.masked(text.encode("utf-8", "backslashreplace"))
    if len(data) <= limit:
        return data
    half = limit // 2 - 32
    head = data[:half].decode("utf-8", "ignore").encode()
    tail = data[-half:].decode("utf-8", "ignore").encode()
    return head + b"\n... (%d bytes cut) ...\n" % (len(data) - 2 * half) + tail


def _name(error: BaseException) -> bytes:
    cls = type(error)
    module = getattr(cls, "__module__", "builtins")
    prefix = "" if module in ("builtins", "__main__") else f"{module}."
    return f"{prefix}{cls.__qualname__}".encode("utf-8", "backslashreplace")


def _message(error: BaseException) -> str:
    try:
        hint = advice(error)
        return f"{error} ({hint})" if hint else str(error)
    except BaseException as inner:  # the user's __str__ may do anything
        return f"<its str() raised {type(inner).__name__}>"


def _traceback(error: BaseException) -> bytes:
    try:
        lines = traceback.format_exception(type(error), error, _users(error.__traceback__))
        return cut("".join(lines), TRACEBACK_LIMIT)
    except BaseException as inner:  # a broken __str__, a __cause__ that is no exception, …
        return f"{_name(error).decode()}: <its traceback cannot be shown: {type(inner).__name__}>\n".encode()


def _users(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from its first frame outside Bursa."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OWN):
        tb = tb.tb_next
    return tb


def _payload(error: BaseException) -> bytes:
    try:
        payload = dumps(error, carry=False)
    except BaseException:  # not picklable: class, message and traceback tell enough
        return b""
    return payload if len(payload) <= EXCEPTION_LIMIT and not secrets.shows(payload) else b""

"""From how a task ended to a value or an exception."""

from __future__ import annotations

from typing import Any, Callable, Tuple, Union

from .errors import BursaError, RemoteTraceback, SerializationError, TaskCancelled, TaskFailed
from .ids import to_text

ENDED = frozenset({"success", "failed", "cancelled"})

Failed = Tuple[bytes, "dict[str, Any]", bytes]
"""(payload of the user's exception, failure record, output)"""

CANCELLED: Failed = (b"", {"code": "cancelled"}, b"")
"""The end of a task that was cancelled."""

Outcome = Union[bytes, Failed, BursaError]
"""A success's payload, a failure, or an error of the client itself."""

Loads = Callable[[bytes], Any]


def value_of(outcome: Outcome, raw: bytes, loads: Loads) -> Any:
    """The value of task `raw` if it is a success; raises what a failure means."""
    if isinstance(outcome, bytes):
        return _load_result(outcome, raw, loads)
    if isinstance(outcome, BursaError):
        raise outcome
    raise error_of(*outcome, to_text(raw), loads)


def _load_result(payload: bytes, raw: bytes, loads: Loads) -> Any:
    try:
        return loads(payload)
    except SerializationError:
        raise
    except Exception as error:  # unpickling runs code of the value's classes
        raise SerializationError(
            f"The result of task {to_text(raw)} cannot be read here ({type(error).__name__}: {error}); "
            "install the packages of its classes, or return plain data."
        ) from error


def error_of(payload: bytes, failure: dict[str, Any], output: bytes, task_id: str, loads: Loads) -> Exception:
    """The exception that a failure means, not raised."""
    text, code = output.decode("utf-8", "replace"), str(failure.get("code", "failed"))
    remote = failure.get("traceback")
    cause = RemoteTraceback(remote, task_id=task_id, output=text) if remote else None
    if code == "cancelled":
        return TaskCancelled(f"Task {task_id} was cancelled.", failure=failure, output=text, task_id=task_id)
    if code == "user-error" and payload:
        error = _users_exception(payload, loads)
        if error is not None:
            error.__cause__ = cause
            return error
    failed = TaskFailed(_sentence(code, failure), code=code, failure=failure, output=text, task_id=task_id)
    failed.__cause__ = cause
    return failed


def _users_exception(payload: bytes, loads: Loads) -> Exception | None:
    """The exception itself; None when it cannot be read, or would end this program (as SystemExit)."""
    try:
        error = loads(payload)
    except Exception:  # its class is not here, or its __init__ wants other arguments
        return None
    return error if isinstance(error, Exception) else None


def _sentence(code: str, failure: dict[str, Any]) -> str:
    message = str(failure.get("message") or "")
    name = failure.get("class")
    if code == "user-error" and name:
        return f"{name}: {message}" if message else str(name)
    return message or f"The task failed: {code}."


def of_task(task: dict[str, Any]) -> Outcome:
    """The outcome of an ended task as REST shows it (payloads as bytes)."""
    if task["state"] == "success":
        return task.get("result", b"")
    failure = task.get("failure") or {"code": task["state"]}
    return task.get("exception", b""), failure, task.get("output", b"")

"""Bursa: run Python functions on any endpoint you may use.

Names are loaded when first used, so that a worker, which imports `bursa.worker`, never loads the client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Client": "client",
    "RAW": "containers",
    "Batch": "client",
    "Executor": "executor",
    "Function": "remote",
    "function": "remote",
    "Results": "map",
    "MPIFunction": "mpi",
    "ShellFunction": "shell",
    "ShellResult": "shell",
    "quote": "shell",
    "TaskFuture": "future",
    "BursaError": "errors",
    "Conflict": "errors",
    "DeserializeMismatch": "errors",
    "Forbidden": "errors",
    "Invalid": "errors",
    "NotFound": "errors",
    "SerializationError": "errors",
    "TaskCancelled": "errors",
    "TaskFailed": "errors",
    "TaskPending": "errors",
    "TooLarge": "errors",
    "Unauthorized": "errors",
    "Unavailable": "errors",
}

__all__ = [
    "RAW",
    "Batch",
    "BursaError",
    "Client",
    "Conflict",
    "DeserializeMismatch",
    "Executor",
    "Forbidden",
    "Function",
    "Invalid",
    "MPIFunction",
    "NotFound",
    "Results",
    "SerializationError",
    "ShellFunction",
    "ShellResult",
    "TaskCancelled",
    "TaskFailed",
    "TaskFuture",
    "TaskPending",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "__version__",
    "function",
    "quote",
]

if TYPE_CHECKING:
    from .client import Batch, Client
    from .containers import RAW
    from .errors import (
        BursaError,
        Conflict,
        DeserializeMismatch,
        Forbidden,
        Invalid,
        NotFound,
        SerializationError,
        TaskCancelled,
        TaskFailed,
        TaskPending,
        TooLarge,
        Unauthorized,
        Unavailable,
    )
    from .executor import Executor
    from .future import TaskFuture
    from .map import Results
    from .mpi import MPIFunction
    from .remote import Function, function
    from .shell import ShellFunction, ShellResult, quote


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'bursa' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bursa.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

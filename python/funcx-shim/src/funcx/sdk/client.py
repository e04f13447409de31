"""`from funcx.sdk.client import FuncXClient`."""

from __future__ import annotations

from bursa.errors import TaskPending
from bursa.funcx import FuncXClient

__all__ = ["FuncXClient", "TaskPending"]

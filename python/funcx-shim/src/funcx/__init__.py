"""The import names of funcX, served by Bursa: `from funcx import FuncXClient` uses your own service."""

from __future__ import annotations

import importlib.metadata

try:
    _real = importlib.metadata.version("funcx")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    raise ImportError(
        f"funcx {_real} and bursa-funcx are both installed and have the same import name; "
        "uninstall one of them (pip uninstall funcx, or pip uninstall bursa-funcx)."
    )

from bursa.executor import Executor as FuncXExecutor
from bursa.funcx import FuncXClient

__all__ = ["FuncXClient", "FuncXExecutor"]

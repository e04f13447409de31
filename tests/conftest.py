"""For the suites beside the end-to-end tests: their helpers as the module `e2e`.

Each folder has a `conftest` of its own, so this one cannot be imported by that name. Pytest puts its folder
on the path, where `environments` is.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("e2e", Path(__file__).resolve().parent / "e2e" / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules["e2e"] = _module
_spec.loader.exec_module(_module)

"""Which modules are the user's own: their code travels by value, since an endpoint has no copy of them."""

from __future__ import annotations

import os
import site
import sys
from functools import lru_cache
from typing import Any

from ._vendor import cloudpickle

_seen: dict[str, bool] = {}


def carry_by_value(obj: Any) -> None:
    """Have cloudpickle send `obj` (function, class or module) by value when its top-level module is local."""
    name = getattr(obj, "__module__", None) or getattr(obj, "__name__", "")
    if not isinstance(name, str):
        return
    top = name.partition(".")[0]
    local = _seen.get(top)
    if local is None:
        local = _seen[top] = is_local(top)
    if local:
        cloudpickle.register_pickle_by_value(sys.modules[top])


def is_local(name: str) -> bool:
    """Whether the loaded top-level module `name` is a file of the user: not installed, not Python's own."""
    module = sys.modules.get(name)
    if module is None or name in ("__main__", "bursa"):  # cloudpickle sends __main__ by value anyway
        return False
    source = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if source is None or source.endswith((".so", ".pyd", ".zip")):
        return False
    source = os.path.realpath(source)
    parts = source.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not any(source.startswith(root + os.sep) for root in _installed_roots())


@lru_cache(maxsize=None)
def _installed_roots() -> tuple[str, ...]:
    import sysconfig  # only clients ask

    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib") if key in paths}
    roots.add(os.path.dirname(os.__file__))
    if site.ENABLE_USER_SITE:
        roots.add(site.getusersitepackages())
    return tuple(os.path.realpath(root) for root in roots)

"""Secrets: what your calls of a function find in their environment. See docs/secrets.md."""

from __future__ import annotations

import builtins
from typing import Any

from .rest import Rest, segment


class Secrets:
    """The secrets of one user."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def set(self, name: str, value: str) -> None:
        self._rest.put(_at(name), {"value": value})

    def list(self) -> builtins.list[dict[str, Any]]:
        return self._rest.get("/secrets")["secrets"]

    def grant(self, name: str, function_id: str, endpoints: builtins.list[str]) -> None:
        self._rest.put(f"{_at(name)}/functions/{segment(function_id)}", {"endpoints": endpoints})

    def revoke(self, name: str, function_id: str) -> None:
        self._rest.delete(f"{_at(name)}/functions/{segment(function_id)}")

    def delete(self, name: str) -> None:
        self._rest.delete(_at(name))


def _at(name: str) -> str:
    return f"/secrets/{segment(name)}"

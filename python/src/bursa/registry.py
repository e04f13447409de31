"""Functions that a client has registered: each body once."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any, Callable

from .containers import Container
from .errors import SerializationError, TooLarge
from .rest import Rest
from .serialize import LIMIT
from .source import dumps_function

if TYPE_CHECKING:
    from .sealed import Seals

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BODIES = 4096
"""How many bodies are remembered; an older one would be registered again."""


class Registry:
    """Registers functions; remembers their ids by the bytes of their bodies."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._ids: dict[bytes, str] = {}

    def of_function(self, function: Callable[..., Any], seals: Seals | None = None, to: bytes = b"") -> str:
        """The id of a function that may be registered already; with `seals`, only endpoint `to` reads it."""
        body = body_of(function)
        digest = hashlib.blake2b(body, digest_size=32, key=to).digest()
        known = self._ids.get(digest)
        if known is None:
            name = name_of(function)
            if seals is not None:
                name, body = "sealed", seals.function(body, to)
            known = self.register(name, body, None, None)
            if len(self._ids) >= BODIES:
                self._ids.pop(next(iter(self._ids)))
            self._ids[digest] = known
        return known

    def register(self, name: str, body: bytes, description: str | None, container: Container | None) -> str:
        """Always a new registration; its id."""
        request = {"name": name, "body": body, "description": description, "python": PYTHON}
        if container is not None:
            request["container"] = str(container)
        return self._rest.post("/functions", request)["function_id"]


def body_of(function: Callable[..., Any]) -> bytes:
    """The payload of a function. Raises SerializationError or TooLarge."""
    try:
        body = dumps_function(function)
    except SerializationError as error:
        reason = str(error.__cause__) or type(error.__cause__).__name__
        raise SerializationError(
            f"The function {name_of(function)} cannot be sent: {reason}; "
            "make such objects inside the function, not in its globals or closure."
        ) from error.__cause__
    if len(body) > LIMIT:
        raise TooLarge(
            f"The function {name_of(function)} is {len(body)} bytes with what it refers to, over the "
            f"limit of {LIMIT}; pass large data as an argument or by a file."
        )
    return body


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or type(function).__name__

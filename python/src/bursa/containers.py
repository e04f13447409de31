"""Containers: where a call runs."""

from __future__ import annotations

import uuid
from typing import Any, Union

from .errors import Invalid
from .rest import Rest, segment

RAW = "raw"
"""In place of a container's id: the endpoint's own environment, whatever the function says."""

Container = Union[str, uuid.UUID]
"""The id of a registered container, or `RAW`."""


def checked_place(container: Any) -> bytes | str:
    """What the stream says of it: 16 bytes, or `raw`. Raises Invalid."""
    if isinstance(container, str) and container.lower() in (RAW, "none"):
        return RAW
    try:
        return uuid.UUID(str(container)).bytes
    except ValueError:
        raise Invalid(
            f"container is {container!r}; give the id of a container that you registered, or bursa.RAW."
        ) from None


class Containers:
    """The registered containers of one user."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def register(self, location: str, type: str, name: str, description: str) -> str:
        request = {"type": type, "location": location, "name": name, "description": description}
        return self._rest.post("/containers", request)["container_id"]

    def list(self, search: str | None) -> list[dict[str, Any]]:
        return self._rest.pages("/containers", "containers", search=search)

    def get(self, container: Container) -> dict[str, Any]:
        return self._rest.get(f"/containers/{segment(str(container))}")

    def delete(self, container: Container) -> None:
        self._rest.delete(f"/containers/{segment(str(container))}")

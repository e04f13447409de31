"""Sharing: who else may use a function, an endpoint, a container or the results of a group of tasks."""

from __future__ import annotations

from typing import Any

from .errors import Invalid, NotFound
from .rest import Rest, segment

KINDS = ("functions", "endpoints", "containers", "task-groups")


class Sharing:
    """Shares what one user has. A thing is its kind, as REST names it, and its id."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def share(self, thing: tuple[str, str], how: dict[str, Any]) -> None:
        self._rest.post(_at(thing), how)

    def unshare(self, thing: tuple[str, str], users: list[str], groups: list[str], public: bool) -> None:
        if not users and not groups and not public:
            raise Invalid("Nobody is named who is to lose it; give users=, groups= or public=True.")
        for user in users:
            self._rest.delete(_at(thing), user=user)
        for group in groups:
            self._rest.delete(_at(thing), group=group)
        if public:
            self._rest.delete(_at(thing), public="true")

    def list(self, thing: tuple[str, str]) -> list[dict[str, Any]]:
        return self._rest.get(_at(thing))["shares"]

    def find(self, id: str) -> tuple[str, str]:
        """The kind of what has this id. Raises NotFound."""
        for kind in KINDS:
            try:
                self.list((kind, id))
            except NotFound:
                continue
            return kind, id
        raise NotFound(f"You have no function, endpoint, container or task group with the id {id}; check it.")


def _at(thing: tuple[str, str]) -> str:
    kind, id = thing
    return f"/shares/{kind}/{segment(id)}"

"""What a call needs of a node: cores, memory, GPUs, or whole nodes."""

from __future__ import annotations

import re
from numbers import Integral
from typing import Any, Mapping, Tuple, Union

from .errors import Invalid

Resources = Mapping[str, Union[int, str]]
"""Such as `{"cores": 2, "memory": "4GB", "gpus": 1}` or `{"nodes": 2, "ranks_per_node": 4}`."""

COUNTS = ("cores", "gpus", "nodes", "ranks_per_node")
MOST = 1 << 20
_MEMORY = re.compile(r"\s*[0-9]*[1-9][0-9]*\s*([MGT](I?B)?)\s*", re.IGNORECASE)


def frozen(asked: Resources | None) -> Tuple[Any, ...] | None:
    """The same as pairs, which can be looked up. Raises Invalid."""
    if asked is None:
        return None
    if not isinstance(asked, Mapping):
        raise Invalid(f"resources is {asked!r}; give a dict such as {{'cores': 2, 'memory': '4GB'}}.")
    return tuple(asked.items())


def checked_resources(pairs: Tuple[Any, ...]) -> dict[str, Any] | None:
    """What `frozen` made, as it is sent. Raises Invalid."""
    asked = {str(name): _amount(name, value) for name, value in pairs if value is not None}
    if asked.get("ranks_per_node") and not asked.get("nodes"):
        raise Invalid("resources has ranks_per_node without nodes; say on how many nodes the ranks are.")
    return asked or None


def _amount(name: Any, value: Any) -> int | str:
    if name == "memory":
        if not isinstance(value, str) or not _MEMORY.fullmatch(value):
            raise Invalid(f"resources has memory {value!r}; give a text such as '512MB' or '4GB'.")
        return value
    if name not in COUNTS:
        known = ", ".join(("memory", *COUNTS))
        raise Invalid(f"resources has {name!r}, which is no resource; use some of {known}.")
    if not isinstance(value, Integral) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise Invalid(f"resources has {name} {value!r}; give a whole number from 0 to {MOST}.")
    return int(value)


def from_specification(specification: Mapping[str, int] | None) -> Resources | None:
    """Resources of `num_nodes`, `num_ranks` and `ranks_per_node`, as Globus Compute spells them."""
    if specification is None:
        return None
    given = dict(specification)
    nodes, ranks = given.pop("num_nodes", None), given.pop("num_ranks", None)
    each = given.pop("ranks_per_node", None)
    if given:
        raise Invalid(
            f"resource_specification has {', '.join(map(repr, given))}; use some of num_nodes, num_ranks, "
            "ranks_per_node."
        )
    nodes = nodes if nodes is not None else (ranks // each if ranks and each else 1)
    each = each if each is not None else (ranks // nodes if ranks and nodes else None)
    if ranks is not None and ranks != nodes * (each or 1):
        raise Invalid(
            f"resource_specification has num_ranks {ranks}, and {nodes} nodes × {each or 1} ranks are "
            f"{nodes * (each or 1)}; give two of the three numbers, or ones that agree."
        )
    return {"nodes": nodes, **({} if each is None else {"ranks_per_node": each})}

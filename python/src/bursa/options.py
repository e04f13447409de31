"""The options of a call, checked before they are sent: a batch is refused as a whole, innocent calls too."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from .containers import checked_place
from .errors import Invalid
from .resources import checked_resources

NAMES = ("retries", "retry_on_error", "timeout", "deadline", "memoize", "container", "resources")
MOST_RETRIES = 1_000


def checked(options: tuple[Any, ...]) -> dict[str, Any]:
    """Name -> value of options in the order of `NAMES`, None for the default. Raises Invalid."""
    return {name: CHECKS[name](name, value) for name, value in zip(NAMES, options) if value is not None}


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether it is a whole number from `least` to `most`, numpy's too; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= value <= most


def _count(name: str, value: Any) -> int:
    if not is_whole(value, 0, MOST_RETRIES):
        raise Invalid(f"{name} is {value!r}; give a whole number from 0 to {MOST_RETRIES}.")
    return int(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise Invalid(f"{name} is {value!r}; give a number of seconds.")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):  # numpy's too
        raise Invalid(f"{name} is {value!r}; give True or False.")
    return bool(value)


CHECKS = {
    "retries": _count,
    "retry_on_error": _count,
    "timeout": _seconds,
    "deadline": _seconds,
    "memoize": _flag,
    "container": lambda name, value: checked_place(value),
    "resources": lambda name, value: checked_resources(value),
}

"""Functions that travel with their source: when they do, and what another Python makes of it."""

from __future__ import annotations

import math
import os.path
import xml.etree.ElementTree
from collections import OrderedDict
from types import FunctionType

import numpy as np
import pytest

from bursa import ShellFunction, source
from bursa.errors import DeserializeMismatch
from bursa.serialize import CODE
from bursa.source import HEAD, dumps_function, loads_function

CONSTANT = 3
OTHER = bytes((CODE[1], CODE[2] + 1))


def area(radius: float, scale: float = 2, *, unit: tuple[str, int] = ("m", 2)) -> object:
    """Its documentation."""
    return round(math.pi * radius * radius * scale, 3), unit


def many(x: int) -> object:
    def inner(y: int, more: int = x) -> list[int]:
        return [k + 1 for k in range(y + more)]

    tag = xml.etree.ElementTree.Element("a").tag
    return inner(x), OrderedDict(a=1), os.path.join("a", "b"), np.arange(3).tolist(), tag


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def with_constant(x: int) -> int:
    return CONSTANT + x


def with_array(x: int, weights: object = object()) -> object:
    return x, weights


def nested() -> tuple[FunctionType, FunctionType]:
    k = 1

    def free(x: int) -> int:
        return x + 1

    def bound(x: int) -> int:
        return x + k

    return free, bound  # type: ignore[return-value]


def elsewhere(body: bytes) -> bytes:
    """The body as if another minor had written it."""
    return body.replace(CODE, b"c" + OTHER, 1) if not body.startswith(HEAD) else _pickled_by_another(body)


def _pickled_by_another(body: bytes) -> bytes:
    at = 7 + int.from_bytes(body[3:7], "little")
    assert body[at : at + 3] == CODE
    return body[:at] + b"c" + OTHER + b"this would crash"


@pytest.mark.parametrize("function", [area, many, factorial, nested()[0]])
def test_another_python_runs_what_is_self_contained(function: FunctionType) -> None:
    body = dumps_function(function)
    assert loads_function(body)(3) == function(3)
    again = loads_function(elsewhere(body))
    assert again(3) == function(3)
    assert again.__doc__ == function.__doc__


def test_the_statement_around_a_lambda_does_not_travel() -> None:
    assert not dumps_function(lambda x: x + 1).startswith(HEAD)


def test_defaults_are_those_of_the_function_not_of_its_text() -> None:
    def scaled(x: int, by: int = CONSTANT, *, plus: int = CONSTANT) -> int:
        return x * by + plus

    assert loads_function(elsewhere(dumps_function(scaled)))(2) == 9


@pytest.mark.parametrize("function", [with_constant, with_array, nested()[1], lambda x: x], ids=str)
def test_what_its_text_does_not_tell_is_refused_elsewhere_before_it_runs(function: FunctionType) -> None:
    with pytest.raises(DeserializeMismatch) as caught:
        loads_function(elsewhere(dumps_function(function)))
    assert caught.value.theirs == (CODE[1], CODE[2] + 1)


def test_a_text_that_has_changed_since_does_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dumps_function(area).startswith(HEAD)
    changed = "def area(radius, scale=2, *, unit=None):\n    return 0\n"
    monkeypatch.setattr("inspect.getsource", lambda _: changed)
    monkeypatch.setattr(source, "_known", {})
    assert not dumps_function(area).startswith(HEAD)


def test_a_shell_function_runs_on_any_python() -> None:
    function = ShellFunction("echo {x}", walltime=3, snippet_lines=7)
    again = loads_function(elsewhere(dumps_function(function)))
    assert again(x=1) == function(x=1)
    assert (again.walltime, again.snippet_lines) == (3, 7)  # type: ignore[attr-defined]

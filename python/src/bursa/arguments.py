"""Words of a command line as the arguments of a function, by its signature and annotations."""

from __future__ import annotations

import inspect
import json
import typing
from typing import Any, Callable, Union

_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


class Usage(Exception):
    """The words do not fit; one sentence that says how."""


def bind(function: Callable[..., Any], words: list[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`(args, kwargs)` of positional words and `--name value`, `--name=value` pairs. Raises Usage."""
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # an annotation that names something missing: words stay text
        hints = {}
    positional, named = _split(words, signature, hints)
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        raise Usage(f"{error} for {_shown(function, signature)}.") from None
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            bound.arguments[name] = tuple(convert(name, each, hints.get(name)) for each in value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            bound.arguments[name] = {key: convert(key, each, hints.get(name)) for key, each in value.items()}
        else:
            hint = hints.get(name, _type_of_default(parameter))
            bound.arguments[name] = convert(name, value, hint)
    return bound.args, bound.kwargs


def _split(
    words: list[str], signature: inspect.Signature, hints: dict[str, Any]
) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word == "--":
            positional += rest
        elif word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if not has_value:
                value = _value(name, rest, signature, hints)
            named[name] = value
        else:  # also -1, which is a number
            positional.append(word)
    return positional, named


def _value(name: str, rest: typing.Iterator[str], signature: inspect.Signature, hints: dict[str, Any]) -> str:
    """The word behind `--name`; a bool alone at the end is true."""
    value = next(rest, None)
    if value is not None:
        return value
    parameter = signature.parameters.get(name)
    if hints.get(name) is bool or (parameter is not None and isinstance(parameter.default, bool)):
        return "true"
    raise Usage(f"--{name} has no value; write --{name} VALUE.")


def _type_of_default(parameter: inspect.Parameter) -> Any:
    """An unannotated `x=1` may get 2.5; a text, list or bool is meant as such."""
    return type(parameter.default) if type(parameter.default) in (bool, str, list, dict) else None


def convert(name: str, word: str, hint: Any) -> Any:
    """A word as `hint` says; without one: JSON if it is a number, true, false or null, else text."""
    origin = typing.get_origin(hint)
    if origin is Union or type(hint).__name__ == "UnionType":
        return _one_of(name, word, typing.get_args(hint))
    kind = origin or hint
    try:
        if kind is bool:
            return _bool(word)
        if kind in (int, float):
            return kind(word)
        if kind in (list, dict, tuple, set):
            return kind(_json(word, list if kind in (tuple, set) else kind))
    except ValueError:
        raise Usage(f"the argument {name} is {word!r}, which is no {kind.__name__}; correct it.") from None
    return word if kind is str else _plain(word)


def _one_of(name: str, word: str, hints: tuple[Any, ...]) -> Any:
    if type(None) in hints and word.lower() in ("none", "null"):
        return None
    rest = [hint for hint in hints if hint is not type(None)]
    for hint in sorted(rest, key=lambda each: each is str):  # text fits always, so it comes last
        try:
            return convert(name, word, hint)
        except Usage:
            continue
    names = " or ".join(getattr(hint, "__name__", str(hint)) for hint in rest)
    raise Usage(f"the argument {name} is {word!r}, which is no {names}; correct it.")


def _bool(word: str) -> bool:
    if word.lower() in _TRUE:
        return True
    if word.lower() in _FALSE:
        return False
    raise ValueError(word)


def _json(word: str, kind: type) -> Any:
    value = json.loads(word)
    if not isinstance(value, kind):
        raise ValueError(word)
    return value


def _plain(word: str) -> Any:
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return word if isinstance(value, str) else value


def _shown(function: Callable[..., Any], signature: inspect.Signature) -> str:
    return f"{getattr(function, '__name__', 'the function')}{signature}"

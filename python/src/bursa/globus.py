"""Functions, arguments and results as funcX and Globus Compute clients write them: text.

    buffer    two characters, a newline, what that serializer made of a value
    packed    for each buffer its count of characters, a newline, the buffer

The two characters name the serializer: `00` and `01` are dill's bytes in base64, `11` is JSON, `st` and `sd`
are source; the others hold several. A payload of this dialect begins with `g` (docs/protocol.md §1). dill is
imported when something needs it: the endpoint's own, or else the one that comes with Bursa.
"""

from __future__ import annotations

import base64
import importlib
import json
import pickle
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from . import _vendor
from .errors import DeserializeMismatch, SerializationError
from .serialize import GLOBUS, PLAIN, Written, dumps

_DATA = "globus_compute_sdk.serialize.concretes."


class Call(NamedTuple):
    """Arguments of one call."""

    args: Sequence[Any]
    kwargs: dict[str, Any]
    serializers: list[str]
    """Import paths of what the client wants its result written with, the first that can."""


def loads_function(body: bytes) -> Callable[..., Any]:
    """The function of a body.

    Raises DeserializeMismatch, before anything is unpickled, for code of another minor without its source.
    """
    made_by, here = tuple(body[1:3]), sys.version_info[:2]
    foreign = made_by != (0, 0) and made_by != here
    (code,) = _unpacked(body[3:].decode())
    function = _loads_code(code, foreign)
    if function is None:
        raise DeserializeMismatch(made_by, here)
    return function


def loads_call(rest: bytes | memoryview) -> Call:
    """The arguments in what follows the header of a payload."""
    view = memoryview(rest)
    text = 4 + int.from_bytes(view[:4], "little")
    beside = json.loads(bytes(view[4:text])) if text > 4 else {}
    args, kwargs = (_loads(buffer) for buffer in _unpacked(bytes(view[text:]).decode()))
    return Call(args, kwargs, beside.get("result_serializers", []))


def run(function: Callable[..., Any], call: Call) -> Written:
    """Calls, and writes the result for the client."""
    return dumps_result(function(*call.args, **call.kwargs), call.serializers)


def dumps_result(value: Any, serializers: list[str]) -> Written:
    """The value, by the first of these serializers (import paths) that can. Raises SerializationError."""
    failures = []
    for path in serializers or [_DATA + "DillDataBase64"]:
        name = path.rpartition(".")[2]
        write = _WRITERS.get(name)
        if write is None:
            failures.append(f"{name} is not known here; known are {', '.join(sorted(_WRITERS))}")
            continue
        try:
            return Written(GLOBUS + write(value).encode())
        except Exception as error:  # the user's __reduce__ may do anything
            failures.append(f"{name}: {error or type(error).__name__}")
    raise SerializationError(
        f"A value of type {type(value).__name__} cannot be serialized ({'; '.join(failures)}); "
        "return plain data instead."
    )


def _unpacked(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        newline = text.index("\n", at)
        at, end = newline + 1, newline + 1 + int(text[at:newline])
        yield text[at:end]
        at = end


def _packed(buffers: Sequence[str]) -> str:
    return "".join(f"{len(buffer)}\n{buffer}" for buffer in buffers)


def _split(buffer: str) -> tuple[str, str]:
    kind, newline, rest = buffer[:2], buffer[2:3], buffer[3:]
    if newline != "\n":
        raise SerializationError(
            f"This payload begins with {buffer[:3]!r}, which names no serializer of Globus Compute; "
            "submit it again with its SDK's own serializers."
        )
    return kind, rest


def _loads(buffer: str) -> Any:
    """One value."""
    kind, rest = _split(buffer)
    if kind == "11":
        return json.loads(rest)
    if kind == "13":
        return _first(_loads, _unpacked(rest))
    if kind == "00":
        return _undill(rest)
    function = _loads_code(buffer, foreign=False)
    if function is None:
        raise _unknown(kind)
    return function


def _loads_code(buffer: str, foreign: bool) -> Callable[..., Any] | None:
    """The function of one buffer; None: it holds only code of another Python minor."""
    kind, rest = _split(buffer)
    load = partial(_loads_code, foreign=foreign)
    if kind in ("st", "sd"):
        name, _, source = rest.partition(":")
        return _from_source(name, source)
    if kind in ("03", "04"):
        return _from_source(*_undill(rest))
    if kind == "10":
        parts = rest.split(":")
        return _first(load, (head + body for head, body in zip(parts[::2], parts[1::2])))
    if kind == "12":
        return _first(load, _unpacked(rest))
    if kind in ("01", "02"):
        return None if foreign else _undill(rest)
    raise _unknown(kind)


def _first(load: Callable[[str], Any], buffers: Iterator[str]) -> Any:
    """The value of the first buffer that loads; None if all there are would need another Python."""
    failure: Exception | None = None
    for buffer in buffers:
        try:
            value = load(buffer)
        except Exception as error:  # code of the user's modules runs here
            failure = error
        else:
            if value is not None:
                return value
    if failure is not None:
        raise failure
    return None


def _unknown(kind: str) -> SerializationError:
    return SerializationError(
        f"This endpoint does not know the serializer {kind!r} of Globus Compute; "
        "use one of 00 01 02 03 04 10 11 12 13 st sd."
    )


def _from_source(name: str, source: str) -> Callable[..., Any]:
    variables: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, f"<source of {name}>", "exec"), variables)
    return variables[name]


def _undill(text: str) -> Any:
    data = base64.b64decode(text)
    if any(word in data for word in (b"dill", b"__main__", b"__builtin__")):
        return dill().loads(data)
    return pickle.loads(data)


def _dill_text(value: Any) -> str:
    plain = dumps(value, carry=False) if not callable(value) else b""
    data = plain[3:] if plain.startswith(PLAIN) else dill().dumps(value)
    return base64.encodebytes(data).decode()


def _write_dill(value: Any) -> str:
    return f"{'01' if callable(value) else '00'}\n{_dill_text(value)}"


def _write_json(value: Any) -> str:
    return f"11\n{json.dumps(value)}"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "DillDataBase64": _write_dill,
    "DillCode": _write_dill,
    "JSONData": _write_json,
    "AllDataStrategies": lambda value: "13\n" + _packed([_write_json(value), _write_dill(value)]),
}


def dill() -> Any:
    """The endpoint's dill, or the bundled one under the same name: pickles name it."""
    if "dill" not in sys.modules:
        bundled = str(Path(_vendor.__file__).parent)
        sys.path.append(bundled)
        try:
            importlib.import_module("dill")
        finally:
            sys.path.remove(bundled)
    return sys.modules["dill"]

"""Secrets of a call: in the environment while it runs, and nowhere in what is told of how it failed."""

from __future__ import annotations

import os
import struct
from typing import Any, Dict, List, Tuple

MARK = b"e\0\0"
"""Begins the arguments of a call with secrets: `u32` length, `NAME=VALUE` and a zero byte for each, then the
payload of the arguments. The executor puts it there."""

LEAST, LINE = 4, 8
"""A shorter value, or line of a value, is not masked: it would be found everywhere."""

MOST = 1 << 19
"""Bytes that are masked; the oldest values make room."""

_LENGTH = struct.Struct("<I")
_environ, _unsetenv = os.environb, os.unsetenv
_hidden: Dict[bytes, None] = {}
"""Of all calls so far: a later one may show what an earlier one left somewhere. The newest last."""

_by_length: List[bytes] = []


class Lent:
    """Puts these into the environment, and puts back what was there, whatever the call did to it."""

    def __init__(self, block: bytes) -> None:
        entries = block.split(b"\0")[:-1]
        self._values = {name: value for name, _, value in (entry.partition(b"=") for entry in entries)}
        self._before: Dict[bytes, Any] = {}

    def __enter__(self) -> None:
        _hide(list(self._values.values()))
        self._before = {name: _environ.get(name) for name in self._values}
        _environ.update(self._values)

    def __exit__(self, *_: object) -> None:
        for name, before in self._before.items():
            if before is None:
                _environ.pop(name, None)
                _unsetenv(name)  # what was set without `os.environ` is not in there
            else:
                _environ[name] = before


def lent(rest: bytes | memoryview) -> Tuple[Lent, bytes, bytes | memoryview]:
    """What follows MARK: the secrets, and the head and the rest of the arguments' payload."""
    (size,) = _LENGTH.unpack_from(rest)
    begin = _LENGTH.size + size
    if begin > len(rest):
        raise ValueError(f"there are {size} bytes of secrets, and the arguments have {len(rest)}")
    return Lent(bytes(rest[_LENGTH.size : begin])), bytes(rest[begin : begin + 3]), rest[begin + 3 :]


def _hide(values: List[bytes]) -> None:
    for value in values:
        for part, least in [(value, LEAST), *((line.strip(), LINE) for line in value.split(b"\n"))]:
            if len(part) >= least:
                _hidden.pop(part, None)
                _hidden[part] = None
    while sum(map(len, _hidden)) > MOST:
        del _hidden[next(iter(_hidden))]
    _by_length[:] = sorted(_hidden, key=len, reverse=True)


def masked(data: bytes) -> bytes:
    """`data` with `***` for each value."""
    for value in _by_length:
        data = data.replace(value, b"***")
    return data


def shows(data: bytes) -> bool:
    """Whether a value is in `data`."""
    return any(value in data for value in _by_length)

"""Task ids: UUIDv7 as 16 raw bytes inside the client, as text only where people see them."""

from __future__ import annotations

import itertools
import os
import struct
import uuid
from time import time_ns

from .errors import Invalid

_pack = struct.Struct(">QQ").pack
_LOW_62 = (1 << 62) - 1
_VARIANT = 1 << 63


def _seed() -> None:
    """Random start for this process; a fork needs its own."""
    global _count, _version_bits
    random = os.urandom(10)
    _count = itertools.count(int.from_bytes(random[:8], "big"))
    _version_bits = 0x7000 | (int.from_bytes(random[8:], "big") & 0x0FFF)


_count: itertools.count[int]
_version_bits: int
_seed()
os.register_at_fork(after_in_child=_seed)


def new_id() -> bytes:
    """A fresh UUIDv7, 16 bytes: milliseconds, then random bits that count up within this process."""
    return _pack(time_ns() // 1_000_000 << 16 | _version_bits, _VARIANT | next(_count) & _LOW_62)


def to_text(raw: bytes) -> str:
    """Lower-case text with dashes."""
    return str(uuid.UUID(bytes=raw))


def to_raw(text: str | uuid.UUID, what: str) -> bytes:
    """16 bytes of an id given as text. `what` names it in the error."""
    try:
        return uuid.UUID(str(text)).bytes
    except ValueError:
        raise Invalid(
            f"{text!r} is no {what} id, since ids are UUIDs; copy it from where it was printed."
        ) from None

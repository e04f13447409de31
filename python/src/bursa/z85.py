"""Keys as text: Z85 (ZeroMQ's RFC 32), 32 bytes as 40 characters."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def encoded(key: bytes) -> str:
    text = ""
    for start in range(0, len(key), 4):
        value = int.from_bytes(key[start : start + 4], "big")
        text += "".join(_ALPHABET[value // 85**power % 85] for power in (4, 3, 2, 1, 0))
    return text


def decoded(text: str) -> bytes:
    """Raises ValueError for what is not the text of a key."""
    if len(text) != 40 or not all(character in _VALUES for character in text):
        raise ValueError("a key is 40 characters of Z85")
    key = b""
    for start in range(0, 40, 5):
        value = 0
        for character in text[start : start + 5]:
            value = value * 85 + _VALUES[character]
        if value >= 1 << 32:
            raise ValueError("a key is 40 characters of Z85")
        key += value.to_bytes(4, "big")
    return key

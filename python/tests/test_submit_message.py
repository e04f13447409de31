"""A submit message is the same msgpack whether its large arguments are copied into it or not."""

from __future__ import annotations

import msgpack
import pytest

from bursa.stream import PART, Route, _packed


@pytest.mark.parametrize("sizes", [[3], [PART], [3, PART + 1, 5, 3 * PART, 0], [PART - 1, PART, PART]])
def test_large_arguments_are_parts_of_the_message(sizes: list[int]) -> None:
    args = [bytes([index]) * size for index, size in enumerate(sizes)]
    ids = [bytes([index]) * 16 for index in range(len(args))]
    routes = [Route(b"f" * 16, b"e" * 16, retries=2), Route(b"g" * 16, b"e" * 16)]
    parts = _packed(7, b"n" * 16, {routes[0]: (ids, args), routes[1]: ([b"z" * 16], [b"small"])})
    calls = [
        {**routes[0].fields, "tasks": b"".join(ids), "args": args},
        {**routes[1].fields, "tasks": b"z" * 16, "args": [b"small"]},
    ]
    expected = msgpack.packb({"type": "submit", "id": 7, "group": b"n" * 16, "calls": calls})
    assert b"".join(parts) == expected
    assert all(any(part is arg for part in parts) for arg in args if len(arg) >= PART)

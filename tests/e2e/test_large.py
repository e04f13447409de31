"""Large payloads, with the second connection that they take and without it."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import bursa
import pytest
from conftest import running


def echo(data: bytes) -> bytes:
    return data


def bulk_connections(url: str, token: str) -> int:
    """How many endpoints have made one, by the service's own count."""
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("bursa_link_bulk_made_total"))


@pytest.mark.parametrize("port", ["0", "none"])
def test_large_payloads_come_back_as_they_went(tmp_path: Path, port: str) -> None:
    with (
        running(tmp_path / "home", BURSA_BULK=port, BURSA_ENDPOINT_BULK=port) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        sizes = [100, 40_000, 200_000, 1 << 20, (1 << 20) + 1, 5 << 20, 3]
        sent = [os.urandom(size) for size in sizes * 3]
        results = [client.run(echo, data) for data in sent]
        assert [result.result(60) for result in results] == sent
        huge = os.urandom(40 << 20)
        assert client.run(echo, huge).result(120) == huge
        assert bulk_connections(stack.url, stack.token) == (1 if port == "0" else 0)

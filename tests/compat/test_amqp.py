"""Results by AMQP: what a client of theirs is given, and what a hostile one does."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import urllib.request
from urllib.parse import urlsplit

import pytest
from conftest import Clients, e2e

GREETING = b"AMQP\0\0\x09\x01"


@pytest.mark.parametrize("clients", ["sdk-4"], indirect=True)
def test_queues(clients: Clients) -> None:
    heard = {name: value for line in clients.run("amqp.py") for name, value in line.items()}
    assert heard == {
        "all": True,
        "again": True,
        "only_new": True,
        "both": True,
        "refused_once": True,
        "unknown": 404,
        "declare": 540,
        "wrong_password": "ProbableAuthenticationError",
    }


def address(stack: e2e.Stack) -> tuple[str, int]:
    request = urllib.request.Request(
        f"{stack.url}/v2/get_amqp_result_connection_url", headers={"Authorization": f"Bearer {stack.token}"}
    )
    with urllib.request.urlopen(request) as answer:
        url = urlsplit(json.load(answer)["connection_url"])
    return url.hostname, url.port


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"AMQP\0\0\x09\x01" + b"\xff" * 64,
        GREETING + struct.pack(">BHI", 1, 0, 0x7FFFFFFF),
        GREETING + frame(1, 0, b"\0\x0a\0\x28" + b"\0" * 8),
        GREETING + frame(3, 1, b"body"),
        GREETING + frame(1, 0, b"\0\x0a\0\x0b" + b"\xff" * 40),
    ],
    ids=["http", "noise", "huge", "early", "body", "table"],
)
def test_a_hostile_client_loses_its_connection_and_nothing_else(stack: e2e.Stack, sent: bytes) -> None:
    with socket.create_connection(address(stack), timeout=20) as hostile:
        hostile.sendall(sent)
        with contextlib.suppress(ConnectionResetError):  # with what it sent unread, the system says so
            while hostile.recv(65536):
                pass
    urllib.request.urlopen(f"{stack.url}/api/v1/health", timeout=10).close()


def test_another_version_is_told_which_is_spoken_here(stack: e2e.Stack) -> None:
    with socket.create_connection(address(stack), timeout=20) as client:
        client.sendall(b"AMQP\x03\x01\0\0")
        assert client.recv(8) == GREETING


def rest(stack: e2e.Stack, method: str, path: str, token: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(stack.url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or "null")


def answer_to(url: str) -> int:
    """What the service says to these credentials: the number of the method of class 10."""
    parts = urlsplit(url)
    response = b"\0" + parts.username.encode() + b"\0" + parts.password.encode()
    start_ok = b"\0\x0a\0\x0b" + struct.pack(">I", 0) + b"\x05PLAIN"
    start_ok += struct.pack(">I", len(response)) + response + b"\x05en_US"
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(GREETING)
        heard = client.makefile("rb")
        for said in (b"", frame(1, 0, start_ok)):
            client.sendall(said)
            _, _, size = struct.unpack(">BHI", heard.read(7))
            payload = heard.read(size + 1)
        return struct.unpack(">HH", payload[:4])[1]


def test_a_password_ends_with_the_token_it_was_minted_for(stack: e2e.Stack) -> None:
    made = rest(stack, "POST", "/api/v1/tokens", stack.token, {"name": "for AMQP"})
    url = rest(stack, "GET", "/v2/get_amqp_result_connection_url", made["token"])["connection_url"]
    tune, close = 30, 50
    assert answer_to(url) == tune
    rest(stack, "DELETE", f"/api/v1/tokens/{made['id']}", stack.token)
    assert answer_to(url) == close

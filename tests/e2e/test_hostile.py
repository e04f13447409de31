"""Bytes that nobody should send: the service answers or hangs up, and goes on."""

from __future__ import annotations

import json
import os
import socket
import struct
import uuid
from contextlib import suppress
from pathlib import Path

import bursa
import msgpack
import pytest
from bursa.websocket import WebSocket
from conftest import Stack, with_role

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
HOSTILE_ZMTP = {
    "noise": os.urandom(4096),
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "greeting-only": GREETING + b"CURVE".ljust(20, b"\0") + bytes(32),
    "no-security": GREETING
    + b"NULL".ljust(20, b"\0")
    + bytes(32)
    + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\6DEALER",
    "huge-command": GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\x06" + struct.pack(">Q", 1 << 62),
    "noise-after-greeting": GREETING
    + b"CURVE".ljust(20, b"\0")
    + bytes(32)
    + b"\x04\xc8\x05HELLO"
    + os.urandom(194),
}
HOSTILE_HTTP = {
    "noise": os.urandom(4096),
    "endless-header": b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20),
    "many-headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
    "body-without-end": b"POST /api/v1/tasks HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"
    + b"x" * (1 << 20),
    "bad-chunks": b"POST /api/v1/tasks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
}
HOSTILE_MESSAGES = {
    "no-msgpack": b"\xc1" * 100,
    "empty": b"",
    "a-list-of-4-billion": b"\xdd\xff\xff\xff\xff",
    "a-map-of-4-billion": b"\xdf\xff\xff\xff\xff",
    "bytes-of-4-billion": b"\x81\xa4type\xc6\xff\xff\xff\xff",
    "groups-of-4-billion": b"\x82\xa4type\xa9subscribe\xa6groups\xdd\xff\xff\xff\xff",
    "args-of-4-billion": b"\x82\xa4type\xa6submit\xa5calls\xdd\xff\xff\xff\xff",
    "very-deep": b"\x91" * 1_000_000,
    "unknown": msgpack.packb({"type": "nothing"}),
    "short-id": msgpack.packb({"type": "subscribe", "groups": [b"x"]}),
    "half-a-task": msgpack.packb(
        {
            "type": "submit",
            "id": 1,
            "group": bytes(16),
            "calls": [{"function": bytes(16), "tasks": b"x" * 17}],
        }
    ),
}


@pytest.fixture
def survives(stack: Stack):
    """The test leaves the same service, and it works."""
    before = with_role(stack.pid, "service")
    yield
    assert with_role(stack.pid, "service") == before
    with bursa.Client(stack.url, stack.token) as client:
        assert client.run(len, [1]).result(30) == 1


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition("//")[2].partition(":")
    return host, int(port)


def zmq_address(stack: Stack) -> tuple[str, int]:
    endpoint = json.loads((Path(stack.home) / "endpoints/local/endpoint.json").read_text())
    return address(endpoint["zmq"])


def throw(where: tuple[str, int], data: bytes) -> None:
    """Sends it, and waits for an answer or a hang-up for a moment."""
    with socket.create_connection(where, timeout=2) as connection, suppress(OSError):
        connection.sendall(data)
        connection.recv(1024)


@pytest.mark.parametrize("name", HOSTILE_ZMTP)
def test_hostile_bytes_on_the_endpoint_port(stack: Stack, survives: None, name: str) -> None:
    throw(zmq_address(stack), HOSTILE_ZMTP[name])


@pytest.mark.parametrize("name", HOSTILE_HTTP)
def test_hostile_bytes_on_the_http_port(stack: Stack, survives: None, name: str) -> None:
    throw(address(stack.url), HOSTILE_HTTP[name])


def test_many_connections_that_say_nothing(stack: Stack, survives: None) -> None:
    for where in (zmq_address(stack), address(stack.url)):
        idle = [socket.create_connection(where) for _ in range(200)]
        with bursa.Client(stack.url, stack.token) as client:
            assert client.run(len, [1]).result(30) == 1
        for connection in idle:
            connection.close()


def stream(stack: Stack) -> WebSocket:
    socket = WebSocket(f"{stack.url}/api/v1/stream", stack.token)
    assert receive(socket)["type"] == "welcome"
    return socket


def receive(socket: WebSocket) -> dict:
    while True:
        data = socket.receive()
        if data is not None:
            return msgpack.unpackb(data, strict_map_key=False)


@pytest.mark.parametrize("name", HOSTILE_MESSAGES)
def test_a_message_that_makes_no_sense_gets_an_error(stack: Stack, survives: None, name: str) -> None:
    socket = stream(stack)
    socket.send(HOSTILE_MESSAGES[name])
    assert receive(socket)["type"] == "error"
    socket.close()


@pytest.mark.parametrize("head", [b"\x82\xff" + struct.pack(">Q", 1 << 62), b"\x8f\x80", b"\x82\x7f"])
def test_a_frame_that_is_none_ends_the_stream(stack: Stack, survives: None, head: bytes) -> None:
    socket = stream(stack)
    socket._sock.sendall(head + bytes(64))
    with pytest.raises(OSError):
        while True:
            receive(socket)


def test_ten_thousand_subscribes(stack: Stack, survives: None) -> None:
    socket = stream(stack)
    for _ in range(10_000):
        group = uuid.uuid4().bytes
        socket.send(msgpack.packb({"type": "subscribe", "groups": [group], "cursor": 0}))
    socket.send(msgpack.packb({"type": "nothing"}))
    while receive(socket)["type"] != "error":
        pass
    socket.close()


def test_a_stream_that_is_never_read_harms_nobody(stack: Stack, survives: None) -> None:
    socket = stream(stack)
    with bursa.Client(stack.url, stack.token) as client:
        group = uuid.UUID(client.group_id).bytes
        socket.send(msgpack.packb({"type": "subscribe", "groups": [group], "cursor": 0}))
        futures = [client.run(bytes, 1_000_000) for _ in range(40)]
        assert all(len(future.result(60)) == 1_000_000 for future in futures)
        assert client.run(len, [1]).result(30) == 1
    socket.close()

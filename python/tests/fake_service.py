"""A tiny service on loopback, port 0: the REST routes and the stream that the client uses; for the tests.

It runs the functions itself, at once, in the thread of the connection. Tests change how it answers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import uuid
from typing import Any, Callable, Iterator

import msgpack

from bursa.worker import frames
from bursa.worker.calls import Functions, Runner

TOKEN = "secret"
ENDPOINT = "11111111-1111-7111-8111-111111111111"


class FakeService:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.functions: dict[bytes, bytes] = {}
        self.shares: dict[str, Any] = {}
        self._loaded = Functions()
        self._runner = Runner(self._loaded)
        self.endpoints = [{"endpoint_id": ENDPOINT, "name": "local"}]
        self.tasks: dict[bytes, dict[str, Any]] = {}
        self.memo: dict[tuple[bytes, bytes], bytes] = {}  # by body and arguments
        self.sequence = 0
        self.connections = 0
        self.busy = 0  # requests that are told to come again
        self.received: list[dict[str, Any]] = []  # every stream message
        self.sent: list[dict[str, Any]] = []  # all results, for who subscribes
        self.ending = threading.Lock()  # held from an acceptance to its results
        self.requests: list[tuple[str, str, Any]] = []
        self.on_submit: Callable[[Stream, dict[str, Any]], bool] = lambda stream, message: False
        self.run: Callable[[bytes, bytes], tuple[int, bytes, dict | None]] = self.call
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def call(self, function: bytes, args: bytes) -> tuple[int, bytes, dict | None]:
        """(state, payload, failure) of one call, run here."""
        self._loaded.add(function, self.functions[function])
        outcome, *_, sections = self._runner.run(function, args[:3], args[3:], 0)
        if outcome == frames.LARGE:
            return 0, b"".join(sections), None
        payload, name, message, traceback = sections
        if outcome == frames.SUCCESS:
            return 0, payload, None
        code = "user-error" if outcome == frames.USER_ERROR else "load-failed"
        failure = {"code": code, "message": message.decode(), "class": name.decode()}
        return 1, payload, {**failure, "traceback": f"Traceback (remote)\n{traceback.decode()}"}

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        with contextlib.suppress(OSError, EOFError), sock:
            file = sock.makefile("rb")
            while (first := file.readline()) not in (b"", b"\r\n"):
                method, path, _ = first.decode().split()
                headers = {}
                while line := file.readline().decode().strip():
                    name, value = line.split(": ", 1)
                    headers[name.lower()] = value
                if path == "/api/v1/stream":
                    return self._stream(sock, file, headers)
                body = file.read(int(headers.get("content-length", 0)))
                self._answer(
                    sock, method, path.removeprefix("/api/v1"), headers, json.loads(body) if body else None
                )
        self._open.discard(sock)

    def _answer(self, sock: socket.socket, method: str, path: str, headers: dict, body: Any) -> None:
        self.requests.append((method, path, body))
        status, value = self._route(method, path, body)
        if headers.get("authorization") != f"Bearer {TOKEN}":
            status, value = 401, error("unauthorized", "The token is wrong.")
        if self.busy:
            self.busy -= 1
            status, value = 429, error("busy", "Too often.")
            value["error"]["retry_after"] = 0.01
        data = json.dumps(value).encode()
        sock.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)

    def _route(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        name, _, rest = path.lstrip("/").partition("/")
        if (method, path) == ("POST", "/functions"):
            made = uuid.uuid4()
            self.functions[made.bytes] = base64.b64decode(body["body"])
            return 201, {"function_id": str(made), "hash": ""}
        if name == "shares":
            if method == "POST":
                self.shares[rest] = body
            known = rest.removeprefix("functions/") in {str(uuid.UUID(bytes=raw)) for raw in self.functions}
            return (200, {"shares": []}) if known else (404, error("not-found", "There is none."))
        if (method, path) == ("GET", "/endpoints"):
            return 200, {"endpoints": self.endpoints, "next": None}
        if (method, path) == ("POST", "/tasks/cancel"):
            return 200, {"tasks": [{"task_id": task, "state": "cancelled"} for task in body["task_ids"]]}
        if (method, path) == ("POST", "/tasks/get"):
            return 200, {"tasks": [self._task(task) for task in body["task_ids"]]}
        if method == "GET" and name == "tasks":
            task = rest.partition("?")[0]
            if uuid.UUID(task).bytes not in self.tasks:
                return 404, error("not-found", f"There is no task {task}.")
            return 200, self._task(task)
        return 404, error("not-found", f"There is no {path}.")

    def _task(self, task: str) -> dict[str, Any]:
        return {"task_id": task, **self.tasks.get(uuid.UUID(task).bytes, {"state": "running"})}

    def _stream(self, sock: socket.socket, file: Any, headers: dict[str, str]) -> None:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            data = json.dumps(error("unauthorized", "The token is wrong.")).encode()
            sock.sendall(b"HTTP/1.1 401 X\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            return
        self.connections += 1
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        proof = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        sock.sendall(
            f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n".encode()
        )
        stream = Stream(self, sock, file)
        stream.send({"type": "welcome", "cursor": self.sequence})
        while True:
            message = stream.receive()
            self.received.append(message)
            if message["type"] == "subscribe":
                with self.ending:
                    missed = [sent for sent in self.sent if sent["cursor"] > message["cursor"]]
                for results in missed:
                    stream.send(results)
            if message["type"] != "submit":
                continue
            for call in message["calls"]:
                for start in range(0, len(call["tasks"]), 16):
                    self.tasks[call["tasks"][start : start + 16]] = {"state": "running"}
            if not self.on_submit(stream, message):
                stream.accept(message)


class Stream:
    """The service's end of one WebSocket."""

    def __init__(self, service: FakeService, sock: socket.socket, file: Any) -> None:
        self.service, self.sock, self._file = service, sock, file

    def send(self, message: dict[str, Any]) -> None:
        self.frame(0x2, msgpack.packb(message))

    def frame(self, opcode: int, data: bytes, final: bool = True) -> None:
        head = bytes([(0x80 if final else 0) | opcode])
        size = len(data)
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += struct.pack(">BH", 126, size)
        else:
            head += struct.pack(">BQ", 127, size)
        self.sock.sendall(head + data)

    def receive(self) -> dict[str, Any]:
        while True:
            head = self._exactly(2)
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
            assert head[1] & 0x80, "client frames are masked"
            assert self._exactly(4) == b"\0\0\0\0"
            data = self._exactly(size)
            if head[0] & 0x0F == 0x2:
                return msgpack.unpackb(data)
            self.service.received.append({"type": "control", "opcode": head[0] & 0x0F, "data": data})

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def accept(self, message: dict[str, Any], results_first: bool = False) -> None:
        accepted = {"type": "accepted", "id": message["id"]}
        with self.service.ending:
            if not results_first:
                self.send(accepted)
            ends = [self.results(call) for call in message["calls"]]
            self.service.sent += ends
        for end in ends:
            self.send(end)
        if results_first:
            self.send(accepted)

    def results(self, call: dict[str, Any]) -> dict[str, Any]:
        memoize = bool(call.get("memoize"))
        ends, memo = [], []
        for args in call["args"]:
            key = (self.service.functions.get(call["function"], b""), args)
            known = self.service.memo.get(key) if memoize else None
            ends.append(self.service.run(call["function"], args) if known is None else (0, known, None))
            memo.append(2 if known is not None else int(memoize and ends[-1][0] == 0))
            if memo[-1] == 1:
                self.service.memo[key] = ends[-1][1]
        for index, (state, payload, failure) in enumerate(ends):
            task = {"state": ("success", "failed", "cancelled")[state]}
            task["exception" if state else "result"] = base64.b64encode(payload).decode()
            if failure:
                task["failure"] = failure
            self.service.tasks[call["tasks"][16 * index : 16 * index + 16]] = task
        self.service.sequence += len(ends)
        return {
            "type": "results",
            "cursor": self.service.sequence,
            "tasks": call["tasks"],
            "states": bytes(state for state, _, _ in ends),
            "payloads": [payload for _, payload, _ in ends],
            "failures": {index: failure for index, (_, _, failure) in enumerate(ends) if failure},
            "outputs": {},
            **({"memo": bytes(memo)} if any(memo) else {}),
        }


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextlib.contextmanager
def fake_service() -> Iterator[FakeService]:
    service = FakeService()
    try:
        yield service
    finally:
        service.close()

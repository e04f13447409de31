"""What a service told its clients, read from the bytes that it sent, and whether a store holds it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack
from recording import Event, Kind

STATES = {0: "success", 1: "failed", 2: "cancelled"}
_STORED = {1: "success", 2: "failed", 3: "cancelled"}


@dataclass(frozen=True)
class Promise:
    """Said at event `at`: these tasks are accepted (`state` is None), or this one has ended."""

    at: int
    tasks: tuple[bytes, ...]
    state: str | None
    result: bytes | None = None


@dataclass
class Held:
    """What a store holds."""

    states: dict[bytes, str | None]
    results: dict[bytes, bytes]
    groups: dict[bytes, set[bytes]]

    def lacks(self, promise: Promise) -> str | None:
        """Why the promise is broken; None if it is kept."""
        for task in promise.tasks:
            said = f"event {promise.at} says that {task.hex()}"
            if task not in self.states:
                return f"{said} is accepted, and it is not on disk"
            if promise.state is None:
                continue
            if self.states[task] != promise.state:
                return f"{said} ended as {promise.state}, on disk is {self.states[task]}"
            if promise.result is not None and self.results.get(task) != promise.result:
                return f"{said} has another result than the one on disk"
        return None


def hold(service: Path) -> Held:
    """Opens a store as a start of the service would, whatever a crash left of it, and reads it.

    Raises AssertionError for a database that is damaged, or rows that name a file which is not there.
    """
    held = Held({}, {}, {})
    database = service / "bursa.db"
    if not database.exists() or database.stat().st_size == 0:
        return held
    with sqlite3.connect(database) as store:
        assert store.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
        if "ends" not in tables:
            return held
        ends = dict(store.execute("SELECT block, slots FROM ends"))
        tasks = store.execute("SELECT id, task, spec, data, file FROM tasks")
        for identity, task, spec, data, file in tasks:
            slot = ends.get(identity >> 7, bytes(768))[6 * (identity & 127) :][:6]
            held.states[task] = _STORED.get(slot[5] & 3)
            held.groups.setdefault(spec[:16], set()).add(task)
            size = int.from_bytes(spec[80:88], "big")
            assert len(_payload(service, data, file)) == size, "arguments are cut off"
        for task, data, file in store.execute("SELECT substr(record, 1, 16), data, file FROM results"):
            held.results[task] = _payload(service, data, file)
            assert held.states[task] is not None, "a result of a task that lives"
    store.close()
    return held


def _payload(service: Path, data: bytes | None, file: bytes | None) -> bytes:
    if file is None:
        return data or b""
    path = service / "payloads" / file.hex()[:2] / file.hex()
    assert path.exists(), f"{path.name} is named by a row and is not there"
    return path.read_bytes()


def promises(events: list[Event], port: int, submits: dict[int, tuple[bytes, ...]]) -> Iterator[Promise]:
    """Every acceptance and end that was sent from `port`. `submits`: tasks by number of their submit."""
    for at, message in _messages(events, port):
        if isinstance(message, dict) and message.get("type") == "accepted":
            yield Promise(at, submits[message["id"]], None)
        elif isinstance(message, dict) and message.get("type") == "results":
            tasks = message["tasks"]
            for n, state in enumerate(message["states"]):
                payload = message["payloads"][n] if state == 0 else None
                yield Promise(at, (tasks[16 * n : 16 * n + 16],), STATES[state], payload)
        elif isinstance(message, dict) and "group_id" in message and "task_ids" in message:
            yield Promise(at, tuple(_raw(task) for task in message["task_ids"]), None)
        elif isinstance(message, dict):
            for task in message.get("tasks", [message]):
                if task.get("state") in STATES.values():
                    yield Promise(at, (_raw(task["task_id"]),), task["state"])


def _raw(identity: str) -> bytes:
    return bytes.fromhex(identity.replace("-", ""))


def _messages(events: list[Event], port: int) -> Iterator[tuple[int, object]]:
    """Bodies of HTTP answers and messages of WebSockets, decoded, each with the event that began it."""
    said: dict[int, bytearray] = {}
    began: dict[int, int] = {}
    for at, event in enumerate(events):
        if event.kind != Kind.SEND or event.number != port:
            continue
        fd = event.offset
        buffer = said.setdefault(fd, bytearray())
        if not buffer:
            began[fd] = at
        buffer += event.data
        while (found := _take(buffer)) is not None:
            yield began[fd], found
            began[fd] = at


def _take(buffer: bytearray) -> object | None:
    if buffer[:5] == b"HTTP/":
        return _take_answer(buffer)
    if len(buffer) < 2:
        return None
    size, start = buffer[1], 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start + size:
        return None
    opcode, data = buffer[0] & 0x0F, bytes(buffer[start : start + size])
    assert buffer[0] & 0x80, "the service sends whole messages"
    del buffer[: start + size]
    return msgpack.unpackb(data, strict_map_key=False) if opcode == 2 else False


def _take_answer(buffer: bytearray) -> object | None:
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).decode("latin-1").lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    size = int(fields.get("content-length", "0"))
    if len(buffer) < end + 4 + size:
        return None
    body = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    return json.loads(body) if fields.get("content-type", "").startswith("application/json") else False

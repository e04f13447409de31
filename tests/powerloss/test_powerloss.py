"""A power cut at any moment: what was promised is on disk, and a batch is there whole or not at all.

The real service runs under a load while `record.so` records what it writes, syncs and sends. Then the disk is
made as a power cut at each of many moments would have left it, and looked at.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bursa
import msgpack
import pytest
from bursa.serialize import dumps_call
from bursa.websocket import WebSocket
from promises import Promise, hold, promises
from recording import Disk, Event, Kind, read, write

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("BURSA_BIN", ROOT / "target/release/bursa"))
MOMENTS = 30
"""Moments of a power cut that are looked at, besides those of the promises."""
RESTARTS = 5
"""How many of these the real service is started on."""


@dataclass(frozen=True)
class Run:
    """A recorded life of a service under load."""

    events: list[Event]
    promises: list[Promise]
    batches: dict[bytes, set[bytes]]
    root: str
    token: str
    service_key: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without any Bursa setting of its own, and with this home."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
    return {**clean, "BURSA_HOME": str(home), "BURSA_PYTHON": sys.executable, **more}


@contextmanager
def started(command: str, home: Path, *flags: str, **more: str) -> Iterator[dict[str, str]]:
    """`bursa up` or `bursa serve`, and what it says when it is ready."""
    arguments = [str(BINARY), command, "--home", str(home), "--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*arguments, *flags], env=environment(home, **more), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"bursa {command} did not start"
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def post(url: str, token: str, path: str, body: object) -> dict[str, list[dict[str, str]]]:
    """One request of the REST API."""
    head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v1{path}", json.dumps(body).encode(), head)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def echo(value: bytes) -> bytes:
    """The function that is called."""
    return value


def stay(value: bytes) -> bytes:
    """A call that ends only when it is cancelled."""
    import threading

    threading.Event().wait()
    return value


class Load:
    """Submits on a stream, and waits until everything has ended."""

    def __init__(self, url: str, token: str, endpoint: str, function: str) -> None:
        self.socket = WebSocket(f"{url}/api/v1/stream", token)
        self.endpoint, self.function = uuid.UUID(endpoint).bytes, uuid.UUID(function).bytes
        self.submits: dict[int, tuple[bytes, ...]] = {}
        self.batches: dict[bytes, set[bytes]] = {}
        self.ended: set[bytes] = set()

    def submit(self, sizes: list[int]) -> None:
        """One batch with an argument of each size."""
        tasks, group = [uuid.uuid4().bytes for _ in sizes], uuid.uuid4().bytes
        number = len(self.submits) + 1
        self.submits[number], self.batches[group] = tuple(tasks), set(tasks)
        args = [dumps_call((bytes([number]) * size,), {}) for size in sizes]
        call = {"function": self.function, "endpoint": self.endpoint, "tasks": b"".join(tasks), "args": args}
        self.socket.send(msgpack.packb({"type": "submit", "id": number, "group": group, "calls": [call]}))

    def submit_and_cancel(self, ready: dict[str, str], staying: str) -> None:
        """A batch of which the second half is cancelled, by the REST API: calls of a function that stays."""
        tasks, group = [str(uuid.uuid4()) for _ in range(400)], uuid.uuid4()
        args = base64.b64encode(dumps_call((b"soon",), {})).decode()
        endpoint, quick = str(uuid.UUID(bytes=self.endpoint)), str(uuid.UUID(bytes=self.function))
        functions = [quick] * 200 + [staying] * 200
        calls = [
            {"task_id": task, "args": args, "endpoint_id": endpoint, "function_id": function}
            for task, function in zip(tasks, functions, strict=True)
        ]
        post(ready["url"], ready["token"], "/tasks", {"group_id": str(group), "tasks": calls})
        post(ready["url"], ready["token"], "/tasks/cancel", {"task_ids": tasks[200:]})
        self.batches[group.bytes] = {uuid.UUID(task).bytes for task in tasks}
        self.socket.send(msgpack.packb({"type": "subscribe", "groups": [group.bytes]}))

    def wait(self) -> None:
        """Until every submitted task has ended."""
        everything = set().union(*self.batches.values())
        while not everything <= self.ended:
            data = self.socket.receive()
            message = msgpack.unpackb(data, strict_map_key=False) if data else {}
            assert message.get("type") != "error", message
            tasks = message.get("tasks", b"")
            self.ended |= {tasks[at : at + 16] for at in range(0, len(tasks), 16)}


def load(ready: dict[str, str]) -> Load:
    """Batches small and large, payloads in rows and in files, and a cancel."""
    with bursa.Client(ready["url"], ready["token"]) as client:
        load = Load(ready["url"], ready["token"], ready["endpoint_id"], client.register(echo))
        for size in (10, 2_000, 40_000, 100_000):
            for count in (1, 3, 40):
                load.submit([size] * count)
            load.wait()
        load.submit_and_cancel(ready, client.register(stay))
        # More than half of the log, so that it is brought into the database meanwhile.
        for _ in range(6):
            load.submit([40_000] * 25)
        load.wait()
    return load


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The recording that all tests here look at."""
    root = tmp_path_factory.mktemp("power")
    library, home, records = root / "record.so", root / "home", root / "records"
    records.mkdir()
    source = Path(__file__).with_name("record.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    flags = ("--json", "--workers", "2")
    preload = {
        "LD_PRELOAD": str(library),
        "RECORD_HOME": str(home / "service"),
        "RECORD_DIR": str(records),
    }
    with started("up", home, *flags, **preload) as ready:
        done = load(ready)
        endpoint = json.loads((next((home / "endpoints").iterdir()) / "endpoint.json").read_text())
    events = read(max(records.iterdir(), key=lambda path: path.stat().st_size))
    port = int(ready["url"].rpartition(":")[2])
    told = list(promises(events, port, done.submits))
    return Run(events, told, done.batches, str(home / "service"), ready["token"], endpoint["service_key"])


def moments(run: Run) -> list[int]:
    """Around syncs, where something changes; and anywhere."""
    chance = random.Random(7)
    syncs = [at for at, event in enumerate(run.events) if event.kind in (Kind.SYNC_BEGIN, Kind.SYNC_END)]
    near = [at + chance.choice((0, 1, 2)) for at in chance.sample(syncs, min(len(syncs), 2 * MOMENTS // 3))]
    anywhere = [chance.randrange(len(run.events)) for _ in range(MOMENTS - len(near))]
    return sorted({*near, *anywhere, len(run.events)})


def test_the_load_was_recorded(run: Run) -> None:
    """The other tests say something: all promises were seen, and the disk did what it does."""
    accepted = [promise for promise in run.promises if promise.state is None]
    ended = {promise.tasks[0]: promise.state for promise in run.promises if promise.state is not None}
    everything = set().union(*run.batches.values())
    assert {task for promise in accepted for task in promise.tasks} == everything
    assert set(ended) == everything
    assert "success" in ended.values() and "cancelled" in ended.values()
    assert {event.kind for event in run.events} >= {Kind.RENAME, Kind.SYNC_END, Kind.SEND}
    database = [event.number for event in run.events if event.data.endswith(b"bursa.db")]
    late = run.events[len(run.events) // 2 :]
    assert any(event.kind == Kind.WRITE and event.number in database for event in late), "no checkpoint"


def test_nothing_is_promised_before_it_is_synced(run: Run, tmp_path: Path) -> None:
    """Each acceptance and each end that left is on disk even if the power fails while it leaves."""
    keep_promises(run, run.events, tmp_path)


def test_payload_files_need_the_syncs_of_their_directories(run: Run, tmp_path: Path) -> None:
    """Without these syncs promises would be broken, and that is seen here."""
    directories = {event.number for event in run.events if event.kind == Kind.OPEN and is_of_payloads(event)}
    syncs = {e.number for e in run.events if e.kind == Kind.SYNC_BEGIN and e.offset in directories}
    assert syncs, "the recording has none"
    events = [
        Event(Kind.SEND)
        if event.kind in (Kind.SYNC_BEGIN, Kind.SYNC_END) and event.number in syncs
        else event
        for event in run.events
    ]
    with pytest.raises(AssertionError):
        keep_promises(run, events, tmp_path)


def is_of_payloads(opened: Event) -> bool:
    """Whether this opened the directory of payload files, or one in it."""
    path = Path(os.fsdecode(opened.data))
    return path.name == "payloads" or path.parent.name == "payloads"


def keep_promises(run: Run, events: list[Event], tmp_path: Path) -> None:
    """Raises AssertionError at the first promise that left before it was on disk."""
    disk, told, known = Disk(run.root), iter(run.promises), None
    promise = next(told, None)
    for at, event in enumerate(events):
        if event.kind == Kind.SYNC_END:
            known = None
        while promise is not None and promise.at == at:
            if known is None:
                known = tmp_path / str(at)
                write(disk.synced(), known)
                held = hold(known)
            broken = held.lacks(promise)
            assert broken is None, broken
            promise = next(told, None)
        disk.play(event)
    assert promise is None


def test_every_moment_leaves_whole_batches(run: Run, tmp_path: Path) -> None:
    """Killed, cut off, or cut off with some of the unsynced writes on disk: the store opens and is whole."""
    chance, wanted, disk = random.Random(11), moments(run), Disk(run.root)
    for at, event in enumerate([*run.events, Event(Kind.SEND)]):
        if at in wanted:
            for kind, files in {
                "killed": disk.files(),
                "cut": disk.synced(),
                "torn": disk.torn(chance),
            }.items():
                root = tmp_path / f"{at}-{kind}"
                write(files, root)
                check(run, root, at, kind)
        disk.play(event)


def check(run: Run, root: Path, at: int, kind: str) -> None:
    """What `root` holds is whole, and all that was promised before `at`."""
    held = hold(root)
    for group, tasks in held.groups.items():
        assert tasks == run.batches[group], f"{kind} at {at}: {len(tasks)} tasks of {len(run.batches[group])}"
    for promise in run.promises:
        broken = held.lacks(promise) if promise.at < at else None
        assert broken is None, f"{kind} at {at}: {broken}"


def test_the_service_starts_on_what_is_left(run: Run, tmp_path: Path) -> None:
    """The real service comes up on a cut disk under its own key and answers for all it had promised."""
    first = run.promises[0].at
    wanted, disk = [at for at in moments(run) if at > first], Disk(run.root)
    wanted = [*random.Random(13).sample(wanted, RESTARTS - 1), len(run.events)]
    chance = random.Random(17)
    for at, event in enumerate([*run.events, Event(Kind.SEND)]):
        if at in wanted:
            home = tmp_path / str(at)
            write(disk.torn(chance), home / "service")
            answer_for(run, home, at)
        disk.play(event)


def answer_for(run: Run, home: Path, at: int) -> None:
    """A service on `home` knows the tasks that were promised before `at`."""
    states: dict[str, str | None] = {}
    for promise in run.promises:
        if promise.at < at:
            states |= {str(uuid.UUID(bytes=task)): promise.state for task in promise.tasks}
    with started("serve", home, "--json") as ready:
        assert ready["service_key"] == run.service_key, "endpoints would not know it again"
        ids = list(states)[-1_000:]
        tasks = post(ready["url"], run.token, "/tasks/get", {"task_ids": ids})["tasks"]
        for task in tasks:
            promised = states[task["task_id"]]
            assert promised is None or task["state"] == promised

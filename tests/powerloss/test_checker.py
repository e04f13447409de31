"""The checker of power cuts sees it when a recording, forged here, breaks the rule."""

from __future__ import annotations

import json
import random
import sqlite3
import uuid
from pathlib import Path

import pytest
from promises import hold, promises
from recording import SECTOR, Disk, Event, Kind, write

ROOT = "/home/service"
PORT = 5000
TASK = uuid.UUID(int=7)
DIRECTORY, DATABASE = 1, 2

OPENS = [
    Event(Kind.OPEN, DIRECTORY, 0, ROOT.encode()),
    Event(Kind.OPEN, DATABASE, 1, f"{ROOT}/bursa.db".encode()),
]


def store(path: Path, state: int) -> bytes:
    """The bytes of a database with one task."""
    with sqlite3.connect(path) as database:
        database.executescript(
            """CREATE TABLE tasks (id INTEGER PRIMARY KEY, task BLOB, spec BLOB, data BLOB, file BLOB);
            CREATE TABLE ends (block INTEGER PRIMARY KEY, slots BLOB);
            CREATE TABLE results (id INTEGER PRIMARY KEY, record BLOB, data BLOB, file BLOB);"""
        )
        database.execute("INSERT INTO tasks VALUES (1, ?, ?, NULL, NULL)", (TASK.bytes, bytes(88)))
        database.execute("INSERT INTO ends VALUES (0, ?)", (bytes(11) + bytes([state]) + bytes(756),))
    database.close()
    return path.read_bytes()


def written(content: bytes) -> Event:
    return Event(Kind.WRITE, DATABASE, 0, content)


def synced(number: int) -> list[Event]:
    return [Event(Kind.SYNC_BEGIN, number, number), Event(Kind.SYNC_END, number)]


def answer(body: object) -> Event:
    """An answer of the REST API."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return Event(Kind.SEND, PORT, 9, head.encode() + data)


ACCEPTED = answer({"group_id": str(uuid.UUID(int=1)), "task_ids": [str(TASK)]})
ENDED = answer({"tasks": [{"task_id": str(TASK), "state": "success"}]})


def broken(events: list[Event], root: Path) -> list[str]:
    """What the checker has to say of a recording."""
    found = []
    for promise in promises(events, PORT, {}):
        disk = Disk(ROOT)
        for event in events[: promise.at]:
            disk.play(event)
        write(disk.synced(), root / str(promise.at))
        found.append(hold(root / str(promise.at)).lacks(promise))
    assert found, "no promise was seen"
    return [why for why in found if why is not None]


def test_a_promise_after_its_sync_is_kept(tmp_path: Path) -> None:
    content = store(tmp_path / "made.db", 1)
    events = [*OPENS, written(content), *synced(DATABASE), *synced(DIRECTORY), ACCEPTED, ENDED]
    assert broken(events, tmp_path) == []


def test_a_promise_before_its_sync_is_broken(tmp_path: Path) -> None:
    content = store(tmp_path / "made.db", 0)
    begin, end = synced(DATABASE)
    early = [
        [*OPENS, *synced(DIRECTORY), written(content), ACCEPTED, begin, end],
        [*OPENS, *synced(DIRECTORY), written(content), begin, ACCEPTED, end],
        # The write is not what the sync covers.
        [*OPENS, *synced(DIRECTORY), begin, written(content), end, ACCEPTED],
        # Nobody made sure of the file's name.
        [*OPENS, written(content), begin, end, ACCEPTED],
    ]
    for n, events in enumerate(early):
        assert len(broken(events, tmp_path / str(n))) == 1, f"recording {n}"


def test_an_end_that_is_not_on_disk_is_broken(tmp_path: Path) -> None:
    content = store(tmp_path / "made.db", 0)
    events = [*OPENS, written(content), *synced(DATABASE), *synced(DIRECTORY), ACCEPTED, ENDED]
    assert "ended as success, on disk is None" in broken(events, tmp_path)[0]


def test_an_answer_in_pieces_is_a_promise_from_its_first_byte(tmp_path: Path) -> None:
    content = store(tmp_path / "made.db", 0)
    pieces = [Event(Kind.SEND, PORT, 9, ACCEPTED.data[at : at + 50]) for at in range(0, 400, 50)]
    events = [*OPENS, *synced(DIRECTORY), written(content), pieces[0], *synced(DATABASE), *pieces[1:]]
    assert len(broken(events, tmp_path)) == 1


def test_a_database_that_is_half_there_is_damaged(tmp_path: Path) -> None:
    content = store(tmp_path / "made.db", 0)
    write({"bursa.db": content[: len(content) // 2]}, tmp_path / "half")
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        hold(tmp_path / "half")


def test_a_torn_disk_has_whole_sectors_of_what_was_not_synced() -> None:
    disk, names = Disk(ROOT), set()
    new = Event(Kind.WRITE, DATABASE, 0, b"n" * 4 * SECTOR)
    for event in [*OPENS, written(b"o" * 4 * SECTOR), *synced(DATABASE), *synced(DIRECTORY), new]:
        disk.play(event)
    for seed in range(50):
        content = disk.torn(random.Random(seed))["bursa.db"]
        sectors = [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
        assert all(sector in (b"o" * SECTOR, b"n" * SECTOR) for sector in sectors)
        names.add(content)
    assert len(names) > 5
    assert disk.synced()["bursa.db"] == b"o" * 4 * SECTOR


def test_a_renamed_file_is_under_its_old_name_until_its_directory_is_synced() -> None:
    disk = Disk(ROOT)
    rename = Event(Kind.RENAME, 0, 0, f"{ROOT}/bursa.db\0{ROOT}/new".encode())
    for event in [*OPENS, written(b"x"), *synced(DATABASE), *synced(DIRECTORY), rename]:
        disk.play(event)
    assert set(disk.synced()) == {"bursa.db"}
    assert set(disk.files()) == {"new"}
    for event in synced(DIRECTORY):
        disk.play(event)
    assert set(disk.synced()) == {"new"}

"""The worker's frames are those of the golden file, and it reads the executor's."""

from __future__ import annotations

import json
import socket
from collections import deque

from write_worker_frames import GOLDEN, golden
from zygote import decode

from bursa.worker.frames import LOAD, RUN, Inbox


def test_the_golden_file_is_current() -> None:
    assert json.loads(GOLDEN.read_text()) == golden(), (
        "run python/tests/write_worker_frames.py, and tell the Rust side"
    )


def test_frames_from_the_worker_decode_to_their_fields() -> None:
    for entry in golden():
        if entry["kind"] not in ("ready", "started", "need", "skipped", "done"):
            continue
        kind, fields = decode(bytes.fromhex(entry["frame"])[4:])
        values = [fields] if isinstance(fields, bytes) else list(fields)
        shown = [v.hex() if isinstance(v, bytes) else v for v in values]
        expected = list(entry["fields"].values())
        if kind == "done":  # text sections are decoded there
            expected[7:10] = [bytes.fromhex(section).decode() for section in expected[7:10]]
        assert (kind, shown) == (entry["kind"], expected), entry["name"]


def _whole(call: tuple) -> bytes:
    flags, name, body_hash, head, rest = call
    return bytes([RUN, flags]) + name + body_hash + head + bytes(rest)


def test_frames_are_found_however_they_are_cut() -> None:
    frames = [bytes.fromhex(entry["frame"]) for entry in golden()]
    frames += [(80_000).to_bytes(4, "little") + bytes([kind]) + bytes(79_999) for kind in (LOAD, RUN)]
    frames += [b"\x3b\0\0\0" + bytes([RUN]) + bytes(57) + b"p", frames[0]]
    data = b"".join(frames)
    for step in (7, 64, 4096, len(data)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            inbox, calls, others = Inbox(theirs), deque(), []
            for start in range(0, len(data), step):
                part = memoryview(data)[start : start + step]
                while part:
                    part = part[ours.send(part) :]
                    others += inbox.read(calls)
            while len(calls) + len(others) < len(frames):
                others += inbox.read(calls)
        whole = [frame[4:] for frame in frames]
        assert [_whole(call) for call in calls] == [frame for frame in whole if frame[0] == RUN]
        assert others == [frame for frame in whole if frame[0] != RUN]

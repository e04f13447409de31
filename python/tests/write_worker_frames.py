"""Writes tests/wire/worker_frames.json: golden frames of the worker socket, which Rust's tests read as well.

python python/tests/write_worker_frames.py

Each entry has a name, the whole frame in hex (length included) and its decoded fields; bytes are hex text.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from bursa.worker import frames

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "wire" / "worker_frames.json"
TASK, HASH = bytes(range(16)), bytes(range(32, 64))
ATTEMPT, TOOK = 0x0102030405060708, (1_111, 1_234_567_890, 2_222)
NAME = struct.pack("<16sQ", TASK, ATTEMPT)


def _to_worker(kind: int, fields: bytes = b"") -> bytes:
    return struct.pack("<IB", 1 + len(fields), kind) + fields


def _run(flags: int, args: bytes) -> tuple[bytes, dict[str, Any]]:
    frame = _to_worker(frames.RUN, struct.pack("<B16sQ32s", flags, TASK, ATTEMPT, HASH) + args)
    return frame, {"flags": flags, "task": TASK, "attempt": ATTEMPT, "hash": HASH, "args": args}


def _done(outcome: int, *sections: bytes) -> tuple[bytes, dict[str, Any]]:
    names = ("payload", "class", "message", "traceback", "output")
    fields = {"task": TASK, "attempt": ATTEMPT, "outcome": outcome}
    fields.update(zip(("load_ns", "run_ns", "dump_ns"), TOOK))
    padded = (*sections, *(b"",) * (5 - len(sections)))
    head = frames.done_head(NAME, outcome, TOOK, *map(len, padded))
    if outcome == frames.SUCCESS and not padded[4]:
        quiet = (frames.DONE, NAME, frames.SUCCESS, *TOOK, len(padded[0]))
        dirty = bytearray(b"\xff" * len(head))
        frames.QUIET.pack_into(dirty, 0, frames.DONE_SIZE + len(padded[0]), *quiet)
        assert head == dirty
    return head + b"".join(padded), {**fields, **dict(zip(names, padded))}


def golden() -> list[dict[str, Any]]:
    """All entries, in order."""
    entries: dict[str, tuple[str, tuple[bytes, dict[str, Any]]]] = {
        "load": ("load", (_to_worker(frames.LOAD, HASH + b"body"), {"hash": HASH, "body": b"body"})),
        "load-empty": ("load", (_to_worker(frames.LOAD, HASH), {"hash": HASH, "body": b""})),
        "run": ("run", _run(0, b"args")),
        "run-flush-first": ("run", _run(frames.FLUSH_FIRST, b"")),
        "stop": ("stop", (_to_worker(frames.STOP), {})),
        "ready": ("ready", (frames.ready(4321, 3, 11), {"pid": 4321, "major": 3, "minor": 11})),
        "started": ("started", (frames.started(NAME), {"task": TASK, "attempt": ATTEMPT})),
        "need": ("need", (frames.need(HASH), {"hash": HASH})),
        "skipped": ("skipped", (frames.skipped(258), {"number": 258})),
        "done-success": ("done", _done(frames.SUCCESS, b"p\0\0\x80\x05N.")),
        "done-success-with-output": (
            "done",
            _done(frames.SUCCESS, b"p\0\0\x80\x05N.", b"", b"", b"", b"line\n"),
        ),
        "done-user-error": (
            "done",
            _done(frames.USER_ERROR, b"p\0\0x", b"ValueError", "sch\u00f6n".encode(), b"Traceback\n", b"out"),
        ),
        "done-user-error-without-message": (
            "done",
            _done(frames.USER_ERROR, b"", b"ValueError", b"", b"Traceback\n"),
        ),
        "done-load-failed": ("done", _done(frames.LOAD_FAILED, b"", b"ModuleNotFoundError", b"m", b"t")),
        "done-mismatch": ("done", _done(frames.MISMATCH, b"", b"DeserializeMismatch", b"3.9 and 3.11")),
        "done-too-large": ("done", _done(frames.TOO_LARGE, b"", b"", b"too large")),
    }
    return [
        {
            "name": name,
            "kind": kind,
            "frame": frame.hex(),
            "fields": {key: _shown(f) for key, f in fields.items()},
        }
        for name, (kind, (frame, fields)) in entries.items()
    ]


def _shown(field: Any) -> Any:
    return field.hex() if isinstance(field, bytes) else field


def text() -> str:
    return json.dumps(golden(), indent=1) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text())

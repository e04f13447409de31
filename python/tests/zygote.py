"""Drives a real zygote and its workers over socketpairs, as an executor does; for the tests."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple

SRC = str(Path(__file__).parent.parent / "src")
RING = 65536
HEAD = 32
SPACE = 65536
PATIENCE = 20  # seconds that a test waits for the other side before it fails


class Done(NamedTuple):
    task: bytes
    attempt: int
    outcome: int
    load_ns: int
    run_ns: int
    dump_ns: int
    payload: bytes
    name: str
    message: str
    traceback: str
    output: bytes


class Wire:
    """The executor's end of one worker socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def load(self, body_hash: bytes, body: bytes) -> None:
        self._send(b"\x01" + body_hash + body)

    def run(self, task: bytes, body_hash: bytes, args: bytes, attempt: int = 1, flags: int = 0) -> None:
        self._send(self.run_frame(task, body_hash, args, attempt, flags))

    @staticmethod
    def run_frame(task: bytes, body_hash: bytes, args: bytes, attempt: int = 1, flags: int = 0) -> bytes:
        return struct.pack("<BB16sQ32s", 2, flags, task, attempt, body_hash) + args

    def stop(self) -> None:
        self._send(b"\x03")

    def _send(self, frame: bytes) -> None:
        self.sock.sendall(struct.pack("<I", len(frame)) + frame)

    def frame(self) -> tuple[str, Any]:
        """The next frame as (kind, fields). EOFError when the worker is gone."""
        size = struct.unpack("<I", self._exactly(4))[0]
        body = self._exactly(size)
        return decode(body)

    def done(self) -> Done:
        """The next `done`; `started` frames before it are skipped."""
        while True:
            kind, fields = self.frame()
            if kind == "done":
                return fields
            assert kind == "started", kind

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def decode(body: bytes) -> tuple[str, Any]:
    """A frame from a worker, without its length."""
    kind = body[0]
    if kind == 16:
        return "ready", struct.unpack("<IBB", body[1:])
    if kind == 17:
        return "started", struct.unpack("<16sQ", body[1:])
    if kind == 19:
        return "need", body[1:]
    if kind == 20:
        return "skipped", struct.unpack("<Q", body[1:])
    assert kind == 18, kind
    head = struct.Struct("<16sQB3Q5I")
    task, attempt, outcome, load, run, dump, *sizes = head.unpack_from(body, 1)
    at, parts = 1 + head.size, []
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    assert at == len(body)
    payload, name, message, traceback, output = parts
    return "done", Done(
        task,
        attempt,
        outcome,
        load,
        run,
        dump,
        payload,
        name.decode(),
        message.decode(),
        traceback.decode(),
        output,
    )


class Worker(NamedTuple):
    number: int
    pid: int
    wire: Wire
    pipe: int
    memfd: int

    def begun(self) -> int:
        """The number of the last call that the worker began, as the executor reads it."""
        return int.from_bytes(os.pread(self.memfd, 8, 8), "little")

    def withhold(self, calls: int) -> None:
        """The worker shall begin none of its first calls any more."""
        os.pwrite(self.memfd, calls.to_bytes(8, "little"), 16)

    def unsent(self) -> list[tuple[str, Any]]:
        """The frames that wait in the memfd, as the executor reads them."""
        data = os.pread(self.memfd, HEAD + RING + SPACE, 0)
        at, end = HEAD + RING, HEAD + RING + struct.unpack_from("<I", data, 24)[0]
        found = []
        while at < end:
            size = struct.unpack_from("<I", data, at)[0]
            found.append(decode(data[at + 4 : at + 4 + size]))
            at += 4 + size
        assert at == end
        return found

    def tail(self) -> bytes:
        """What the ring in the memfd holds, read as the executor does after a death."""
        data = os.pread(self.memfd, HEAD + RING, 0)
        written, ring = struct.unpack_from("<Q", data)[0], data[HEAD:]
        return ring[:written] if written <= RING else ring[written % RING :] + ring[: written % RING]


class Zygote:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {**os.environ, "BURSA_ZYGOTE_FD": str(theirs.fileno()), "PYTHONPATH": SRC}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bursa.worker"],
            env=env,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        ours.settimeout(PATIENCE)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control = ours
        self.messages: list[dict] = []
        self.hello = self.expect("hello")["hello"]
        self._count = 0

    def expect(self, key: str, number: int | None = None) -> dict:
        """The next message with `key` (and that number); others are kept."""
        while True:
            for message in self.messages:
                if key in message and number in (None, message[key]):
                    self.messages.remove(message)
                    return message
            packet, ancillary, _, _ = self.control.recvmsg(65536, 256)
            if not packet:
                raise EOFError("the zygote is gone")
            sender = struct.unpack_from("i", ancillary[0][2])[0]
            self.messages.append({**json.loads(packet), "sender": sender})

    def spawn(self, cwd: str = "/") -> Worker:
        self._count += 1
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        read, write = os.pipe()
        memfd = os.memfd_create("output")
        rights = array.array("i", [theirs.fileno(), write, memfd])
        order = json.dumps({"spawn": self._count, "cwd": cwd}).encode()
        self.control.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        theirs.close()
        os.close(write)
        pid = self.expect("forked", self._count)["sender"]
        return Worker(self._count, pid, Wire(ours), read, memfd)

    def close(self) -> None:
        self.control.close()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    try:
        yield started
    finally:
        started.close()


def read_to_end(descriptor: int) -> bytes:
    parts = []
    while True:
        data = os.read(descriptor, 65536)
        if not data:
            return b"".join(parts)
        parts.append(data)


def gone(pid: int) -> bool:
    """Whether `pid` ends soon."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        os.sched_yield()
    return False

"""The function that the load calls, and what it must return. It runs in workers, so it imports inside."""

from __future__ import annotations

SMALL, LARGE_ARGUMENT, LARGE_RESULT = "small", "large-argument", "large-result"
LARGE = 200_000


def work(task: str, number: int, seconds: float, shape: str, payload: bytes, folder: str) -> tuple:
    """Says that it runs, in a file of this worker's own; takes its time; computes."""
    import hashlib
    import os
    import time

    line = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(line, f"{task} {time.time()!r}\n".encode())
    os.close(line)
    time.sleep(seconds)
    if shape == "large-result":
        return number * number + 7, number.to_bytes(8, "big") * 25_000
    return number * number + 7, hashlib.sha256(payload).hexdigest()


def payload_of(number: int, shape: str) -> bytes:
    """The argument that makes a call large; another one for each number."""
    return number.to_bytes(8, "little") * (LARGE // 8) if shape == LARGE_ARGUMENT else b""


def expected(number: int, shape: str) -> tuple:
    """What `work` returns."""
    import hashlib

    if shape == LARGE_RESULT:
        return number * number + 7, number.to_bytes(8, "big") * (LARGE // 8)
    return number * number + 7, hashlib.sha256(payload_of(number, shape)).hexdigest()

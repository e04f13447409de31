"""What a client process knows, in a file that survives its death: a line per fact, written before it acts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Call(NamedTuple):
    """One task as it is submitted, each time with the same bytes."""

    task: str
    number: int
    seconds: float
    shape: str


class Result(NamedTuple):
    """What a client was told."""

    at: float
    verdict: str


@dataclass
class Known:
    """The facts of one journal, or of several."""

    calls: dict[str, Call]
    accepted: set[str]
    results: dict[str, list[Result]]

    def open_calls(self) -> list[Call]:
        return [call for task, call in self.calls.items() if task not in self.results]


class Journal:
    """Appends facts. A line is one write, so a kill leaves a torn last line at most."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def calls(self, calls: list[Call]) -> None:
        self._write([f"S {c.task} {c.number} {c.seconds!r} {c.shape}" for c in calls])

    def accepted(self, tasks: list[str]) -> None:
        self._write([f"A {task}" for task in tasks])

    def result(self, task: str, verdict: str) -> None:
        self._write([f"R {task} {time.time()!r} {verdict}"])

    def _write(self, lines: list[str]) -> None:
        with self._lock:
            self._file.write(("\n".join(lines) + "\n").encode())


def read(*paths: Path) -> Known:
    """All facts of these journals; a torn line counts as not written."""
    known = Known({}, set(), {})
    for path in paths:
        for line in path.read_bytes().split(b"\n")[:-1]:
            kind, task, *rest = line.decode().split(" ", 4)
            if kind == "S":
                known.calls[task] = Call(task, int(rest[0]), float(rest[1]), rest[2])
            elif kind == "A":
                known.accepted.add(task)
            elif kind == "R":
                known.results.setdefault(task, []).append(Result(float(rest[0]), " ".join(rest[1:])))
    return known

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
    submitted: dict[str, float]
    """When each was first submitted."""
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
        now = time.time()
        self._write([f"S {c.task} {now!r} {c.number} {c.seconds!r} {c.shape}" for c in calls])

    def accepted(self, tasks: list[str]) -> None:
        self._write([f"A {task}" for task in tasks])

    def result(self, task: str, verdict: str) -> None:
        self._write([f"R {task} {time.time()!r} {verdict}"])

    def _write(self, lines: list[str]) -> None:
        with self._lock:
            self._file.write(("\n".join(lines) + "\n").encode())


def read(*paths: Path) -> Known:
    """All facts of these journals; a torn line counts as not written."""
    known = Known({}, {}, set(), {})
    for path in paths:
        for line in path.read_bytes().split(b"\n")[:-1]:
            learn(known, line)
    return known


def learn(known: Known, line: bytes) -> None:
    kind, task, *rest = line.decode().split(" ", 5)
    if kind == "S":
        known.submitted[task] = float(rest[0])
        known.calls[task] = Call(task, int(rest[1]), float(rest[2]), rest[3])
    elif kind == "A":
        known.accepted.add(task)
    elif kind == "R":
        known.results.setdefault(task, []).append(Result(float(rest[0]), " ".join(rest[1:])))


class Tail:
    """Follows a journal that is being written."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._known = Known({}, {}, set(), {})
        self.newest, self.took = 0.0, 0.0
        """When the last task that has ended well was submitted, and how many seconds it took."""

    def follow(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            *lines, _torn = file.read().split(b"\n")
        self._offset += sum(len(line) + 1 for line in lines)
        for line in lines:
            learn(self._known, line)
            kind, task, *rest = line.decode().split(" ", 3)
            if kind == "R" and rest[1] == "ok":
                self.newest = self._known.submitted[task]
                self.took = float(rest[0]) - self.newest

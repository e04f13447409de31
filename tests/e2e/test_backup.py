"""Backups of a service under load, and the life after a restore."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import bursa
from conftest import Stack, alive, descendants, run_cli, running, start, wait_for

LARGE = 100_000


def work(n: int, filling: bytes) -> tuple[int, int]:
    return n * n, len(filling)


class Load:
    """A client that submits until its service is gone, and remembers what was accepted."""

    def __init__(self, stack: Stack) -> None:
        self.accepted: list[tuple[str, int]] = []
        self._client = bursa.Client(stack.url, stack.token)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        n = 0
        while not self._stop.is_set():
            futures = []
            for _ in range(20):
                n += 1
                futures.append((n, self._client.run(work, n, bytes(LARGE if n % 20 == 0 else 10))))
            # An id is told when its task is on disk.
            self.accepted.extend((future.task_id, n) for n, future in futures)

    def until(self, count: int) -> None:
        wait_for(lambda: len(self.accepted) >= count, 60, f"{count} accepted tasks")

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self._client.close()


def kill_everything(stack: Stack) -> None:
    below = descendants(stack.pid)
    for pid in [stack.pid, *below]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stack.process.wait(10)
    wait_for(lambda: not alive(below), 10, "their end")


def test_what_was_accepted_before_a_backup_ends_exactly_once_after_its_restore(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "saved.bursa"
    stack = start(home)
    load = Load(stack)
    load.until(200)
    before = list(load.accepted)
    saved = run_cli(home, "backup", str(file))
    assert saved.returncode == 0, saved.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    load.until(len(load.accepted) + 200)
    refused = run_cli(home, "restore", str(file), "--force")
    assert refused.returncode == 75 and "stop it" in refused.stderr, refused.stderr
    load.end()
    kill_everything(stack)

    refused = run_cli(home, "restore", str(file))
    assert refused.returncode == 1 and "--force" in refused.stderr, refused.stderr
    restored = run_cli(home, "restore", str(file), "--force")
    assert restored.returncode == 0, restored.stderr
    with running(home) as stack:
        client = stack.client()
        for task, n in before:
            assert client.result(task, timeout=60) == (n * n, LARGE if n % 20 == 0 else 10)
        assert client.run(work, 7, b"").result(60) == (49, 0)
        with sqlite3.connect(home / "service/bursa.db") as database:
            records = Counter(row[0] for row in database.execute("SELECT substr(record, 1, 16) FROM results"))
        assert max(records.values()) == 1

    # In one command on a machine that has nothing else.
    other = tmp_path / "other"
    restored = run_cli(other, "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    with running(other) as stack:
        ended = [
            task for task in stack.client().tasks([task for task, _ in before[:100]]) if "ended_at" in task
        ]
        assert all(task["state"] == "success" for task in ended)

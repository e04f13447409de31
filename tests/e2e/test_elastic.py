"""An endpoint of this machine that grows with its calls and shrinks to nothing without them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Stack, parent_of, run_cli, running, wait_for, with_role

BLOCKS, WORKERS, IDLE_MS = 3, 2, 500
ELASTIC = {
    "BURSA_BLOCKS_MIN": "0",
    "BURSA_BLOCKS_INIT": "0",
    "BURSA_BLOCKS_MAX": str(BLOCKS),
    "BURSA_BLOCKS_PARALLELISM": "1",
    "BURSA_BLOCKS_IDLE_MS": str(IDLE_MS),
}


@pytest.fixture
def elastic(tmp_path: Path) -> Iterator[Stack]:
    with running(tmp_path / "home", "--workers", str(WORKERS), **ELASTIC) as stack:
        yield stack


def slow(seconds: float, log: str) -> int:
    with open(log, "a") as file:
        file.write("started\n")
    time.sleep(seconds)
    return os.getpid()


def starts_in(log: Path) -> int:
    return log.read_text().count("started")


def executors(stack: Stack) -> list[int]:
    """What one of them has just forked looks the same, and leads no session."""
    return [pid for pid in with_role(stack.pid, "executor") if session_of(pid) == pid]


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def blocks(stack: Stack) -> dict:
    return json.loads(run_cli(stack.home, "--json", "endpoint", "status", "local").stdout)["blocks"]


def all_gone(stack: Stack) -> None:
    wait_for(lambda: not executors(stack), 30, "the end of all idle executors")
    known = stack.home / "endpoints/local/executors"
    wait_for(
        lambda: not [*known.glob("*.key"), *known.glob("*.json")],
        30,
        "the end of what the provider knew of them",
    )


def test_bursts_start_executors_and_idle_time_ends_them(elastic: Stack) -> None:
    client = elastic.client()
    assert executors(elastic) == []
    for burst in range(3):
        futures = [client.run(pow, burst + 2, n) for n in range(500)]
        futures += [client.run(time.sleep, 0.2) for _ in range(2 * BLOCKS * WORKERS)]
        wait_for(lambda: len(executors(elastic)) == BLOCKS, 30, "all blocks that may be")
        assert [future.result(60) for future in futures[:500]] == [(burst + 2) ** n for n in range(500)]
        assert [future.result(60) for future in futures[500:]] == [None] * 2 * BLOCKS * WORKERS
        all_gone(elastic)
    logs = list((elastic.home / "logs").glob("local.*.executor.log"))
    assert len(logs) == 3 * BLOCKS, "each burst had executors of its own"
    none = {"running": 0, "waiting": 0, "most": BLOCKS}
    wait_for(lambda: blocks(elastic) == none, 30, "the service's word that there is no block")


def test_as_many_as_the_calls_need(elastic: Stack) -> None:
    client = elastic.client()
    first = [client.run(time.sleep, 1.5) for _ in range(WORKERS)]
    wait_for(lambda: client_running(client, first), 30, "the first calls to run")
    assert len(executors(elastic)) == 1
    second = client.run(time.sleep, 1.5)
    wait_for(lambda: client_running(client, [second]), 30, "one more call than one block has workers")
    assert len(executors(elastic)) == 2
    assert [future.result(60) for future in (*first, second)] == [None] * (WORKERS + 1)
    all_gone(elastic)


def client_running(client, futures) -> bool:
    return all(client.status(future.task_id) == "running" for future in futures)


def test_a_manager_killed_in_a_burst_loses_and_repeats_nothing(elastic: Stack, tmp_path: Path) -> None:
    client, log = elastic.client(), tmp_path / "log"
    calls = 4 * BLOCKS * WORKERS
    futures = [client.run(slow, 0.5, str(log)) for _ in range(calls)]
    wait_for(lambda: log.exists() and len(executors(elastic)) == BLOCKS, 30, "the burst to run")
    kill_manager(elastic)
    assert all(future.result(60) for future in futures)
    assert starts_in(log) == calls, "executors outlive their manager, and what they run"
    all_gone(elastic)


def test_a_manager_killed_while_its_executors_start(elastic: Stack, tmp_path: Path) -> None:
    client, log = elastic.client(), tmp_path / "log"
    calls = 2 * BLOCKS * WORKERS
    for _ in range(3):
        futures = [client.run(slow, 0.1, str(log)) for _ in range(calls)]
        wait_for(lambda: executors(elastic), 30, "the first executor's start")
        kill_manager(elastic)
        assert all(future.result(60) for future in futures)
        all_gone(elastic)
    assert starts_in(log) == 3 * calls


def test_a_manager_killed_while_its_executors_leave(elastic: Stack) -> None:
    client = elastic.client()
    for burst in range(3):
        futures = [client.run(time.sleep, 0.2) for _ in range(BLOCKS * WORKERS)]
        assert [future.result(60) for future in futures] == [None] * len(futures)
        wait_for(lambda: len(executors(elastic)) < BLOCKS, 30, "the first idle one to leave")
        kill_manager(elastic)
        assert client.run(pow, 2, burst).result(60) == 2**burst
    all_gone(elastic)


def kill_manager(stack: Stack) -> None:
    (manager,) = managers(stack)
    os.kill(manager, signal.SIGKILL)
    wait_for(lambda: managers(stack) not in ([], [manager]), 30, "the next manager")


def managers(stack: Stack) -> list[int]:
    """Without what one of them has just forked."""
    found = []
    for pid in with_role(stack.pid, "manager"):
        with suppress(OSError):
            found += [pid] if parent_of(pid) == stack.pid else []
    return found

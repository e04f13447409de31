"""Calls that do not want to end, and calls that end their worker each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bursa
import pytest
from conftest import Stack, myself, on_host, wait_for

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def stubborn(pids: str) -> None:
    """Ignores SIGTERM, as its children do, of which one leaves its session."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command = [sys.executable, "-c", STUBBORN]
    children = [subprocess.Popen(command), subprocess.Popen(command, start_new_session=True)]
    namespace = myself().split("/")[0]
    processes = [f"{namespace}/{pid}" for pid in (os.getpid(), *(child.pid for child in children))]
    Path(f"{pids}.new").write_text(" ".join(processes))
    Path(f"{pids}.new").rename(pids)
    time.sleep(600)


def poison(log: str) -> None:
    with open(log, "a") as file:
        file.write("started\n")
    print("about to drink", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_call_that_ignores_sigterm_ends_with_its_children(stack: Stack, tmp_path: Path, how: str) -> None:
    client, pids = stack.client(), tmp_path / "pids"
    future = client.submit(stubborn, [str(pids)], timeout=2.0 if how == "timeout" else None)
    wait_for(pids.exists, 30, "the start")
    processes = [on_host(process) for process in pids.read_text().split()]
    assert all(processes)
    if how == "cancel":
        client.cancel(future.task_id)
    with pytest.raises(bursa.TaskFailed) as caught:
        future.result(30)
    assert caught.value.code == ("cancelled" if how == "cancel" else "timeout")
    wait_for(lambda: not any(map(lives, processes)), 30, "the end of its processes")
    assert client.run(abs, -1).result(30) == 1


def test_a_poison_task_ends_after_its_retries_with_cause_and_last_output(
    stack: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    future = stack.client().run(poison, str(log))
    with pytest.raises(bursa.TaskFailed) as caught:
        future.result(60)
    failure = caught.value.failure
    assert (caught.value.code, failure["signal"], failure["attempt"]) == ("worker-died", 11, 3)
    assert log.read_text().count("started") == 3
    assert "about to drink" in caught.value.output
    assert failure["host"] and failure["peak_rss_kb"] > 0 and "SIGSEGV" in failure["message"]


def test_a_quick_killer_fails_alone(stack: Stack) -> None:
    """Calls of no length share a worker's pipe, and nobody knows which of them ended it."""

    def leaves(number: int) -> int:
        if number == 7:
            os._exit(3)
        return number

    client = stack.client()
    for _ in range(3):
        futures = [client.run(leaves, number) for number in range(60)]
        failed = {number: future.exception(60) for number, future in enumerate(futures)}
        assert {number: error.code for number, error in failed.items() if error} == {7: "worker-died"}

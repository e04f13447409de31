"""An executor that is stuck: its work runs elsewhere, and it does not stay."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from conftest import running, wait_for, with_role


def once_slow(path: str) -> int:
    """Ends at once when it was started before."""
    with open(path, "a") as log:
        log.write("started\n")
    if Path(path).read_text().count("started") == 1:
        time.sleep(600)
    return os.getppid()


def test_a_stopped_executor_is_replaced_and_its_call_runs_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    timers = {"BURSA_ENDPOINT_HEARTBEAT_MS": "300", "BURSA_ENDPOINT_THRESHOLD_MS": "1000"}
    with running(tmp_path / "home", **timers) as stack:
        client = stack.client()
        future = client.run(once_slow, str(log))
        wait_for(lambda: log.exists() and log.read_text(), 30, "the start")
        (stuck,) = with_role(stack.pid, "executor")
        os.kill(stuck, signal.SIGSTOP)
        assert future.result(30) > 0
        assert log.read_text().count("started") == 2
        assert len(with_role(stack.pid, "executor")) == 2
        explained = client.explain(future.task_id)
        assert explained["state"] == "success", explained

        os.kill(stuck, signal.SIGCONT)
        wait_for(lambda: stuck not in with_role(stack.pid, "executor"), 30, "its end: its place is taken")
        assert client.run(abs, -1).result(30) == 1

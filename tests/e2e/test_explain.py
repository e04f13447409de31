"""Why a task waits or how it ended, as its user asks."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import bursa
import pytest
from conftest import Stack, run_cli, running, wait_for, with_role

NOBODY = "00000000-0000-7000-8000-000000000000"


def explained(client: bursa.Client, future: bursa.TaskFuture, reason: str) -> dict:
    """What is said once the reason is `reason`; the sentence and the advice are always there."""

    def said() -> dict | None:
        found = client.explain(future)
        assert found["message"].endswith((".", ")")) or found["state"] == "failed", found
        assert found["next"]
        return found if found["reason"] == reason else None

    return wait_for(said, 30, f"the reason {reason}")


def test_a_running_and_a_succeeded_task(stack: Stack, client: bursa.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def waits(path):
        import time
        from pathlib import Path

        print("it has begun")
        while not Path(path).exists():
            time.sleep(0.01)

    future = client.run(waits, str(gate))
    said = explained(client, future, "running")
    assert said["since"] and said["endpoint"]["status"] == "online"
    assert said["charges"]["losses"] == 0
    place = said["place"]
    assert len(place["executor_id"]) == 36 and place["host"] and place["why"]
    assert f"It is at executor {place['executor_id']} on node {place['host']}" in said["message"]
    gate.touch()
    future.result(30)
    said = future.explain()
    assert said["state"] == said["reason"] == "success"
    assert "succeeded at" in said["message"] and said["last_lines"] == "it has begun"
    assert "was there already" in said["message"] or "the start of its worker" in said["message"]
    printed = run_cli(stack.home, "task", "explain", future.task_id)
    assert printed.returncode == 0
    assert printed.stdout.splitlines()[:2] == [said["message"], f"next: {said['next']}"]
    shown = run_cli(stack.home, "task", "explain", future.task_id, "--json")
    assert json.loads(shown.stdout) == said
    assert run_cli(stack.home, "task", "explain", NOBODY).returncode == 3


def test_a_task_that_was_ended_by_a_signal(client: bursa.Client) -> None:
    def dies():
        import os

        print("last words")
        os.kill(os.getpid(), 9)

    future = client.submit(dies, retries=0)
    with pytest.raises(bursa.TaskFailed):
        future.result(60)
    said = future.explain()
    assert said["failure"]["signal"] == 9 and "SIGKILL" in said["message"], said
    assert said["last_lines"] == "last words"
    assert "signal" in said["next"]


def test_a_task_that_waits_again_tells_its_loss(client: bursa.Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def dies_once_then_waits(path):
        import os
        import time

        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(3)
        time.sleep(600)

    future = client.submit(dies_once_then_waits, [str(mark)])
    wait_for(mark.exists, 30, "the first execution")
    said = explained(client, future, "running")
    assert wait_for(lambda: client.explain(future)["charges"]["losses"] == 1, 30, "the charge")
    said = explained(client, future, "running")
    assert said["failure"]["exit"] == 3 and "queued again" in said["message"], said
    assert future.cancel()
    assert future.explain()["state"] == "cancelled"


def test_a_task_whose_endpoint_is_offline(tmp_path: Path) -> None:
    quick = {"BURSA_SERVICE_HEARTBEAT_MS": "200", "BURSA_SERVICE_THRESHOLD_MS": "800"}
    with running(tmp_path / "home", **quick) as stack:
        client = stack.client()
        client.run(time.sleep, 0).result(30)
        (manager,) = with_role(stack.pid, "manager")
        os.kill(manager, signal.SIGSTOP)
        try:
            wait_for(lambda: client.endpoint_status(stack.endpoint_id)["status"] == "offline", 30, "offline")
            future = client.run(time.sleep, 0)
            said = explained(client, future, "endpoint-offline")
            assert "offline since" in said["message"] and "bursa endpoint start local" in said["next"]
        finally:
            os.kill(manager, signal.SIGCONT)
        future.result(30)

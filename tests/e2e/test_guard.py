"""The runaway guard: an endpoint whose workers do not start says why, and its tasks wait for the repair."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

from conftest import run_cli, running, wait_for, with_role

WHY = "libpython is not where it was"


def test_a_broken_python_degrades_the_endpoint_and_its_tasks_wait_for_the_repair(tmp_path: Path) -> None:
    python = tmp_path / "python"

    def becomes(script: str) -> None:
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.replace(python)

    becomes(f'exec {sys.executable} "$@"')
    with running(tmp_path / "home", BURSA_PYTHON=str(python)) as stack:
        client = stack.client()
        assert client.run(abs, -1).result(30) == 1
        becomes(f"echo {WHY} >&2; exit 3")
        for pid in with_role(stack.pid, "bursa.worker"):
            with contextlib.suppress(ProcessLookupError):  # workers end with their zygote
                os.kill(pid, signal.SIGKILL)

        futures = [client.run(abs, -n) for n in range(20)]

        def degraded() -> dict[str, Any] | None:
            status = client.endpoint_status(stack.endpoint_id)
            return status if "5 times in a row" in status.get("degraded", "") else None

        status = wait_for(degraded, 60, "degraded")
        assert WHY in status["degraded"] and "exit code 3" in status["degraded"], status
        assert (status["status"], status["slots_free"]) == ("online", 0)
        assert {client.status(future) for future in futures} <= {"waiting-for-ep", "waiting-for-launch"}
        assert WHY in json.dumps(client.explain(futures[0].task_id))
        assert "online (degraded)" in run_cli(stack.home, "endpoint", "list").stdout
        assert WHY in run_cli(stack.home, "endpoint", "status", stack.endpoint_id).stdout
        headers = {"Authorization": f"Bearer {stack.token}"}
        request = urllib.request.Request(f"{stack.url}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"bursa_endpoints_degraded 1" in answer.read()

        becomes(f'exec {sys.executable} "$@"')
        assert [future.result(60) for future in futures] == list(range(20))
        assert "degraded" not in client.endpoint_status(stack.endpoint_id)

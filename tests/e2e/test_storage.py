"""A disk that fills up under a running service."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Stack, run_cli, running, wait_for

DISK = "128m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as balloon:
        for size in [1 << 20, 1 << 12, 1]:
            try:
                while balloon.write(bytes(size)):
                    pass
            except OSError:
                continue


def ask(stack: Stack, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{stack.url}/api/v1{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def double(data: bytes) -> bytes:
    return data + data


def test_a_full_disk_refuses_new_work_loses_nothing_and_passes(disk: Path) -> None:
    with running(disk / "home") as stack:
        client = stack.client()
        assert client.run(double, b"1").result(30) == b"11"
        done = client.task(client.run(double, b"2").task_id, wait=30)
        fill(disk / "balloon")
        # 12 MB of arguments in rows: more than the space that the store has set aside.
        arguments = base64.b64encode(bytes(60_000)).decode()
        call = {"function_id": done["function_id"], "endpoint_id": stack.endpoint_id, "args": arguments}
        accepted: list[str] = []
        for _ in range(8):
            status, answer = ask(stack, "/tasks", {"tasks": [call] * 200})
            if status != 200:
                break
            accepted += answer["task_ids"]
        assert status == 503 and answer["error"]["code"] == "unavailable", answer
        status, health = ask(stack, "/health")
        assert status == 503 and health["status"] == "failing", health
        assert "full" in health["why"] or "disk" in health["why"], health

        (disk / "balloon").unlink()
        wait_for(lambda: ask(stack, "/health")[0] == 200, 30, "a healthy service")
        assert client.run(double, b"3").result(30) == b"33"
        # They were no pickles, so they end in failure: but each ends.
        for first in range(0, len(accepted), 500):
            tasks = client.tasks(accepted[first : first + 500], wait=50)
            assert {task["state"] for task in tasks} <= {"failed", "success"}


def test_a_damaged_database_is_told_once(tmp_path: Path) -> None:
    service = tmp_path / "home/service"
    service.mkdir(parents=True)
    (service / "bursa.db").write_bytes(b"no database " * 1_000)
    ended = run_cli(tmp_path / "home", "serve", "--http", "127.0.0.1:0")
    assert ended.returncode == 1
    assert ended.stderr.count("the file is not a database") == 1 and "bursa restore" in ended.stderr, (
        ended.stderr
    )
    assert (service / "bursa.db").read_bytes() == b"no database " * 1_000

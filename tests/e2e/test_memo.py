"""Memoized results: given without the endpoint, kept over any death, forgotten when asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import bursa
import pytest
from conftest import BINARY, Stack, alive, descendants, environment, run_cli, running, start, wait_for

LARGE = 200_000


def noted(path: str, value: int, size: int = 0) -> tuple[int, bytes]:
    """Leaves a line in `path` each time it runs."""
    print("running")
    with open(path, "a") as file:
        file.write(f"{value}\n")
    return value * value, bytes(size)


def failing(path: str) -> None:
    with open(path, "a") as file:
        file.write("ran\n")
    raise ValueError("as always")


def runs(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def counter(client: bursa.Client, name: str) -> int:
    """A counter of `/metrics`."""
    import urllib.request

    request = urllib.request.Request(
        f"{client.url}/metrics", headers={"Authorization": f"Bearer {client._token}"}
    )
    text = urllib.request.urlopen(request, timeout=30).read().decode()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"bursa_{name} "))


def test_an_equal_call_runs_once(stack: Stack, client: bursa.Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = client.run(noted, str(log), 7, memoize=True)
    assert (first.result(30)[0], first.memo) == (49, "stored")
    second = client.run(noted, str(log), 7, memoize=True)
    assert (second.result(30)[0], second.memo) == (49, "hit")
    assert client.run(noted, str(log), 7).memo is None
    assert client.run(noted, str(log), 8, memoize=True).result(30)[0] == 64
    wait_for(lambda: runs(log) == 3, 30, "the run that did not ask")
    shown = client.task(second)
    assert (shown["memo"], shown["starts"]) == ("hit", 0)
    assert "output" not in shown and "run_seconds" not in shown
    assert client.task(first)["output"] == b"running\n"
    told = run_cli(stack.home, "task", "show", second.task_id).stdout
    assert "memo " in told and "hit" in told
    assert client.explain(second)["state"] == "success"


def test_ten_thousand_hits_reach_no_endpoint(client: bursa.Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = [client.run(noted, str(log), n, memoize=True) for n in range(50)]
    values = [future.result(60) for future in first]
    before = counter(client, "attempts_dispatched_total")
    batch = client.batch(memoize=True)
    for n in range(10_000):
        batch.add(noted, str(log), n % 50)
    futures = batch.submit()
    assert [future.result(60) for future in futures] == [values[n % 50] for n in range(10_000)]
    assert {future.memo for future in futures} == {"hit"}
    assert (counter(client, "attempts_dispatched_total"), runs(log)) == (before, 50)


def test_what_did_not_succeed_runs_again(client: bursa.Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for count in (1, 2):
        with pytest.raises(ValueError, match="as always"):
            client.run(failing, str(log), memoize=True).result(30)
        assert runs(log) == count
    assert counter(client, "memo_hits_total") >= 0


def kill_everything(stack: Stack) -> None:
    below = descendants(stack.pid)
    for pid in [stack.pid, *below]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stack.process.wait(10)
    wait_for(lambda: not alive(below), 10, "their end")


def test_what_was_told_stored_outlives_a_kill_of_everything_and_needs_no_endpoint(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    stack = start(home)
    with bursa.Client(stack.url, stack.token) as client:
        small = client.run(noted, str(log), 3, memoize=True)
        large = client.run(noted, str(log), 4, LARGE, memoize=True)
        assert (small.result(30)[0], large.result(30)[0]) == (9, 16)
        assert (small.memo, large.memo) == ("stored", "stored")
        kill_everything(stack)
    # The service alone: nobody could run anything.
    ports = ["--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0"]
    command = [str(BINARY), "serve", "--json", "--home", str(home), *ports]
    service = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(service.stdout.readline())["url"]
        with bursa.Client(url, stack.token) as client:
            calls = [client.run(noted, str(log), *args, memoize=True) for args in ((3,), (4, LARGE))]
            assert [call.result(30) for call in calls] == [(9, b""), (16, bytes(LARGE))]
            assert [call.memo for call in calls] == ["hit", "hit"]
            waiting = client.run(noted, str(log), 5, memoize=True)
            assert client.status(waiting) == "waiting-for-ep"
            assert client.endpoint_status(stack.endpoint_id)["status"] == "offline"
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    files = [file for file in (home / "service/payloads").rglob("*") if file.is_file()]
    assert len(files) == 1, "the large result is there once"
    assert runs(log) == 2


JOB = """
def noted(path: str, value: int):
    with open(path, "a") as file:
        file.write("ran\\n")
    return value
"""


def test_the_commands(tmp_path: Path) -> None:
    log, job = tmp_path / "log", tmp_path / "job.py"
    job.write_text(JOB)

    def call() -> int:
        done = run_cli(stack.home, "run", "--memoize", str(job), str(log), "7")
        assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
        return runs(log)

    def memo(*words: str) -> dict[str, int]:
        return json.loads(run_cli(stack.home, "--json", "memo", *words).stdout)

    with running(tmp_path / "home") as stack:
        # Each call is a process of its own that registers the function again.
        assert [call(), call()] == [1, 1]
        assert memo("show")["entries"] == 1 and memo("show")["hits"] == 1
        functions = json.loads(run_cli(stack.home, "--json", "function", "list").stdout)["functions"]
        assert len(functions) == 2
        assert memo("clear", "--function", functions[0]["function_id"]) == {"removed": 1}
        assert [call(), call()] == [2, 2]
        assert memo("clear", "--endpoint", "local") == {"removed": 1}
        assert call() == 3
        assert run_cli(stack.home, "memo", "clear").stdout == "1 memoized results are forgotten\n"
        assert call() == 4
        for function in json.loads(run_cli(stack.home, "--json", "function", "list").stdout)["functions"]:
            assert run_cli(stack.home, "function", "delete", function["function_id"]).returncode == 0
        assert memo("show")["entries"] == 0
        assert call() == 5
        wrong = run_cli(stack.home, "memo", "clear", "--function", "0" * 8)
        assert wrong.returncode != 0 and "id" in wrong.stderr
        wrong = run_cli(stack.home, "memo", "clear", "--endpoint", "nope")
        assert wrong.returncode == 1 and "'nope' is neither an endpoint of this home" in wrong.stderr
        assert "bursa endpoint list" in wrong.stderr


def test_a_result_outlives_its_task_and_goes_after_its_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    days = str(1 / 86_400)  # a second
    settings = {"BURSA_RETENTION_DAYS": days, "BURSA_MEMO_TTL_DAYS": str(8 / 86_400)}
    with running(tmp_path / "home", **settings) as stack:
        client = stack.client()
        first = client.run(noted, str(log), 2, LARGE, memoize=True)
        first.result(30)

        def is_gone() -> bool:
            try:
                client.task(first.task_id)
            except bursa.NotFound:
                return True
            return False

        wait_for(is_gone, 30, "the removal of the task")
        second = client.run(noted, str(log), 2, LARGE, memoize=True)
        assert (second.result(30), second.memo) == ((4, bytes(LARGE)), "hit")
        wait_for(lambda: client.memo()["entries"] == 0, 60, "the end of the result's time")
        third = client.run(noted, str(log), 2, LARGE, memoize=True)
        assert (third.result(30)[0], third.memo, runs(log)) == (4, "stored", 2)

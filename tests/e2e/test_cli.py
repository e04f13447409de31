"""The command line: contract for scripts, exit codes, and clear refusals."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import bursa
from conftest import BINARY, ROOT, Stack, environment, run_cli

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_version_and_config(tmp_path: Path) -> None:
    assert run_cli(tmp_path, "version").stdout.startswith("bursa 0.")
    assert json.loads(run_cli(tmp_path, "version", "--json").stdout)["api"] == "v1"
    shown = json.loads(run_cli(tmp_path, "config", "show", "--json", BURSA_HTTP="127.0.0.1:7777").stdout)
    http = shown["keys"]["service.http"]
    assert (http["value"], http["source"]) == ("127.0.0.1:7777", "environment")


def test_a_broken_config_names_key_and_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for text, named in [
        ('[service]\nhtp = "x"\n', "service.htp"),
        ("[service\n", "config.toml:1"),
        ('[endpoint]\nworkers = "many"\n', "endpoint.workers"),
        ("[endpoint]\nworkers = [1]\n", "endpoint.workers"),
    ]:
        config.write_text(text)
        refused = run_cli(tmp_path, "up", "--http", "127.0.0.1:0")
        assert refused.returncode == 78, text
        assert named in refused.stderr and "config.toml" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


def test_without_a_service(tmp_path: Path) -> None:
    assert run_cli(tmp_path, "task", "list").returncode == 4
    away = run_cli(tmp_path, "task", "list", BURSA_URL="http://127.0.0.1:9", BURSA_TOKEN="x")
    assert away.returncode == 5
    assert "bursa up" in away.stderr


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run_cli(tmp_path / "home", "up", "--http", f"127.0.0.1:{port}")
    assert refused.returncode != 0
    assert str(port) in refused.stderr and "in use" in refused.stderr


def test_an_unusable_home_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = run_cli(tmp_path / "file" / "home", "up", "--http", "127.0.0.1:0")
    assert refused.returncode != 0
    assert str(tmp_path / "file") in refused.stderr


def test_a_python_that_cannot_run_workers_is_told(tmp_path: Path) -> None:
    for python, why in [("/no/such/python", "No such file"), ("/bin/false", "exit status")]:
        refused = run_cli(tmp_path / "home", "up", "--http", "127.0.0.1:0", "--python", python)
        assert refused.returncode == 78
        assert python in refused.stderr and why in refused.stderr


def test_a_second_up_is_refused_and_names_the_first(stack: Stack) -> None:
    refused = run_cli(stack.home, "up", "--http", "127.0.0.1:0")
    assert refused.returncode == 75
    assert f"process {stack.pid} on node {socket.gethostname()}" in refused.stderr, refused.stderr


def test_secrets_are_private(stack: Stack) -> None:
    assert stat.S_IMODE(stack.home.stat().st_mode) == 0o700
    secrets = [*stack.home.rglob("*.key"), stack.home / "client.toml", *stack.home.rglob("bursa.db*")]
    assert len(secrets) >= 4
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_listings(stack: Stack, client: bursa.Client) -> None:
    future = client.run(len, [1, 2])
    assert future.result(30) == 2
    tasks = json.loads(run_cli(stack.home, "task", "list", "--json", "--limit", "1000").stdout)["tasks"]
    assert future.task_id in {task["task_id"] for task in tasks}
    shown = json.loads(run_cli(stack.home, "task", "show", future.task_id, "--json").stdout)
    assert shown["state"] == "success"
    assert "success" in run_cli(stack.home, "task", "show", future.task_id).stdout
    function = run_cli(stack.home, "function", "show", shown["function_id"])
    assert function.returncode == 0 and "len" in function.stdout
    assert "local" in run_cli(stack.home, "endpoint", "list").stdout
    status = json.loads(run_cli(stack.home, "endpoint", "status", "local", "--json").stdout)
    assert (status["status"], status["slots_total"]) == ("online", 2)
    missing = run_cli(stack.home, "task", "show", NOBODY)
    assert missing.returncode == 3 and NOBODY in missing.stderr


def test_token_commands(stack: Stack) -> None:
    made = json.loads(run_cli(stack.home, "token", "new", "laptop", "--json").stdout)
    assert run_cli(stack.home, "task", "list", BURSA_URL=stack.url, BURSA_TOKEN=made["token"]).returncode == 0
    assert "laptop" in run_cli(stack.home, "token", "list").stdout
    assert run_cli(stack.home, "token", "revoke", made["id"]).returncode == 0
    refused = run_cli(stack.home, "task", "list", BURSA_URL=stack.url, BURSA_TOKEN=made["token"])
    assert refused.returncode == 4
    assert run_cli(stack.home, "token", "show").stdout.strip() == stack.token


def test_run_calls_a_function_of_a_file(stack: Stack) -> None:
    hello = str(ROOT / "examples/hello.py")
    greeting = run_cli(stack.home, "run", f"{hello}::greet", "--name", "Ada")
    assert (greeting.returncode, greeting.stdout.strip()) == (0, "Hello, Ada!"), greeting.stderr
    as_json = run_cli(stack.home, "--json", "run", f"{hello}::area", "2.0", "3.5")
    assert json.loads(as_json.stdout)["result"] == 7.0
    wrong = run_cli(stack.home, "run", f"{hello}::area", "two", "3.5")
    assert wrong.returncode == 2 and "width" in wrong.stderr
    failed = run_cli(stack.home, "run", f"{hello}::area", "-1", "1")
    assert failed.returncode == 1 and "ValueError" in failed.stderr


def test_an_endpoint_of_its_own(stack: Stack) -> None:
    made = json.loads(run_cli(stack.home, "endpoint", "new", "second", "--json").stdout)
    assert run_cli(stack.home, "endpoint", "new", "second").returncode != 0
    started = run_cli(stack.home, "endpoint", "start", "second", "--workers", "1", "--detach")
    assert started.returncode == 0, started.stderr
    try:
        with bursa.Client(stack.url, stack.token) as client:
            assert client.run(sum, [1, 2], endpoint_id=made["endpoint_id"]).result(30) == 3
        again = run_cli(stack.home, "endpoint", "start", "second")
        assert again.returncode == 75
    finally:
        stopped = run_cli(stack.home, "endpoint", "stop", "second")
    assert stopped.returncode == 0, stopped.stderr
    assert run_cli(stack.home, "endpoint", "delete", "second").returncode == 0


def test_a_revoked_key_is_replaced_in_its_own_home(stack: Stack) -> None:
    made = json.loads(run_cli(stack.home, "endpoint", "new", "spare", "--json").stdout)
    key = stack.home / "endpoints/spare/curve.key"
    before = key.read_text()
    revoked = run_cli(stack.home, "endpoint", "revoke", "spare", "--json")
    assert json.loads(revoked.stdout) == {"revoked": made["endpoint_id"], "new_key": True}
    assert key.read_text() != before
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run_cli(stack.home, "endpoint", "revoke", NOBODY).returncode == 3
    assert run_cli(stack.home, "endpoint", "delete", "spare").returncode == 0


def test_nobody_who_reads_is_no_crash(stack: Stack) -> None:
    env = environment(stack.home)
    for command in (["config", "show"], ["task", "list"], ["version"]):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            ended = subprocess.run(
                [str(BINARY), *command], stdout=out, stderr=subprocess.PIPE, env=env, timeout=30
            )
        assert (ended.returncode, ended.stderr) == (0, b""), command

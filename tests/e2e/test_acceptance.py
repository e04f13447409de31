"""What users, operators and scripts were promised, each seen once on the real product."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bursa
import msgpack
import numpy as np
import pytest
from bursa import serialize
from bursa.funcx import FuncXClient
from bursa.websocket import WebSocket
from conftest import (
    BINARY,
    Stack,
    descendants,
    environment,
    myself,
    on_host,
    run_cli,
    running,
    start,
    wait_for,
    with_role,
    zygote_of,
)
from test_rest import NOBODY, a_task, b64, call

OURS = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def fxc(stack: Stack) -> Iterator[FuncXClient]:
    with bursa.Client(stack.url, stack.token) as client:
        yield FuncXClient(client=client)


def area(radius: float) -> tuple[float, str]:
    """Self-contained: its globals are imports."""
    return round(math.pi * radius * radius, 3), f"{sys.version_info[0]}.{sys.version_info[1]}"


def another_python() -> str | None:
    """A Python of another minor than this one, if the machine has any."""
    for minor in range(9, 20):
        if minor == sys.version_info[1]:
            continue
        folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
        folders += sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin"))
        for program in (folder / f"python3.{minor}" for folder in folders):
            asked = "import sys; print('%d.%d' % sys.version_info[:2])"
            if program.is_file():
                said = subprocess.run([program, "-IS", "-c", asked], capture_output=True, text=True)
                if said.stdout.strip() == f"3.{minor}":
                    return str(program)
    return None


# The command line


def test_help_is_grouped_and_tells_exit_codes(tmp_path: Path) -> None:
    text = run_cli(tmp_path, "--help").stdout
    for word in ["Host:", "Use:", "Settings:", "Exit codes:", "BURSA_TOKEN", "--json", "--home"]:
        assert word in text
    for code in ["0", "1", "2", "3", "4", "5", "75", "78"]:
        assert re.search(rf"^  {code} +\w", text, re.MULTILINE), code


def test_every_command_speaks_json(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        task = client.run(len, [1])
        assert task.result(30) == 1
        function = client.task(task)["function_id"]
    for words in [
        ["version"],
        ["config", "show"],
        ["token", "show"],
        ["token", "list"],
        ["endpoint", "list"],
        ["endpoint", "status", "local"],
        ["task", "list"],
        ["task", "show", task.task_id],
        ["function", "list"],
        ["function", "show", function],
    ]:
        shown = run_cli(stack.home, *words, "--json")
        assert shown.returncode == 0, words
        assert isinstance(json.loads(shown.stdout), dict), words
    for words in [["task", "show", NOBODY], ["function", "show", NOBODY], ["endpoint", "status", NOBODY]]:
        refused = run_cli(stack.home, *words, "--json")
        assert refused.returncode == 3
        assert NOBODY in json.loads(refused.stderr)["error"]["message"]


def test_exit_codes_are_those_of_the_help(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main():\n    return 1\n")
    call_it = ["run", str(program)]
    away = {"BURSA_URL": "http://127.0.0.1:9", "BURSA_TOKEN": "x"}
    wrong = {"BURSA_URL": stack.url, "BURSA_TOKEN": "wrong"}
    assert run_cli(stack.home, *call_it).returncode == 0
    assert run_cli(stack.home, "no-such-command").returncode == 2
    assert run_cli(stack.home, "task", "show", "no-uuid").returncode == 2
    assert run_cli(stack.home, "run", "--endpoint", NOBODY, str(program)).returncode == 3
    assert run_cli(tmp_path / "empty", *call_it).returncode == 4
    assert run_cli(stack.home, *call_it, **wrong).returncode == 4
    assert run_cli(stack.home, *call_it, **away).returncode == 5


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[service]\nhttp = "127.0.0.1:1111"\n[endpoint]\nworkers = 3\n')

    def shown(**more: str) -> dict[str, Any]:
        return json.loads(run_cli(tmp_path, "config", "show", "--json", **more).stdout)["keys"]

    assert shown()["service.http"]["value"] == "127.0.0.1:1111"
    assert shown()["endpoint.workers"]["value"] == "3"
    assert "config.toml" in shown()["endpoint.workers"]["source"]
    assert shown(BURSA_HTTP="127.0.0.1:2222")["service.http"]["value"] == "127.0.0.1:2222"
    assert shown()["service.zmq"]["source"] == "default"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flag = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run_cli(tmp_path, "serve", "--http", flag, BURSA_HTTP="127.0.0.1:2222")
    assert flag in refused.stderr


def test_run_shows_where_the_task_stands(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "def nap(seconds: float):\n    import time\n    time.sleep(seconds)\n    return 'slept'\n"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [str(BINARY), "run", str(program), "1.5"],
        env=environment(stack.home),
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    out, _ = process.communicate(timeout=60)
    seen = os.read(leader, 65_536).decode()
    os.close(leader)
    assert out == b"slept\n"
    assert re.search(r"submitted.*running.*ended", seen, re.DOTALL), seen


# Up


def test_the_human_line_names_the_file_of_the_token_and_not_the_token(tmp_path: Path) -> None:
    command = [str(BINARY), "up", "--home", str(tmp_path / "home"), "--http", "127.0.0.1:0", "--workers", "1"]
    process = subprocess.Popen(
        command, env=environment(tmp_path / "home"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = "".join(process.stdout.readline() for _ in range(3))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    token = run_cli(tmp_path / "home", "token", "show").stdout.strip()
    assert "http://127.0.0.1:" in said and "client.toml" in said
    assert len(token) > 20 and token not in said + out + err
    assert process.returncode == 0


def test_everything_at_home_is_private(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        big = os.urandom(200_000)
        assert stack.client().run(lambda data: data, big).result(30) == big
        for path in [stack.home, *stack.home.rglob("*")]:
            if "__pycache__" in path.parts:
                continue  # Python's own, below a directory that others cannot enter
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path}: {mode:o}"
        assert any((stack.home / "service/payloads").rglob("*"))


def test_a_home_that_was_used_keeps_its_ids_tasks_and_token(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        task = first.client().run(len, [1, 2, 3])
        assert task.result(30) == 3
    with running(tmp_path / "home") as second:
        assert (second.endpoint_id, second.token) == (first.endpoint_id, first.token)
        client = second.client()
        assert client.result(task.task_id, timeout=30) == 3
        assert client.run(len, [1]).result(30) == 1
        assert len(client.endpoints()) == 1


def test_handed_back_work_costs_no_retry(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def once_slow(path):
        with open(path, "a") as file:
            file.write("started\n")
        if os.path.getsize(path) == len("started\n"):
            time.sleep(60)
        return "finished"

    stack = start(tmp_path / "home")
    client = bursa.Client(stack.url, stack.token)
    task = client.submit(once_slow, (str(log),), {}, retries=0).task_id
    wait_for(lambda: log.exists() and "started" in log.read_text(), 30, "the first start")
    client.close()
    assert stack.stop() < 5
    with running(tmp_path / "home") as stack:
        assert stack.client().result(task, timeout=30) == "finished"


def test_an_unwritable_home_is_told(tmp_path: Path) -> None:
    refused = run_cli(Path("/proc/home"), "up", "--http", "127.0.0.1:0")
    assert refused.returncode not in {0, 101}
    assert "/proc/home" in refused.stderr and "panicked" not in refused.stderr


def test_an_endpoint_in_the_foreground_ends_with_its_children(stack: Stack) -> None:
    assert run_cli(stack.home, "endpoint", "new", "front").returncode == 0
    command = [str(BINARY), "endpoint", "start", "front", "--workers", "1", "--json"]
    process = subprocess.Popen(command, env=environment(stack.home), stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(process.stdout.readline())
        assert (ready["name"], ready["pid"]) == ("front", process.pid)
        below = descendants(process.pid)
        assert with_role(process.pid, "manager") and with_role(process.pid, "executor")
        assert run_cli(stack.home, "endpoint", "stop", "front").returncode == 0
        assert process.wait(timeout=10) == 0
        assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    finally:
        process.kill()
        run_cli(stack.home, "endpoint", "delete", "front")


# REST


def test_listing_filters_pages_and_groups(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        body = b64(serialize.dumps_code(lambda x: x))
        function = call(stack, "POST", "/api/v1/functions", {"name": "paged", "body": body})[1]["function_id"]
        group = str(uuid.uuid4())
        batch = {"group_id": group, "tasks": [a_task(stack, function) for _ in range(25)]}
        made = call(stack, "POST", "/api/v1/tasks", batch)[1]["task_ids"]
        assert {task["state"] for task in client.tasks(made, wait=30)} == {"success"}
    listed, after = [], ""
    while True:
        page = call(stack, "GET", f"/api/v1/tasks?group_id={group}&limit=10{after}")[1]
        listed += page["tasks"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [task["task_id"] for task in listed] == made[::-1], "newest first, each once"
    assert all(task["ended_at"] >= task["submitted_at"] for task in listed)
    for query, count in [
        (f"function_id={function}", 25),
        (f"function_id={function}&state=success", 25),
        (f"function_id={function}&state=failed", 0),
        (f"endpoint_id={stack.endpoint_id}&group_id={group}", 25),
        (f"group_id={group}&function_id={NOBODY}", 0),
    ]:
        assert len(call(stack, "GET", f"/api/v1/tasks?{query}&limit=100")[1]["tasks"]) == count, query
    assert call(stack, "GET", "/api/v1/tasks?state=nonsense")[0] in {400, 422}


def test_long_poll_and_get_many(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        slow = client.run(time.sleep, 1)
        client.wait_accepted([slow])
        asked = time.monotonic()
        assert client.task(slow, wait=0.2)["state"] != "success"
        assert time.monotonic() - asked < 1
        assert client.task(slow, wait=30)["state"] == "success"
        assert time.monotonic() - asked < 10, "it answers at the end and not at the end of the wait"
        fast = client.run(len, [])
        states = [task["state"] for task in client.tasks([slow, fast], wait=30)]
        assert states == ["success", "success"]
    status, answer = call(stack, "POST", "/api/v1/tasks/get", {"task_ids": [slow.task_id, NOBODY]})
    assert status == 404 and NOBODY in answer["error"]["message"]


def test_functions_are_searched_and_deleted(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        function = client.register(len, name="sharpness_of_leaf", description="Edges in botany")
        for word in ["sharpness_of", "BOTANY"]:
            assert [found["function_id"] for found in client.functions(search=word)] == [function]
        assert client.run(function, [1, 2]).result(30) == 2
        client.delete_function(function)
        assert client.functions(search="botany") == []
        with pytest.raises(bursa.NotFound, match=function):
            client.run(function, [1]).result(30)


def test_an_online_endpoint_tells_its_python(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        status = client.endpoint_status(stack.endpoint_id)
    assert (status["status"], status["slots_total"]) == ("online", 2)
    assert status["python"] == OURS
    assert status["host"] and status["software"].startswith("bursa ")


def test_metrics_need_the_token_and_are_prometheus_text(stack: Stack) -> None:
    assert call(stack, "GET", "/metrics", token=None)[0] == 401


# funcX


def test_the_whole_funcx_client(fxc: FuncXClient, stack: Stack) -> None:
    function = fxc.register_function(
        lambda x, y=0: x + y, function_name="plus_for_funcx", description="Adds for funcX"
    )
    where = {"endpoint_id": stack.endpoint_id, "function_id": function}
    batch = fxc.create_batch()
    for number in range(20):
        batch.add(number, y=1, **where)
    tasks = fxc.batch_run(batch)
    assert [fxc.get_result(task, timeout=30) for task in tasks] == list(range(1, 21))
    assert {seen["status"] for seen in fxc.get_batch_status(tasks).values()} == {"success"}
    seen = fxc.get_batch_result(tasks)
    assert [seen[task]["result"] for task in tasks] == list(range(1, 21))
    mapped = fxc.map_run(range(10), **where)
    assert [fxc.get_result(task) for task in mapped] == list(range(10))
    assert fxc.get_endpoint_status(stack.endpoint_id)["status"] == "online"
    assert [found["function_id"] for found in fxc.search_function("plus_for_funcx")] == [function]
    container = fxc.register_container("python:3.11", "docker", name="py")
    shown = {"container_uuid": container, "name": "py", "type": "docker", "location": "python:3.11"}
    assert fxc.get_container(container, "docker") == shown


def test_funcx_waits_then_says_pending_and_raises_the_users_error(fxc: FuncXClient, stack: Stack) -> None:
    slow = fxc.run(0.5, endpoint_id=stack.endpoint_id, function_id=fxc.register_function(time.sleep))
    with pytest.raises(bursa.TaskPending):
        fxc.get_result(slow, timeout=0.01)
    assert fxc.get_result(slow, timeout=30) is None
    bad = fxc.run(0, endpoint_id=stack.endpoint_id, function_id=fxc.register_function(lambda x: 1 / x))
    with pytest.raises(ZeroDivisionError) as caught:
        fxc.get_result(bad)
    assert "ZeroDivisionError" in str(caught.value.__cause__)


# Workers


def test_a_worker_of_another_minor_needs_nothing_installed_and_refuses_our_code(tmp_path: Path) -> None:
    python = another_python()
    if python is None:
        return  # test_failures.py shows the refusal with a forged header
    empty = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(empty)], check=True)
    with running(tmp_path / "home", "--python", str(empty / "bin/python")) as stack:
        client = stack.client()
        theirs = client.endpoint_status(stack.endpoint_id)["python"]
        with pytest.raises(bursa.TaskFailed) as caught:
            client.run(lambda x: x + 1, 1).result(30)
        assert caught.value.code == "deserialize-mismatch", caught.value
        assert theirs in str(caught.value) and OURS in str(caught.value)
        # What is self-contained runs from its source, and a command line needs none.
        assert client.run(area, 2).result(30) == (12.566, theirs)
        shell = bursa.ShellFunction("{python} -c 'import sys; print(sys.version_info[1])'")
        said = client.run(shell, python=str(empty / "bin/python")).result(30)
        assert (said.stdout.strip(), said.returncode) == (theirs.split(".")[1], 0), said
        # Under the worker's own minor it works: the SDK's sources and its one dependency, in pure Python.
        shutil.copytree(Path(msgpack.__file__).parent, tmp_path / "sources/msgpack")
        program = (
            "import bursa\nk = 41\n"
            "with bursa.Client() as client:\n    print(client.run(lambda x: x + k, 1).result(30))\n"
        )
        sources = f"{Path(bursa.__file__).parents[1]}:{tmp_path / 'sources'}"
        done = subprocess.run(
            [str(empty / "bin/python"), "-c", program],
            env=environment(stack.home, PYTHONPATH=sources),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "42", done.stderr


def test_arrays_of_every_kind_come_back(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client:
        arrays = [
            np.zeros((0, 3)),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.array(["a", "bc"]),
            np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
            np.ma.masked_array([1, 2], [True, False]),
        ]
        for back, array in zip(client.run(lambda a: a, arrays).result(30), arrays):
            assert type(back) is type(array) and back.dtype == array.dtype
            assert np.array_equal(back, array)
        assert client.run(lambda: np.float32(1.5)).result(30) == np.float32(1.5)


def test_the_zygote_never_has_user_code_and_workers_are_reused(stack: Stack) -> None:
    def remember():
        import builtins

        builtins.bursa_seen = getattr(builtins, "bursa_seen", 0) + 1
        return myself(), builtins.bursa_seen

    with bursa.Client(stack.url, stack.token) as client:
        first, _ = client.run(remember).result(30)
        pid = on_host(first)
        zygote = zygote_of(pid)
        os.kill(pid, signal.SIGKILL)
        fresh = wait_for(
            lambda: next((w for w in client.map(_who, range(4)) if w != first), None), 30, "another worker"
        )
        assert zygote_of(on_host(fresh)) == zygote, "forked from the same zygote, which is untouched"
        assert Path(f"/proc/{zygote}/status").read_text().count("Threads:\t1\n") == 1
        seen = [client.run(remember).result(30) for _ in range(6)]
        assert len({one[0] for one in seen}) <= 2, "workers are warm"


def _who(_: int) -> str:
    return myself()


# Logs


def test_logs_have_ids_and_neither_payloads_nor_tokens(tmp_path: Path) -> None:
    secret = "payload-that-is-secret-4711"
    with running(tmp_path / "home", BURSA_LOG="debug") as stack:
        client = stack.client()
        good = client.run(lambda text: print(text) or text[::-1], secret)
        assert good.result(30) == secret[::-1]

        def bad(text):
            raise ValueError(text)

        with pytest.raises(ValueError, match=secret):
            client.run(bad, secret).result(30)
        with pytest.raises(bursa.NotFound):
            client.status(NOBODY)
        token = stack.token
    logs = {path: path.read_text() for path in (tmp_path / "home/logs").iterdir()}
    logs[tmp_path / "stderr"] = (tmp_path / "home.stderr").read_text()
    for path, text in logs.items():
        for hidden in [secret, secret[::-1], token]:
            assert hidden not in text, path
    service = logs[tmp_path / "home/logs/service.log"]
    assert re.search(rf"accepted task={good.task_id}", service)
    assert re.search(rf"ended task={good.task_id}", service)
    requests = [line for line in service.splitlines() if "bursa_service::http::around: request" in line]
    assert requests and all("request_id=" in line for line in requests)


# The stream


def test_a_stream_goes_on_from_its_cursor_and_repeats_cost_nothing_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        function = uuid.UUID(stack.client().register(lambda x: x * 10)).bytes
        group, first, second = (uuid.uuid4().bytes for _ in range(3))

        def submit(stream: WebSocket, task: bytes, value: int, number: int) -> None:
            calls = {
                "function": function,
                "endpoint": uuid.UUID(stack.endpoint_id).bytes,
                "tasks": task,
                "args": [serialize.dumps_call((value,), {})],
            }
            message = {"type": "submit", "id": number, "group": group, "calls": [calls]}
            stream.send(msgpack.packb(message))

        stream = _stream(stack)
        submit(stream, first, 1, 1)
        one = _next(stream, "results")
        assert (one["tasks"], serialize.loads(one["payloads"][0])) == (first, 10)
        stream.close()
        (service,) = with_role(stack.pid, "service")
        os.kill(service, signal.SIGKILL)
        wait_for(lambda: with_role(stack.pid, "service") not in ([], [service]), 30, "another service")
        stream = wait_for(lambda: _stream_if_up(stack), 30, "a stream")
        stream.send(msgpack.packb({"type": "subscribe", "groups": [group], "cursor": one["cursor"]}))
        submit(stream, first, 1, 2)
        assert _next(stream, "accepted")["id"] == 2, "the same again is accepted"
        submit(stream, first, 7, 3)
        assert _next(stream, "error")["error"]["status"] == 409, "with other bytes it is a conflict"
        submit(stream, second, 2, 4)
        two = _next(stream, "results")
        assert (two["tasks"], two["cursor"] > one["cursor"]) == (second, True), "only what is new"
        stream.close()


def _stream(stack: Stack) -> WebSocket:
    stream = WebSocket(f"{stack.url}/api/v1/stream", stack.token)
    assert _next(stream, "welcome")["cursor"] >= 0
    return stream


def _stream_if_up(stack: Stack) -> WebSocket | None:
    try:
        return _stream(stack)
    except (OSError, bursa.BursaError):
        return None


def _next(stream: WebSocket, kind: str) -> dict[str, Any]:
    while True:
        data = stream.receive()
        message = {} if data is None else msgpack.unpackb(data)
        if message.get("type") == kind:
            return message

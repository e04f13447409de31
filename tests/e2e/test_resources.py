"""Calls that say what they need of a node: together they never have more than there is."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import bursa
import pytest
from conftest import Stack, run_cli, running, start, wait_for, with_role

TWO, THREE = {"cores": 2}, {"cores": 3}


def holds(name: str, directory: str) -> float:
    """Runs until the file `directory/name.go` is there; when it began."""
    began = time.time()
    Path(directory, f"{name}.on").touch()
    while not Path(directory, f"{name}.go").exists():
        time.sleep(0.01)
    return began


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory):
    """An endpoint that pretends to have four cores and 8 GB."""
    home = tmp_path_factory.mktemp("resources") / "home"
    more = {"BURSA_ENDPOINT_CORES": "4", "BURSA_ENDPOINT_MEMORY": "8GB"}
    with running(home, "--workers", "4", **more) as stack:
        yield stack


def begun(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.on")}


def test_two_at_once_a_larger_one_waits_and_one_too_large_is_refused(four: Stack, tmp_path: Path) -> None:
    client = four.client()
    first = [client.submit(holds, (name, str(tmp_path)), resources=TWO) for name in ("a", "b")]
    wait_for(lambda: begun(tmp_path) == {"a", "b"}, 30, "two calls of two cores at once")
    large = client.submit(holds, ("large", str(tmp_path)), resources=THREE)
    small = client.submit(holds, ("small", str(tmp_path)), resources={"cores": 1})
    said = wait_for(lambda: _waits(client, large), 30, "that it waits")
    assert "3 cores" in said["message"], said
    assert client.task(large)["resources"] == {"cores": 3}
    shown = run_cli(four.home, "task", "show", large.task_id)
    assert "cores: 3" in shown.stdout, shown.stdout

    refused = client.submit(holds, ("never", str(tmp_path)), resources={"cores": 5, "memory": "1GB"})
    with pytest.raises(bursa.TaskFailed) as failed:
        refused.result(30)
    assert failed.value.code == "unsatisfiable"
    assert "5 cores, 1024 MB of memory" in str(failed.value) and "4 cores, 8192 MB" in str(failed.value)

    (tmp_path / "a.go").touch()
    first[0].result(30)
    client.run(time.sleep, 0).result(30)  # one that asks for nothing has its turn
    assert begun(tmp_path) == {"a", "b"}, "the younger one does not pass the larger one"
    (tmp_path / "b.go").touch()
    wait_for(lambda: {"large", "small"} <= begun(tmp_path), 30, "their turn")
    for name in ("large", "small"):
        (tmp_path / f"{name}.go").touch()
    assert first[1].result(30) and large.result(30) <= small.result(30) + 1


def _waits(client: bursa.Client, future: bursa.TaskFuture) -> dict | None:
    said = client.explain(future)
    return said if said["reason"] == "no-worker" else None


def test_a_killed_executor_and_a_restarted_service_forget_nothing(tmp_path: Path) -> None:
    more = {"BURSA_ENDPOINT_CORES": "4"}
    home = tmp_path / "home"
    files = tmp_path / "files"
    files.mkdir()
    stack = start(home, "--workers", "4", "--write", str(tmp_path), **more)
    try:
        client = stack.client()
        calls = {name: client.submit(holds, (name, str(files)), resources=THREE, retries=5) for name in "abc"}
        wait_for(lambda: begun(files), 30, "one begins")
        first = begun(files)
        assert len(first) == 1
        for path in files.glob("*.on"):
            path.unlink()
        os.kill(with_role(stack.pid, "executor")[0], signal.SIGKILL)
        wait_for(lambda: begun(files), 60, "one begins again")
        assert len(begun(files)) == 1, "three cores each: one at a time"
        stack.stop()
        stack = start(home, "--workers", "4", "--write", str(tmp_path), **more)
        client = stack.client()
        for path in files.glob("*.on"):
            path.unlink()
        wait_for(lambda: begun(files), 60, "one begins after the restart")
        assert len(begun(files)) == 1, "what they ask for was stored"
        for name in calls:
            (files / f"{name}.go").touch()
        for future in calls.values():
            assert client.result(future.task_id, timeout=60)
            assert client.task(future.task_id)["resources"] == {"cores": 3}
    finally:
        stack.stop()


def test_memory_is_counted(four: Stack, tmp_path: Path) -> None:
    client = four.client()
    asked = {"memory": "5GB"}
    calls = [client.submit(holds, (name, str(tmp_path)), resources=asked) for name in ("a", "b")]
    wait_for(lambda: begun(tmp_path), 30, "one begins")
    other = client.submit(holds, ("c", str(tmp_path)), resources={"memory": "3GB"})
    assert not other.done() and len(begun(tmp_path)) == 1
    for name in "abc":
        (tmp_path / f"{name}.go").touch()
    assert all(call.result(30) for call in (*calls, other))


def test_every_way_to_say_it(four: Stack, tmp_path: Path) -> None:
    client = four.client()
    asked = {"cores": 1, "memory": "512MB"}
    kept = {"cores": 1, "memory": "512MB"}
    batch = client.batch(resources=asked)
    batch.add(abs, -1)
    futures = [*batch.submit(), bursa.function(client=client, resources=asked)(abs).remote(-1)]
    with bursa.Executor(client=client, resources=asked) as executor:
        futures.append(executor.submit(abs, -1))
        executor.resources, executor.resource_specification = None, {"num_nodes": 1, "num_ranks": 2}
        nodes = executor.submit(abs, -1)
        assert nodes.result(30) == 1
    assert [future.result(30) for future in futures] == [1, 1, 1]
    assert all(client.task(future)["resources"] == kept for future in futures)
    assert client.task(nodes)["resources"] == {"nodes": 1, "ranks_per_node": 2}
    assert list(client.map(abs, [-1, -2], resources=asked)) == [1, 2]
    path = tmp_path / "work.py"
    path.write_text("def main(x):\n    return int(x) + 1\n")
    ran = run_cli(four.home, "run", "--cores", "2", "--memory", "1GB", str(path), "2")
    assert (ran.returncode, ran.stdout) == (0, "3\n"), ran.stderr
    newest = json.loads(run_cli(four.home, "task", "list", "--limit", "1", "--json").stdout)["tasks"][0]
    assert newest["resources"] == {"cores": 2, "memory": "1024MB"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cpus": 2}, "'cpus', which is no resource"),
        ({"cores": -1}, "cores -1; give a whole number"),
        ({"cores": "2"}, "cores '2'; give a whole number"),
        ({"memory": 4}, "memory 4; give a text"),
        ({"memory": "4 apples"}, "give a text such as '512MB'"),
        ({"ranks_per_node": 2}, "ranks_per_node without nodes"),
        ([2], "give a dict"),
    ],
)
def test_what_is_no_request_is_refused_before_it_is_sent(stack: Stack, asked: object, words: str) -> None:
    with pytest.raises(bursa.Invalid, match=None) as refused:
        stack.client().submit(abs, [1], resources=asked)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cpus": 2}, "unknown field `cpus`"),
        ({"cores": -1}, "cores"),
        ({"memory": "4"}, "memory '4' is no amount such as 512MB or 4GB"),
        ({"cores": 1 << 30}, "cores: 1073741824 is more than"),
        ({"ranks_per_node": 2}, "for calls that ask for nodes"),
    ],
)
def test_the_service_refuses_it_too(stack: Stack, asked: dict, words: str) -> None:
    client = stack.client()
    function = client.register(abs)
    task = {"function_id": function, "endpoint_id": stack.endpoint_id, "args": "", "resources": asked}
    headers = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    body = json.dumps({"tasks": [task]}).encode()
    request = urllib.request.Request(f"{stack.url}/api/v1/tasks", body, headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    text = refused.value.read().decode()
    assert refused.value.code in (400, 422) and words in text, text

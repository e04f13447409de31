"""Starting, stopping, and processes that are killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import bursa
import pytest
from conftest import STOP_S, alive, descendants, myself, on_host, run_cli, running, start, wait_for, with_role


def slow(seconds: float, path: str) -> str:
    with open(path, "a") as log:
        log.write("started\n")
    time.sleep(seconds)
    return "finished"


def starts(path: Path) -> int:
    return path.read_text().count("started") if path.exists() else 0


def test_the_tree_shows_its_roles(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        assert stack.client().run(len, []).result(30) == 0
        own = Path(f"/proc/{stack.pid}/cmdline").read_bytes().split(b"\0")
        assert b"watchdog" in own
        for role in ["service", "manager", "executor", "bursa.worker"]:
            assert with_role(stack.pid, role), role


def test_sigterm_ends_everything_in_time_and_keeps_accepted_tasks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stack = start(tmp_path / "home")
    client = bursa.Client(stack.url, stack.token)
    running_task = client.run(slow, 30, str(log)).task_id
    queued = [client.run(lambda x=x: x).task_id for x in range(100)]
    wait_for(lambda: starts(log) == 1, 30, "the first start")
    client.close()
    assert stack.stop() < STOP_S
    with running(tmp_path / "home") as stack:
        client = stack.client()
        assert [client.result(task, timeout=30) for task in queued] == list(range(100))
        wait_for(lambda: starts(log) == 2, 30, "the second start: it was handed back")
        # The service hears of a start a moment later (F39).
        wait_for(lambda: client.status(running_task) == "running", 30, "the news of it")


def test_a_killed_service_comes_back_and_nothing_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path / "home") as stack:
        client = stack.client()
        long = client.run(slow, 3, str(log))
        wait_for(lambda: starts(log) == 1, 30, "the start")
        many = [client.run(lambda x=x: x * x) for x in range(2_000)]
        (service,) = with_role(stack.pid, "service")
        os.kill(service, signal.SIGKILL)
        more = [client.run(lambda x=x: -x) for x in range(200)]
        assert [future.result(60) for future in many] == [x * x for x in range(2_000)]
        assert [future.result(60) for future in more] == [-x for x in range(200)]
        assert long.result(60) == "finished"
        assert starts(log) == 1, "it ran once: the executor kept it"
        assert with_role(stack.pid, "service") != [service]


def test_a_killed_manager_comes_back_and_running_work_survives(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path / "home") as stack:
        client = stack.client()
        long = client.run(slow, 3, str(log))
        wait_for(lambda: starts(log) == 1, 30, "the start")
        (manager,) = with_role(stack.pid, "manager")
        executors = with_role(stack.pid, "executor")
        os.kill(manager, signal.SIGKILL)
        assert client.run(len, [1]).result(60) == 1
        assert long.result(60) == "finished"
        assert starts(log) == 1, "it ran once: the executor kept it"
        assert with_role(stack.pid, "executor") == executors


def test_a_killed_executor_is_replaced_and_its_work_runs_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tmp_path / "home") as stack:
        client = stack.client()
        long = client.run(slow, 1, str(log))
        wait_for(lambda: starts(log) == 1, 30, "the start")
        (executor,) = with_role(stack.pid, "executor")
        os.kill(executor, signal.SIGKILL)
        assert long.result(60) == "finished"
        assert starts(log) == 2
        left = [line for line in descendants(stack.pid).values() if str(executor) in line.split()]
        assert not left


def test_a_killed_worker_is_replaced_and_its_task_runs_again(tmp_path: Path) -> None:
    def pid_then_sleep(path):
        with open(path, "a") as log:
            log.write(f"started {myself()}\n")
        time.sleep(1)
        return "finished"

    log = tmp_path / "log"
    with running(tmp_path / "home") as stack:
        future = stack.client().run(pid_then_sleep, str(log))
        wait_for(lambda: starts(log) == 1, 30, "the start")
        os.kill(on_host(log.read_text().split()[1]), signal.SIGKILL)
        assert future.result(60) == "finished"
        assert starts(log) == 2


def test_up_prints_one_line_and_then_nothing(tmp_path: Path) -> None:
    stack = start(tmp_path / "home")
    assert stack.client().run(len, []).result(30) == 0
    stack.stop()
    assert stack.process.stdout.read() == ""
    assert stack.process.returncode == 0


def test_a_service_that_dies_again_as_soon_as_it_listens_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        host, _, port = stack.url.rpartition("//")[2].partition(":")
        dead: set[int] = set()

        def next_service() -> set[int]:
            return set(with_role(stack.pid, "service")) - dead

        for _ in range(3):
            for service in next_service():
                os.kill(service, signal.SIGKILL)
                dead.add(service)
            wait_for(next_service, 30, "the next service")
            while refused(host, int(port)):
                assert stack.process.poll() is None
        assert stack.client().run(len, [1]).result(60) == 1
        assert stack.process.poll() is None


def refused(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) != 0


def test_a_stderr_that_takes_nothing_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "home.stderr").symlink_to("/dev/full")
    with running(tmp_path / "home") as stack:
        client = stack.client()
        assert client.run(len, []).result(60) == 0
        for role in ["service", "manager"]:
            os.kill(with_role(stack.pid, role)[0], signal.SIGKILL)
            assert client.run(len, [1]).result(60) == 1
        assert stack.process.poll() is None


# A watchdog that loses patience soon, and links that bear it.
IMPATIENT = {"BURSA_WATCHDOG_HEARTBEAT_MS": "200", "BURSA_WATCHDOG_THRESHOLD_MS": "2000"}


@pytest.mark.parametrize("role", ["service", "manager"])
def test_a_child_that_lives_and_does_not_answer_is_replaced(tmp_path: Path, role: str) -> None:
    log = tmp_path / "log"
    with running(tmp_path / "home", **IMPATIENT) as stack:
        client = stack.client()
        long = client.run(slow, 4, str(log))
        wait_for(lambda: starts(log) == 1, 30, "the start")
        (stuck,) = with_role(stack.pid, role)
        os.kill(stuck, signal.SIGSTOP)
        many = [client.run(lambda x=x: x + 1) for x in range(20)]
        assert [future.result(60) for future in many] == list(range(1, 21))
        assert long.result(60) == "finished"
        assert starts(log) == 1, "it ran once: the executor kept it"
        assert with_role(stack.pid, role) != [stuck]
        said = (tmp_path / "home.stderr").read_text()
        assert f"the {role} is killed: it did not answer for 2 s (state T (stopped)" in said, said


def test_everything_killed_at_once_loses_nothing(tmp_path: Path) -> None:
    def square(x, path):
        with open(path, "a") as log:
            log.write("started\n")
        time.sleep(0.05)
        return x * x

    log, home = tmp_path / "log", tmp_path / "home"
    first = start(home)
    client = bursa.Client(first.url, first.token)
    tasks = [client.run(square, x, str(log)).task_id for x in range(200)]
    wait_for(lambda: starts(log) > 10, 30, "the first starts")
    client.close()
    below = descendants(first.pid)
    for pid in [first.pid, *below]:
        os.kill(pid, signal.SIGKILL)
    first.process.wait()
    wait_for(lambda: not alive(below), 10, "the end of everything")
    done = starts(log)
    assert done < 200, "it was killed in the middle"
    with running(home) as stack:
        client = stack.client()
        assert [client.result(task, timeout=60) for task in tasks] == [x * x for x in range(200)]
    assert starts(log) >= 200


def test_up_right_after_its_watchdog_was_killed_is_not_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = start(home)
    client = bursa.Client(first.url, first.token)
    tasks = [client.run(slow, 0.3, str(tmp_path / "log")).task_id for _ in range(10)]
    client.close()
    below = descendants(first.pid)
    first.process.kill()
    first.process.wait()
    with running(home) as stack:
        client = stack.client()
        assert [client.result(task, timeout=60) for task in tasks] == ["finished"] * 10
        wait_for(lambda: not alive(below), 30, "the end of the first tree")


def foreign_lease(counter: int) -> str:
    """What a manager on another node leaves in a home that both share."""
    process = {"pid": 34, "start": 1, "boot": "b"}
    owner = {"host": "login2.elsewhere", "watchdog": 12, "since": "noon", "process": process, "token": "t"}
    return f"{json.dumps(owner)}\n{counter:020}\n"


def test_one_manager_per_endpoint_also_on_a_shared_home(tmp_path: Path) -> None:
    home, patience = tmp_path / "home", {"BURSA_ENDPOINT_LEASE_MS": "1500"}
    stack = start(home, **patience)
    lease = home / "endpoints/local/lease"
    assert stack.client().run(len, []).result(30) == 0
    # It is taken over while it runs: it ends, and says by whom.
    lease.write_text(foreign_lease(0))
    wait_for(lambda: not with_role(stack.pid, "manager"), 30, "the end of the manager")
    said = (tmp_path / "home.stderr").read_text
    wait_for(lambda: "is not started again" in said(), 30, "its end is told")
    assert "taken over by process 12 on node login2.elsewhere since noon" in said()
    stack.stop()
    assert lease.read_text() == foreign_lease(0)
    # One that shows signs of life is left alone.
    raised = threading.Event()

    def raise_lease() -> None:
        counter = 1
        while not raised.wait(0.05):
            lease.write_text(foreign_lease(counter))
            counter += 1

    other = threading.Thread(target=raise_lease)
    other.start()
    refused = run_cli(home, "up", "--http", "127.0.0.1:0", **patience)
    raised.set()
    other.join()
    assert refused.returncode == 75, refused.stderr
    assert "already run by process 12 on node login2.elsewhere since noon" in refused.stderr
    # One that is silent is taken for dead.
    with running(home, **patience) as stack:
        assert "waiting up to 1 s for a sign of life of process 12" in said()
        assert stack.client().run(len, [1]).result(30) == 1


def test_a_child_that_keeps_dying_is_given_up_and_nothing_is_left(tmp_path: Path) -> None:
    stack = start(tmp_path / "home", BURSA_WATCHDOG_DEATHS="2")
    assert stack.client().run(len, []).result(30) == 0
    below = descendants(stack.pid)
    for _ in range(2):
        (manager,) = wait_for(lambda: with_role(stack.pid, "manager"), 30, "a manager")
        os.kill(manager, signal.SIGKILL)
        wait_for(lambda gone=manager: gone not in with_role(stack.pid, "manager"), 30, "its end")
    assert stack.process.wait(30) == 1
    assert not alive(below)
    said = (tmp_path / "home.stderr").read_text()
    for part in ["the manager died 2 times within 60 s", "SIGKILL", "it said nothing", "local.manager.log"]:
        assert part in said, said


def test_a_detached_endpoint_is_started_once_and_stopped(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        other = {"BURSA_URL": stack.url, "BURSA_TOKEN": stack.token}
        home = tmp_path / "lab"
        assert run_cli(home, "endpoint", "new", "lab", **other).returncode == 0
        first = run_cli(home, "--json", "endpoint", "start", "lab", "--detach", "--workers", "1")
        pid = json.loads(first.stdout)["pid"]
        try:
            second = run_cli(home, "endpoint", "start", "lab", "--detach")
            assert second.returncode == 75
            assert f"process {pid} on node {socket.gethostname()}" in second.stderr, second.stderr
            os.kill(pid, signal.SIGKILL)
            third = run_cli(home, "--json", "endpoint", "start", "lab", "--detach", "--workers", "1")
            assert third.returncode == 0, third.stderr
        finally:
            stopped = run_cli(home, "endpoint", "stop", "lab")
        assert stopped.returncode == 0, stopped.stderr
        assert f"(process {json.loads(third.stdout)['pid']} on node" in stopped.stdout


def test_the_service_may_open_all_the_files_that_it_is_allowed(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard - 1), hard))
    try:
        with running(tmp_path / "home") as stack:
            (service,) = with_role(stack.pid, "service")
            assert resource.prlimit(service, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

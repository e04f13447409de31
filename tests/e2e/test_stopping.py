"""A call that must end is ended wholly: its process, what it started, and what of that tried to get away."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import bursa
import pytest
from conftest import myself, on_host, running, wait_for, with_role

GRACE_S = 2.0


def stubborn(path: str, how: str) -> None:
    """Ignores SIGTERM, starts one more process that does so too, and never returns. Both write their pids."""
    import os
    import signal
    import subprocess
    import sys
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def stay() -> None:
        with open(path, "a") as log:
            log.write(f"{myself()}\n")
        while True:
            time.sleep(600)

    if how == "sets-sid":
        who = "os.readlink('/proc/self/ns/pid') + f'/{os.getpid()}\\n'"
        code = f"import os, time; open({path!r}, 'a').write({who}); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    elif os.fork() == 0:
        if how == "double-forks":
            if os.fork():
                os._exit(0)
            os.setsid()
            if os.fork():
                os._exit(0)
        stay()
    stay()


def pids(path: Path) -> list[int]:
    return [on_host(process) for process in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("how", ["forks", "double-forks", "sets-sid"])
@pytest.mark.parametrize("by", ["timeout", "cancel"])
def test_nothing_of_a_stubborn_call_is_left(client: bursa.Client, tmp_path: Path, by: str, how: str) -> None:
    log = tmp_path / "pids"
    limits = {"timeout": 1.0} if by == "timeout" else {}
    future = client.submit(stubborn, (str(log), how), **limits)
    started = wait_for(lambda: len(pids(log)) == 2 and pids(log), 30, "both processes")
    other = client.run(time.sleep, 0.1)
    if by == "cancel":
        assert future.cancel()
    else:
        with pytest.raises(bursa.TaskFailed) as caught:
            future.result(30)
        assert caught.value.code == "timeout"
    wait_for(lambda: all(gone(pid) for pid in started), 10 * GRACE_S, "the end of both")
    assert other.result(30) is None
    assert client.run(abs, -1).result(30) == 1, "the worker is replaced"


def test_a_program_of_a_cancelled_call_has_the_grace_to_save_its_work(
    client: bursa.Client, tmp_path: Path
) -> None:
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    script = f"trap 'sleep 0.5; echo saved > {saved}; exit' TERM; echo > {ready}; while :; do sleep 0.1; done"

    def program(script):
        import subprocess

        subprocess.run(["sh", "-c", script])

    future = client.run(program, script)
    wait_for(ready.exists, 30, "its start")
    assert future.cancel()
    wait_for(lambda: saved.exists() and saved.read_text(), 10, "what it saves")


def test_what_a_call_left_in_the_background_ends_with_its_worker_and_no_other(tmp_path: Path) -> None:
    log = tmp_path / "pids"

    def leaves(path):
        import subprocess

        command = f"echo $(readlink /proc/self/ns/pid)/$$ >> {path}; exec sleep 600"
        subprocess.run(["sh", "-c", f"setsid sh -c '{command}' > /dev/null 2>&1 &"], check=True)
        return myself()

    def stays(path):
        import time

        with open(path, "w") as mark:
            mark.write(myself())
        time.sleep(600)

    with running(tmp_path / "home") as stack:
        client = stack.client()
        worker = on_host(client.run(leaves, str(log)).result(30))
        (left,) = wait_for(lambda: pids(log), 30, "the one in the background")
        both = [tmp_path / "one", tmp_path / "two"]
        calls = [client.run(stays, str(mark)) for mark in both]
        workers = [wait_for(lambda mark=mark: pids(mark), 30, "a start")[0] for mark in both]
        own = workers.index(worker)
        assert calls[1 - own].cancel()
        wait_for(lambda: gone(workers[1 - own]), 10, "the end of the other worker")
        assert client.run(abs, -1).result(30) == 1, "its end was handled"
        assert not gone(left), "another worker's end is nothing to it"
        assert calls[own].cancel()
        wait_for(lambda: gone(left), 5 * GRACE_S, "its end")


def test_ended_programs_do_not_pile_up_at_a_worker(client: bursa.Client) -> None:
    def starts_many():
        import os
        import subprocess

        subprocess.run(["sh", "-c", "for _ in $(seq 150); do true & done"], check=True)
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return myself(), len(children.read().split())

    worker, ended = client.run(starts_many).result(30)
    assert ended >= 150
    worker = on_host(worker)
    children = Path(f"/proc/{worker}/task/{worker}/children")
    wait_for(lambda: len(children.read_text().split()) <= 100, 10, "their burial")


@pytest.mark.parametrize("listens", [True, False])
def test_a_preempted_call_runs_again_and_costs_no_retry(tmp_path: Path, listens: bool) -> None:
    log = tmp_path / "pids"

    def once_too_long(path, listens):
        import signal
        import time

        if not listens:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(path, "a") as log:
            log.write(f"{myself()}\n")
        with open(path) as log:
            starts = len(log.readlines())
        if starts == 1:
            time.sleep(600)
        return "again"

    with running(tmp_path / "home") as stack:
        client = stack.client()
        future = client.submit(once_too_long, (str(log), listens), retries=0)
        first = wait_for(lambda: any(pids(log)) and pids(log)[0], 30, "its start")
        (executor,) = with_role(stack.pid, "executor")
        os.kill(executor, signal.SIGTERM)
        assert future.result(60) == "again"
        assert gone(first) and len(pids(log)) == 2
        assert client.task(future.task_id)["starts"] == 2

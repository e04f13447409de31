"""Workers before the first call, after the last one, and what a cold start costs."""

from __future__ import annotations

from pathlib import Path

from conftest import Stack, run_cli, running, wait_for, with_role


def pid(seconds=0):
    import os
    import time

    time.sleep(seconds)
    return os.getpid()


def parent(child: int) -> int:
    return int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])


def workers(stack: Stack) -> list[int]:
    """Pids of the workers: the zygote, whose command line is the same, is their parent."""
    found = with_role(stack.pid, "bursa.worker")
    return [child for child in found if parent(child) in found]


def test_a_warm_worker_is_there_before_the_first_call_and_takes_it(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        (warm,) = wait_for(lambda: workers(stack), 20, "a warm worker")
        told = lambda: run_cli(stack.home, "endpoint", "status", stack.endpoint_id).stdout  # noqa: E731
        wait_for(lambda: "1 workers, 1 idle" in told(), 20, "a status that tells of it")
        future = stack.client().run(pid)
        assert future.result(30) == warm
        timings = future.timings
        assert timings is not None and timings["worker_start"] == 0


def test_idle_workers_end_and_calls_after_it_start_them_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, BURSA_ENDPOINT_IDLE_MS="200", BURSA_ENDPOINT_MIN_WARM="0") as stack:
        client = stack.client()
        first = client.run(pid)
        before = first.result(30)
        cold = first.timings
        assert cold is not None and 0 < cold["worker_start"] <= cold["worker_wait"]
        assert "cold start" in run_cli(home, "task", "show", first.task_id).stdout
        wait_for(lambda: not workers(stack), 20, "the end of the idle worker")
        assert client.run(pid).result(30) != before


def test_min_warm_stays_when_the_others_end(tmp_path: Path) -> None:
    quick = {"BURSA_ENDPOINT_IDLE_MS": "200", "BURSA_ENDPOINT_MIN_WARM": "1"}
    with running(tmp_path / "home", **quick) as stack:
        client = stack.client()
        ran = {future.result(30) for future in [client.run(pid, 0.5) for _ in range(4)]}
        assert len(ran) == 2
        wait_for(lambda: len(workers(stack)) == 1, 20, "one worker that stays")
        assert [client.run(pid).result(30)] == workers(stack)

"""Workers before the first call, after the last one, and what a cold start costs."""

from __future__ import annotations

from pathlib import Path

from conftest import Stack, myself, on_host, run_cli, running, wait_for, workers_of


def pid(seconds=0):
    import time

    time.sleep(seconds)
    return myself()


def workers(stack: Stack) -> list[int]:
    return workers_of(stack.pid)


def test_a_warm_worker_is_there_before_the_first_call_and_takes_it(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        (warm,) = wait_for(lambda: workers(stack), 20, "a warm worker")
        told = lambda: run_cli(stack.home, "endpoint", "status", stack.endpoint_id).stdout  # noqa: E731
        wait_for(lambda: "1 workers, 1 idle" in told(), 20, "a status that tells of it")
        future = stack.client().run(pid)
        assert on_host(future.result(30)) == warm
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
        assert [on_host(client.run(pid).result(30))] == workers(stack)

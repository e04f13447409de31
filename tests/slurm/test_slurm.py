"""Blocks on a real Slurm: elastic, found again, never asked for twice, and what they wait for is told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from conftest import Cluster, e2e


def square(n: int) -> int:
    import time

    time.sleep(0.005)
    return n * n


def nap(seconds: float) -> str:
    import os
    import time

    time.sleep(seconds)
    return str(os.getpid())


def test_elastic_blocks_run_everything_and_go(cluster: Cluster, start: Callable[..., Any]) -> None:
    stack = start(max=3, idle_ms=2_000)
    client = stack.client()
    assert cluster.jobs() == {}, "nothing is asked for without calls"
    futures = [client.run(square, n) for n in range(2_000)]
    jobs = e2e.wait_for(lambda: {j for j, s in cluster.jobs().items() if s == "RUNNING"}, 30, "a block")
    cluster.run("scancel", next(iter(jobs)))
    assert [future.result(120) for future in futures] == [n * n for n in range(2_000)]
    e2e.wait_for(lambda: not cluster.jobs(), 30, "scale to zero")
    assert client.run(square, 3).result(60) == 9, "and back"


def test_a_killed_manager_finds_its_blocks_and_asks_for_none_twice(
    cluster: Cluster, start: Callable[..., Any]
) -> None:
    stack = start(max=2)
    client = stack.client()
    futures = [client.run(nap, 6) for _ in range(2)]
    e2e.wait_for(lambda: client.status(futures[0]) == "running", 60, "a running call")
    before = cluster.jobs()
    for _ in range(2):
        (manager,) = e2e.with_role(stack.pid, "manager")
        os.kill(manager, signal.SIGKILL)
        e2e.wait_for(
            lambda old=manager: e2e.with_role(stack.pid, "manager") not in ([], [old]), 30, "a manager"
        )
    assert all(future.result(60) for future in futures)
    assert cluster.jobs() == before


def test_each_node_of_a_block_has_an_executor(cluster: Cluster, start: Callable[..., Any]) -> None:
    stack = start(nodes_per_block=2)
    client = stack.client()
    futures = [client.run(nap, 1) for _ in range(4)]
    assert all(future.result(60) for future in futures)
    assert client.endpoint_status(stack.endpoint_id)["slots_total"] == 4, "two executors of two workers"
    assert len(cluster.jobs()) == 1


def test_what_a_block_waits_for_is_told(cluster: Cluster, start: Callable[..., Any]) -> None:
    cluster.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    try:
        stack = start(partition="short", walltime="00:05:00")
        future = stack.client().run(square, 2)
        told = lambda: "PartitionDown" in json.dumps(stack.client().explain(future.task_id))  # noqa: E731
        e2e.wait_for(told, 60, "the reason")
        assert stack.client().status(future) == "waiting-for-nodes"
        assert "PartitionDown" in e2e.run_cli(stack.home, "endpoint", "status", stack.endpoint_id).stdout
    finally:
        cluster.run("scontrol", "update", "PartitionName=short", "State=UP")
    assert future.result(60) == 4


def test_a_refused_job_says_why(start: Callable[..., Any]) -> None:
    stack = start(partition="nowhere")
    future = stack.client().run(square, 2)
    told = lambda: "invalid partition" in json.dumps(stack.client().explain(future.task_id)).lower()  # noqa: E731
    e2e.wait_for(told, 60, "the reason")
    future.cancel()


def test_the_plan_is_the_script(start: Callable[..., Any]) -> None:
    stack = start(partition="short", walltime="00:05:00")
    said = e2e.run_cli(stack.home, "endpoint", "plan", "local").stdout
    assert "#SBATCH --partition=short" in said and "--time=0-00:05:00" in said

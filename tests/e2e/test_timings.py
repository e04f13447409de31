"""Where the time of a call went: in the SDK, over REST, on the command line."""

from __future__ import annotations

import time

import bursa
import pytest
from conftest import Stack, run_cli

PARTS = ["store", "queue", "network", "manager", "node_network", "worker_wait", "pipe", "load", "run", "dump"]


def nap(seconds):
    time.sleep(seconds)


def test_the_parts_of_a_call_add_up(stack: Stack, client: bursa.Client) -> None:
    begin = time.monotonic()
    future = client.run(nap, 0.05)
    future.result(30)
    elapsed = time.monotonic() - begin
    timings = future.timings
    assert timings is not None and set(timings) == {*PARTS, "worker_start", "total"}
    assert sum(timings[part] for part in PARTS) == pytest.approx(timings["total"], abs=1e-6)
    assert timings["run"] >= 0.05
    assert all(timings[part] > 0 for part in ("store", "network", "node_network", "pipe", "load", "dump"))
    assert timings["worker_start"] <= timings["worker_wait"] < timings["total"] < elapsed

    shown = run_cli(stack.home, "task", "show", future.task_id).stdout
    for part in (*PARTS, "total"):
        assert f"\n {part} " in shown, shown


def test_what_never_ran_has_no_timings(client: bursa.Client) -> None:
    future = client.run(nap, 60)
    assert future.timings is None
    assert future.cancel()
    assert future.timings is None

"""Quick calls behind one that turns out long: the other worker runs them."""

from __future__ import annotations

import time
from concurrent.futures import wait

from conftest import Stack

LONG, SOON = 6.0, 3.0


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_calls_behind_a_long_one_do_not_wait_for_it(stack: Stack) -> None:
    client = stack.client()
    quick = [client.submit(nap, [0.0]) for _ in range(400)]
    assert all(future.result(60) == 0 for future in quick), "by experience"
    long, *others = [client.submit(nap, [seconds]) for seconds in (LONG, *[0.0] * 200)]
    late = wait(others, SOON).not_done
    assert not long.done() and not late, f"{len(late)} of {len(others)} wait behind one that sleeps"
    assert {client.task(future.task_id)["starts"] for future in others} == {1}
    assert long.result(60) == LONG

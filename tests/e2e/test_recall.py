"""Calls around one that turns out long: those behind it run on the other worker, those before it are told."""

from __future__ import annotations

import os
import time
from concurrent.futures import wait

import bursa
import pytest
from conftest import Stack

LONG, SOON = 6.0, 3.0


def nap(seconds: float) -> float:
    if seconds < 0:
        os._exit(9)
    time.sleep(seconds)
    return seconds


def warm(stack: Stack) -> bursa.Client:
    client = stack.client()
    quick = [client.submit(nap, [0.0]) for _ in range(400)]
    assert all(future.result(60) == 0 for future in quick), "by experience"
    return client


@pytest.mark.parametrize("before", [0, 100])
def test_calls_around_a_long_one_do_not_wait_for_it(stack: Stack, before: int) -> None:
    client = warm(stack)
    futures = [client.submit(nap, [LONG if number == before else 0.0]) for number in range(201)]
    long = futures.pop(before)
    late = wait(futures, SOON).not_done
    assert not long.done() and not late, f"{len(late)} of {len(futures)} wait for one that sleeps"
    assert {client.task(future.task_id)["starts"] for future in futures} == {1}
    assert long.result(60) == LONG


def test_calls_before_one_that_ends_its_worker_are_not_lost(stack: Stack) -> None:
    client = warm(stack)
    futures = [client.submit(nap, [-1.0 if number == 100 else 0.0], retries=0) for number in range(201)]
    deadly = futures.pop(100)
    assert {future.result(60) for future in futures} == {0.0}
    assert {client.task(future.task_id)["starts"] for future in futures} == {1}
    assert deadly.exception(60) is not None

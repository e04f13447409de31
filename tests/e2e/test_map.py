"""`map` through the real product: chunks, slices, failures of single items, dead workers, cancelling."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import bursa
import numpy as np
import pytest
from bursa.funcx import FuncXClient
from conftest import Stack, myself, running, wait_for, with_role


def test_many_items_come_back_in_order(client: bursa.Client) -> None:
    assert sum(client.map(lambda x: x + 1, range(200_000))) == 200_000 * 200_001 // 2
    assert list(client.map(lambda x: x + 1, iter(range(50_000)))) == list(range(1, 50_001))
    numbers = np.random.default_rng(1).normal(size=(1000, 3))
    assert np.array_equal(list(client.map(lambda row: row * 2, numbers)), numbers * 2)
    with bursa.Executor(client=client) as executor:
        assert list(executor.map(pow, range(1000), range(1000), chunksize=64)) == [x**x for x in range(1000)]


def test_both_workers_share_slow_items_and_uneven_ones_do_not_pile_up(client: bursa.Client) -> None:
    def uneven(x: int) -> int:
        if x >= 4000:
            time.sleep(0.05)
        return myself()

    list(client.map(uneven, range(4000)))
    pids = list(client.map(uneven, range(3990, 4040)))
    assert len(set(pids[10:])) == 2


def test_an_item_that_fails_fails_alone(client: bursa.Client) -> None:
    values = list(client.map(lambda x: 60 // (x % 7), range(21), chunk=21, return_exceptions=True))
    assert [type(value) for value in values[::7]] == [ZeroDivisionError] * 3
    assert [value for value in values if isinstance(value, int)] == 3 * [60, 30, 20, 15, 12, 10]


def test_an_item_that_kills_its_worker_fails_alone(client: bursa.Client) -> None:
    def deadly(x: int) -> int:
        if x == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    values = list(client.map(deadly, range(20), chunk=20, retries=0, return_exceptions=True))
    assert values[:13] + values[14:] == [x for x in range(20) if x != 13]
    assert isinstance(values[13], bursa.TaskFailed) and values[13].code == "worker-died"


def test_an_item_that_hangs_fails_alone(client: bursa.Client) -> None:
    values = list(
        client.map(
            lambda x: time.sleep(60 if x == 2 else 0) or x, range(4), timeout=0.5, return_exceptions=True
        )
    )
    assert values[:2] + values[3:] == [0, 1, 3]
    assert values[2].code == "timeout"


def test_abandoned_items_are_cancelled(stack: Stack, tmp_path: Path) -> None:
    client, log = stack.client(), tmp_path / "log"

    def slow(x: int) -> int:
        with log.open("a") as file:
            file.write(f"{x}\n")
        if x:
            time.sleep(60)
        return x

    for value in client.map(slow, itertools.count(), chunk=1):
        assert value == 0
        wait_for(lambda: len(log.read_text().split()) >= 3, 30, "the next two")
        break
    assert client.run(abs, -1).result(30) == 1, "the workers are free again"
    assert len(log.read_text().split()) <= 6


def test_fmap_of_funcx(client: bursa.Client) -> None:
    fxc = FuncXClient(client=client)
    function = fxc.register_function(lambda x: x * x)
    for how in ({}, {"batch_size": 10}, {"batch_count": 3}):
        assert list(fxc.fmap(function, list(range(100)), **how)) == [x * x for x in range(100)]
    with pytest.raises(bursa.Invalid, match="batch_count"):
        fxc.fmap(function, itertools.count(), batch_count=3)


def test_a_killed_service_loses_no_item(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        client = stack.client()
        results = client.map(lambda x: time.sleep(0.002) or x, range(2000))
        first = [next(results) for _ in range(100)]
        os.kill(with_role(stack.pid, "service")[0], signal.SIGKILL)
        assert first + list(results) == list(range(2000))

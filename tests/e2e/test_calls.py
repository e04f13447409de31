"""What functions may be and what may go in and out."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import textwrap
from concurrent.futures import as_completed, wait
from pathlib import Path

import bursa
import numpy as np
import pytest
from conftest import Stack, environment

FACTOR = 3


def triple(x):
    return FACTOR * x


def helper(x):
    return x + 1


def calls_helper(x):
    return helper(x) * 2


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def norm(self):
        return math.hypot(self.x, self.y)


def test_module_level_imports_globals_and_helpers_travel(client: bursa.Client) -> None:
    assert client.run(triple, 5).result(30) == 15
    assert client.run(calls_helper, 5).result(30) == 12
    assert client.run(math.sqrt, 16.0).result(30) == 4.0


def test_closures_lambdas_and_classes_travel(client: bursa.Client) -> None:
    offset = 10

    def add(x):
        return x + offset

    assert client.run(add, 1).result(30) == 11
    assert client.run(lambda x: x * x, 7).result(30) == 49
    assert client.run(lambda point: point.norm(), Point(3, 4)).result(30) == 5.0
    back = client.run(lambda: (lambda y: y + offset)).result(30)
    assert back(1) == 11


def test_numpy_goes_in_and_out(client: bursa.Client) -> None:
    array = np.arange(100_000, dtype=np.float64).reshape(100, 1000)
    result = client.run(lambda a: a.T * 2, array).result(30)
    assert np.array_equal(result, array.T * 2)


@pytest.mark.parametrize("size", [0, 1, 5_000, 70_000, 3_000_000, 20_000_000])
def test_payloads_of_every_size_come_back_whole(client: bursa.Client, size: int) -> None:
    data = os.urandom(size)
    assert client.run(lambda d: d, data).result(60) == data


def test_keyword_arguments_and_none(client: bursa.Client) -> None:
    assert client.run(lambda *a, **k: (a, k), 1, two=2).result(30) == ((1,), {"two": 2})
    assert client.run(lambda: None).result(30) is None


def test_ten_thousand_calls_keep_their_results(client: bursa.Client) -> None:
    assert list(client.map(triple, range(10_000))) == [3 * x for x in range(10_000)]


def test_a_real_executor(stack: Stack) -> None:
    with bursa.Client(stack.url, stack.token) as client, bursa.Executor(client=client) as executor:
        futures = {executor.submit(triple, x): x for x in range(50)}
        for future in as_completed(futures, timeout=30):
            assert future.result() == 3 * futures[future]
        assert wait(futures, timeout=1).not_done == set()
        assert list(executor.map(pow, range(10), range(10))) == [x**x for x in range(10)]


def test_futures_can_be_awaited(client: bursa.Client) -> None:
    async def both():
        return await asyncio.gather(client.run(triple, 1), client.run(triple, 2))

    assert asyncio.run(both()) == [3, 6]


def test_the_decorator(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSA_URL", stack.url)
    monkeypatch.setenv("BURSA_TOKEN", stack.token)

    @bursa.function
    def double(x):
        return 2 * x

    assert double.local(4) == 8
    assert double.remote(4).result(30) == 8
    assert list(double.map([1, 2, 3])) == [2, 4, 6]


def test_a_task_started_elsewhere_can_be_asked_for(stack: Stack, client: bursa.Client) -> None:
    task = client.run(triple, 14).task_id
    with bursa.Client(stack.url, stack.token) as other:
        assert other.result(task, timeout=30) == 42
        assert other.status(task) == "success"


def test_a_module_beside_the_program_travels_with_it(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "physics.py").write_text("G = 9.81\n\ndef fall(t):\n    return G * t * t / 2\n")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""\
        import bursa
        import physics

        with bursa.Client() as client:
            assert client.run(physics.fall, 2.0).result(30) == 19.62
            assert client.run(lambda t: physics.fall(t) + 1, 2.0).result(30) == 20.62
        """)
    )
    subprocess.run([sys.executable, str(program)], env=environment(stack.home), check=True, timeout=60)


def test_output_is_kept_with_the_result(stack: Stack, client: bursa.Client) -> None:
    def chatty():
        print("on stdout")
        subprocess.run(["echo", "from a child"], check=True)
        return 1

    future = client.run(chatty)
    assert future.result(30) == 1
    output = client.task(future.task_id)["output"]
    assert b"on stdout" in output
    assert b"from a child" in output

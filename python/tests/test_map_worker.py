"""Many items in one call, in a real worker."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from typing import Any

from zygote import Done, Worker

from bursa import serialize


def run(worker: Worker, function: object, *columns: Any, slice_ns: int = 0) -> Done:
    body_hash = struct.pack("<Q", random.getrandbits(64)) * 4
    worker.wire.load(body_hash, serialize.dumps_code(function))
    worker.wire.run(b"t" * 16, body_hash, serialize.dumps_items(columns, slice_ns))
    return worker.wire.done()


def told(done: Done) -> tuple[int, int, list[Any], list[tuple]]:
    count, took_ns, values, failures = serialize.loads(done.payload)
    return count, took_ns, serialize.loads(values), failures


def test_items_of_several_columns(worker: Worker) -> None:
    done = run(worker, lambda x, y: x - y, range(5), [1, 1, 1, 1, 1])
    count, took_ns, values, failures = told(done)
    assert (done.outcome, count, values, failures) == (0, 5, [-1, 0, 1, 2, 3], [])
    assert 0 < took_ns < 10**9


def test_a_slice_ends_between_items(worker: Worker) -> None:
    done = run(worker, lambda x: time.sleep(0.01) or x, range(100), slice_ns=35_000_000)
    count, took_ns, values, _ = told(done)
    assert values == list(range(count)) and 2 <= count <= 8 and took_ns >= 35_000_000
    count, *_ = told(run(worker, lambda x: x, range(100_000), slice_ns=10**12))
    assert count == 100_000


def test_failures_are_told_of_each_item_and_the_first_is_the_tasks(worker: Worker) -> None:
    def f(x: int) -> float:
        print("at", x)
        return 1 / (x % 4)

    done = run(worker, f, range(8))
    assert (done.outcome, done.name) == (1, "ZeroDivisionError")
    assert done.message == "2 of 8 items failed, the first is item 0 (counted from 0): division by zero"
    assert done.output.decode().split("\n")[:2] == ["at 0", "at 1"]
    count, _, values, failures = told(done)
    assert (count, values) == (8, [None, 1, 1 / 2, 1 / 3, None, 1, 1 / 2, 1 / 3])
    assert [index for index, *_ in failures] == [0, 4]
    for _, payload, name, message, traceback in failures:
        assert isinstance(serialize.loads(payload), ZeroDivisionError)
        assert (name, message) == ("ZeroDivisionError", "division by zero")
        assert "in f" in traceback and "items.py" not in traceback
    assert run(worker, lambda x: 1 / x, [0]).message == "division by zero"


def test_values_that_cannot_travel_fail_alone(worker: Worker) -> None:
    def f(x: int) -> Any:
        class Rude:
            def __reduce__(self) -> Any:
                raise SystemExit("no")

        return [x, threading.Lock(), Rude(), lambda: x][x]

    count, _, values, failures = told(run(worker, f, range(4)))
    assert (count, values[:3], values[3]()) == (4, [0, None, None], 3)
    assert [(index, name) for index, _, name, _, _ in failures] == [(1, "TypeError"), (2, "SystemExit")]
    assert "returned a lock, which cannot be pickled" in failures[0][3]


def test_a_forked_child_leaves_the_other_items_alone(worker: Worker, tmp_path: Any) -> None:
    log = str(tmp_path / "log")

    def f(x: int) -> int:
        with open(log, "a") as file:
            file.write(f"{x}\n")
        if x in (2, 5):
            child = os.fork()
            if child:
                return (
                    os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    if x == 2
                    else os.waitpid(child, 0)[1] >> 8
                )
            if x == 5:
                raise ValueError("in the child")
        return 100 + x

    count, _, values, failures = told(run(worker, f, range(8)))
    assert (count, values, failures) == (8, [100, 101, 0, 103, 104, 1, 106, 107], [])
    assert (tmp_path / "log").read_text().split() == [str(x) for x in range(8)]
    assert told(run(worker, abs, [-1]))[2] == [1], "the worker goes on"


def test_arguments_that_are_no_items_fail_the_call(worker: Worker) -> None:
    worker.wire.load(b"h" * 32, serialize.dumps_code(abs))
    for args in (
        b"",
        b"m\0\0",
        serialize.ITEMS + serialize.dumps(3),
        serialize.ITEMS + serialize.dumps(((), 0)),
    ):
        worker.wire.run(b"t" * 16, b"h" * 32, args)
        assert worker.wire.done().outcome != 0

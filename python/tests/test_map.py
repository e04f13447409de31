"""`map`: items in chunks, lazily, in order, each failing alone; against a small service."""

from __future__ import annotations

import gc
import itertools
import re
import threading
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait
from typing import Any

import numpy as np
import pytest
from fake_service import TOKEN, FakeService, Stream

import bursa
from bursa import chunks, serialize
from bursa import map as map_module
from bursa.chunks import Inputs, Plan
from bursa.map import AHEAD_BYTES, AHEAD_CHUNKS, IN_FLIGHT

PATIENCE = 20


class Drawn:
    """An iterator that knows how many items were taken from it."""

    def __init__(self, items: Any) -> None:
        self._items = iter(items)
        self.count = 0

    def __iter__(self) -> Drawn:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


def tasks_of(service: FakeService) -> list[bytes]:
    """The arguments of every task that was submitted."""
    submits = [message for message in service.received if message["type"] == "submit"]
    return [args for message in submits for call in message["calls"] for args in call["args"]]


def hold(service: FakeService) -> threading.Event:
    """Tasks are accepted at once, and end when the event is set."""
    go = threading.Event()

    def held(stream: Stream, message: dict) -> bool:
        stream.send({"type": "accepted", "id": message["id"]})

        def end() -> None:
            go.wait(PATIENCE)
            for call in message["calls"]:
                stream.send(stream.results(call))

        threading.Thread(target=end, daemon=True).start()
        return True

    service.on_submit = held
    return go


@pytest.mark.parametrize("chunk", ["auto", 1, 7, 1000])
@pytest.mark.parametrize(
    "items",
    [
        range(500),
        list(range(500)),
        np.arange(500),
        iter(range(500)),
        dict.fromkeys(range(500)),
        range(0),
        [],
    ],
    ids=lambda items: type(items).__name__,
)
def test_every_item_once_and_in_order(client: bursa.Client, items: Any, chunk: int | str) -> None:
    expected = [3 * x for x in range(500)] if not hasattr(items, "__len__") else [3 * x for x in items]
    if not hasattr(items, "__len__"):
        items = iter(range(500))
    assert list(client.map(lambda x: 3 * x, items, chunk=chunk)) == expected


@pytest.mark.parametrize(
    "items",
    [
        [np.float64(x) / 3 for x in range(20)],
        [np.float32(x) / 3 for x in range(20)],
        [np.int8(x) for x in range(20)],
        [np.bool_(x % 2) for x in range(20)],
        [np.complex64(x) for x in range(20)],
        [np.int64(1), 1, np.float64(2)],
        [np.str_("a"), np.str_("bc")],
        [np.timedelta64(1, "h"), np.timedelta64(1, "s")],
        [np.datetime64("2020"), np.datetime64("2020-01-02")],
        [np.longdouble(1) / 3, np.longdouble(1)],
    ],
    ids=lambda items: type(items[0]).__name__,
)
def test_numpys_numbers_come_back_as_they_were(client: bursa.Client, items: list[Any]) -> None:
    back = list(client.map(lambda x: x, items, chunk=20))
    assert [(type(x), x, str(x)) for x in back] == [(type(x), x, str(x)) for x in items]


def test_several_iterables_are_zipped_as_by_map(client: bursa.Client) -> None:
    endless = itertools.count()
    assert list(client.map(pow, range(5), endless, chunk=2)) == [x**x for x in range(5)]
    numbers = iter(range(10))
    assert list(client.map(lambda x, y: (x, y), numbers, numbers)) == [(x, x + 1) for x in range(0, 10, 2)]


def test_chunks_of_a_given_size_are_one_task_each(client: bursa.Client, service: FakeService) -> None:
    assert list(client.map(abs, range(10), chunk=4)) == list(range(10))
    sent = [serialize.loads_items(args) for args in tasks_of(service)]
    assert sent == [((range(4),), 0), ((range(4, 8),), 0), ((range(8, 10),), 0)]


def test_an_endless_iterator_is_drawn_as_far_as_is_read(client: bursa.Client, service: FakeService) -> None:
    drawn = Drawn(itertools.count())
    results = client.map(abs, drawn)
    assert list(itertools.islice(results, 20_000)) == list(range(20_000))
    read_to = drawn.count
    assert read_to <= 20_000 + AHEAD_BYTES
    assert drawn.count == read_to, "nobody reads, nothing is drawn"
    results.cancel()
    assert list(results) == []


def test_the_first_chunks_have_one_item_and_there_are_few(client: bursa.Client, service: FakeService) -> None:
    hold(service)
    drawn = Drawn(itertools.count())
    results = client.map(abs, drawn)
    assert (drawn.count, len(results._flying)) == (IN_FLIGHT, IN_FLIGHT)
    results.cancel()


def test_no_more_is_drawn_when_so_much_waits_to_be_read(
    client: bursa.Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_module, "AHEAD_BYTES", 100_000)
    drawn = Drawn(itertools.count())
    results = client.map(lambda x: bytes(10_000), drawn, chunk=1)
    wait(list(results._flying.values()), PATIENCE)
    assert next(results) == bytes(10_000)
    assert drawn.count == IN_FLIGHT
    assert sum(map(len, itertools.islice(results, 99))) == 99 * 10_000
    results.cancel()


def test_a_slow_reader_is_not_run_away_from(client: bursa.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_module, "WINDOW_S", 0)
    drawn = Drawn(itertools.count())
    results = client.map(abs, drawn, chunk=1)
    for read in range(10):
        wait(list(results._flying.values()), PATIENCE)
        assert next(results) == read
    assert drawn.count <= 10 + 2 * IN_FLIGHT
    results.cancel()


def test_more_is_under_way_when_all_of_it_takes_no_time(
    client: bursa.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_module, "WINDOW_S", PATIENCE)
    results = client.map(abs, itertools.count(), chunk=1)
    assert list(itertools.islice(results, 3 * IN_FLIGHT)) == list(range(3 * IN_FLIGHT))
    assert results._window >= 4 * IN_FLIGHT
    results.cancel()


def test_chunks_that_end_early_wait_for_their_turn_and_others_go_on(
    client: bursa.Client, service: FakeService
) -> None:
    """One slow item at the head does not keep the others from being run; but for so many only."""
    first = threading.Event()
    ran = []

    def run(function: bytes, args: bytes) -> tuple:
        ran.append(args)
        return service.call(function, args)

    def slow_first(stream: Stream, message: dict) -> bool:
        stream.send({"type": "accepted", "id": message["id"]})
        for call in message["calls"]:
            ids = [call["tasks"][at : at + 16] for at in range(0, len(call["tasks"]), 16)]
            for task, args in zip(ids, call["args"]):
                one = {**call, "tasks": task, "args": [args]}
                if serialize.loads_items(args)[0][0][0] == 0:
                    threading.Thread(
                        target=lambda one=one: first.wait(PATIENCE) and stream.send(stream.results(one))
                    ).start()
                else:
                    stream.send(stream.results(one))
                    if len(ran) == 4 * IN_FLIGHT:
                        first.set()
        return True

    service.run, service.on_submit = run, slow_first
    results = client.map(abs, itertools.count(), chunk=2)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    assert first.is_set(), "work went on while the first chunk was away"
    assert len(results._order) <= AHEAD_CHUNKS + results._window
    results.cancel()


def test_an_item_that_fails_fails_alone(client: bursa.Client) -> None:
    def odd(x: int) -> int:
        if x % 10 == 3:
            raise ValueError(f"{x} is wrong")
        return x

    results = client.map(odd, range(30), chunk=10)
    got: list[Any] = []
    for _ in range(30):
        try:
            got.append(next(results))
        except ValueError as error:
            assert "in odd" in str(error.__cause__) and "run_items" not in str(error.__cause__)
            got.append(str(error))
    assert got == [f"{x} is wrong" if x % 10 == 3 else x for x in range(30)]
    with pytest.raises(StopIteration):
        next(results)


def test_a_loop_can_go_on_behind_a_failure_and_exceptions_can_be_values(client: bursa.Client) -> None:
    results = client.map(lambda x: 6 // x, [3, 0, 2], chunk=3)
    with pytest.raises(ZeroDivisionError):
        for value in results:
            assert value == 2
    assert list(results) == [3]
    values = list(client.map(lambda x: 6 // x, [3, 0, 2], chunk=3, return_exceptions=True))
    assert (values[0], type(values[1]), values[2]) == (2, ZeroDivisionError, 3)


def test_failures_of_every_kind_keep_to_their_item(client: bursa.Client) -> None:
    class Local(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    def wild(x: int) -> Any:
        if x == 1:
            raise Local(1, 2)
        if x == 2:
            raise SystemExit(3)
        if x == 3:
            raise StopIteration
        if x == 4:
            return threading.Lock()
        if x == 5:
            raise KeyboardInterrupt
        return x

    values = list(client.map(wild, range(8), chunk=8, return_exceptions=True))
    assert [values[x] for x in (0, 6, 7)] == [0, 6, 7]
    assert isinstance(values[1], bursa.TaskFailed) and values[1].failure["message"] == "1 and 2"
    assert values[2].failure["class"] == "SystemExit" and values[5].failure["class"] == "KeyboardInterrupt"
    assert isinstance(values[3], StopIteration)
    assert "cannot be pickled" in str(values[4])
    results = client.map(wild, [3, 6], chunk=2)
    with pytest.raises(RuntimeError, match="StopIteration"):
        next(results)
    assert list(results) == [6]


def test_what_cannot_be_sent_fails_alone(client: bursa.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    items: list[Any] = [1, threading.Lock(), 3, "x" * 2000, 5]
    monkeypatch.setattr(chunks, "LIMIT", 1500)
    for chunk in (5, 1, "auto"):
        values = list(client.map(lambda x: x, items, chunk=chunk, return_exceptions=True))
        assert [values[0], values[2], values[4]] == [1, 3, 5]
        assert isinstance(values[1], bursa.SerializationError) and "argument 0" in str(values[1])
        assert isinstance(values[3], bursa.TooLarge)


def test_the_iterables_own_exception_comes_after_its_items(client: bursa.Client) -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    results = client.map(abs, broken(), chunk=3)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("code", ["worker-died", "timeout", "result-too-large"])
def test_an_item_that_ends_its_chunk_is_found_by_halves(
    client: bursa.Client, service: FakeService, code: str
) -> None:
    def deadly(function: bytes, args: bytes) -> tuple:
        items = serialize.loads_items(args)[0][0] if args[:1] == b"m" else serialize.loads(args)[0]
        if 77 in items:
            return 1, b"", {"code": code, "message": "It ended badly."}
        return service.call(function, args)

    service.run = deadly
    values = list(client.map(abs, range(100), chunk=50, return_exceptions=True))
    assert values[:77] == list(range(77)) and values[78:] == list(range(78, 100))
    assert isinstance(values[77], bursa.TaskFailed) and values[77].code == code
    assert len(tasks_of(service)) <= 2 + 2 * 6


def test_a_failure_that_is_no_items_fault_is_everyones(client: bursa.Client, service: FakeService) -> None:
    service.run = lambda function, args: (1, b"", {"code": "endpoint-deleted", "message": "It is gone."})
    values = list(client.map(abs, range(10), chunk=5, return_exceptions=True))
    assert [value.code for value in values] == ["endpoint-deleted"] * 10
    assert len(tasks_of(service)) == 2


def test_what_a_worker_hands_back_goes_on_elsewhere(
    client: bursa.Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice so short that each chunk is cut after the first item."""
    monkeypatch.setattr(chunks, "SLICE_NS", 1)
    monkeypatch.setattr(Plan, "learn", lambda plan, *seen: setattr(plan, "size", 16))
    assert list(client.map(lambda x: x + 1, range(100))) == list(range(1, 101))
    sent = [serialize.loads_items(args)[0][0] for args in tasks_of(service) if args[:1] == b"m"]
    assert max(map(len, sent)) == 16 and len(sent) > 16


def test_timeouts_are_of_items(client: bursa.Client, service: FakeService) -> None:
    list(client.map(abs, range(3), chunk=2, timeout=5))
    list(client.map(abs, range(1), timeout=5, retries=1, retry_on_error=2, deadline=60))
    calls = [call for message in service.received for call in message.get("calls", ())]
    assert sorted(call["timeout"] for call in calls) == [5, 5, 10]
    assert {name: calls[-1][name] for name in ("retries", "retry_on_error", "deadline")} == {
        "retries": 1,
        "retry_on_error": 2,
        "deadline": 60,
    }
    assert Plan(None, 5.0).timeout(9) == 5.0 + chunks.SLICE_TIMEOUT


def test_nonsense_instead_of_results_is_refused(client: bursa.Client, service: FakeService) -> None:
    good = serialize.dumps([1, 2, 3])
    for told in (
        1,
        "abc",
        (0, 1, good, []),
        (9, 1, good, []),
        (3, 1, b"?", []),
        (3, 1, serialize.dumps([1]), []),
        (3, 1, serialize.dumps(1), []),
        (3, "?", good, []),
        (3, 1, good, 5),
        (3, 1, good, [(1, b"", "", "")]),
        (3, 1, good, [(7, b"", "", "", "")]),
        (3, 1, good, [(2, b"", "", "", ""), (0, b"", "", "", "")]),
    ):
        service.run = lambda function, args, told=told: (0, serialize.dumps(told), None)
        for value in client.map(abs, range(3), chunk=3, return_exceptions=True):
            assert isinstance(value, bursa.SerializationError), told


def test_dropping_and_cancelling(client: bursa.Client, service: FakeService) -> None:
    hold(service)

    def cancelled() -> int:
        return sum(len(body["task_ids"]) for _, path, body in service.requests if path == "/tasks/cancel")

    results = client.map(abs, itertools.count(), chunk=1)
    client._stream.flush(PATIENCE)
    results.cancel()
    assert cancelled() == IN_FLIGHT
    assert list(results) == [] and next(results, "end") == "end"

    results = client.map(abs, itertools.count(), chunk=1)
    client._stream.flush(PATIENCE)
    futures = list(results._flying.values())
    ended = threading.Event()
    futures[-1].add_done_callback(lambda _: ended.set())
    del results
    gc.collect()
    assert ended.wait(PATIENCE)
    assert all(future.cancelled() for future in futures) and cancelled() == 2 * IN_FLIGHT


def test_a_closed_client_fails_what_is_left_and_hangs_nobody(
    client: bursa.Client, service: FakeService
) -> None:
    hold(service)
    results = client.map(abs, range(10), chunk=5, return_exceptions=True)
    client.close()
    assert [type(value) for value in results] == [bursa.Unavailable] * 10


def test_the_endpoints_slots_widen_the_window(client: bursa.Client, service: FakeService) -> None:
    route = service._route

    def with_status(method: str, path: str, body: Any) -> tuple[int, Any]:
        return (200, {"slots_total": 100}) if path.endswith("/status") else route(method, path, body)

    service._route = with_status
    hold(service)
    results = client.map(abs, itertools.count())
    assert len(results._flying) == 400
    results.cancel()
    few = client.map(abs, range(3))
    assert len(few._flying) == 3
    few.cancel()
    assert sum(path.endswith("/status") for _, path, _ in service.requests) == 1


def test_bad_sizes(client: bursa.Client) -> None:
    for chunk in (0, -1, 1.5, True, np.float64(2), "large", None):
        with pytest.raises(bursa.Invalid, match=rf"^chunk is {re.escape(repr(chunk))}; give a whole number"):
            client.map(abs, [1], chunk=chunk)
    assert list(client.map(abs, range(-3, 0), chunk=np.int64(2))) == [3, 2, 1]


def test_bad_timeouts(client: bursa.Client) -> None:
    for timeout in ("soon", True, float("nan")):
        with pytest.raises(bursa.Invalid, match=f"^timeout is {timeout!r}; give a number of seconds"):
            client.map(abs, [1], timeout=timeout)


def test_data_only_results(service: FakeService) -> None:
    with bursa.Client(service.url, TOKEN, results="data") as careful:
        assert list(careful.map(abs, range(-3, 0), chunk=3)) == [3, 2, 1]
        for value in careful.map(lambda x: (lambda: x), range(3), chunk=3, return_exceptions=True):
            assert isinstance(value, bursa.SerializationError)


def test_a_functions_id_can_be_mapped(client: bursa.Client) -> None:
    assert list(client.map(client.register(abs), range(-3, 0), chunk=3)) == [3, 2, 1]


def test_the_executors_map(client: bursa.Client, service: FakeService) -> None:
    with bursa.Executor(client=client) as executor:
        assert list(executor.map(pow, range(5), range(5), chunksize=2)) == [x**x for x in range(5)]
        assert list(executor.map(abs)) == [] and list(executor.map(abs, [])) == []
        for wrong in (0, 1.5, True, "2"):
            with pytest.raises(ValueError, match=f"^chunksize is {wrong!r}; give "):
                executor.map(abs, [1], chunksize=wrong)
        drawn = Drawn(range(1000))
        unread = executor.map(abs, drawn, chunksize=10)
        assert drawn.count == 1000, "all is submitted at once"
        del unread
        results = executor.map(lambda x: 1 // x, [1, 0, 1], chunksize=3)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(abs, [1])
    assert (
        sum(
            len(serialize.loads_items(args)[0][0])
            for args in tasks_of(service)
            if len(args) > 0 and args[:1] == b"m" and serialize.loads_items(args)[0][0] != []
        )
        >= 1000
    )
    assert not any(path == "/tasks/cancel" for _, path, _ in service.requests)


def test_the_executors_timeout(client: bursa.Client, service: FakeService) -> None:
    hold(service)
    with bursa.Executor(client=client) as executor:
        results = executor.map(abs, range(4), chunksize=2, timeout=0.01)
        with pytest.raises(FutureTimeout):
            next(results)
        assert list(results) == []


def test_sizes_follow_what_items_take() -> None:
    plan = Plan(None, None)
    sizes = []
    for _ in range(8):
        plan.learn(plan.size, 100 * plan.size, 5 * plan.size)  # 100 ns and 5 bytes each
        sizes.append(plan.size)
    assert sizes == [4, 16, 64, 256, 1024, 4096, chunks.CHUNK_BYTES // 5, chunks.CHUNK_BYTES // 5]
    plan.learn(1, 100, 5)
    assert plan.size == chunks.CHUNK_BYTES // 5, "a straggler from the beginning changes nothing"
    plan.learn(9000, 9_000_000_000, 45_000)  # a millisecond each
    assert plan.size == 10
    plan.learn(10, 10_000_000, 50 << 20)
    assert plan.size == 1


def test_inputs_are_drawn_as_asked() -> None:
    inputs = Inputs((range(5),))
    assert [inputs.take(3), inputs.take(3), inputs.take(3)] == [(range(3),), (range(3, 5),), None]
    inputs = Inputs(("ab", itertools.count()))
    assert [inputs.take(5), inputs.take(5)] == [(("a", "b"), (0, 1)), None]
    assert Inputs(()).take(1) is None


def test_a_bar_counts_what_is_read(client: bursa.Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(client.map(lambda x: 1 // x, range(10), progress=True, return_exceptions=True))) == 10
    assert "10/10" in capsys.readouterr().err
    list(client.map(abs, range(10)))
    assert capsys.readouterr().err == "", "nobody sees it here"

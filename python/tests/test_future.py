"""The lazy future against what `concurrent.futures` and asyncio expect."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable

import pytest

from bursa import errors, serialize
from bursa.future import TaskFuture, end_all
from bursa.ids import new_id, to_text
from bursa.outcome import Outcome

SEVEN = serialize.dumps(7)
FAILED = (b"", {"code": "worker-died", "message": "The worker was killed."}, b"last words")


class FakeClient:
    loads = staticmethod(serialize.loads)

    def opened(self, outcome: Outcome, task: bytes) -> Outcome:
        return outcome

    def read_for(self, future: TaskFuture, until: float | None) -> None:
        """Nobody reads here."""

    def wait_accepted(self, futures: list[TaskFuture]) -> None:
        """Everything is accepted at once."""

    def cancel_one(self, future: TaskFuture) -> bool:
        future.end((b"", {"code": "cancelled"}, b""))
        return True


def pending() -> TaskFuture:
    return TaskFuture(new_id(), FakeClient())


def test_ids_are_uuid7_and_distinct() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {to_text(raw)[14] for raw in ids} == {"7"}
    assert {to_text(raw)[19] for raw in ids} <= set("89ab")


def test_a_success_has_no_condition() -> None:
    future = pending()
    future.end(SEVEN)
    assert (future.done(), future.result(), future.exception(), future._made) == (True, 7, None, None)


def test_a_failure_is_typed() -> None:
    future = pending()
    future.end(FAILED)
    with pytest.raises(errors.TaskFailed, match="killed") as caught:
        future.result()
    assert (caught.value.code, caught.value.output, caught.value.task_id) == (
        "worker-died",
        "last words",
        future.task_id,
    )
    assert isinstance(future.exception(), errors.TaskFailed)


def test_the_users_exception_has_the_remote_traceback() -> None:
    future = pending()
    future.end((serialize.dumps(KeyError("k")), {"code": "user-error", "traceback": "remote text"}, b""))
    with pytest.raises(KeyError) as caught:
        future.result()
    assert "remote text" in str(caught.value.__cause__)


@pytest.mark.parametrize("payload", [b"", b"garbage", serialize.dumps(SystemExit(3))])
def test_an_exception_that_cannot_be_raised_is_told(payload: bytes) -> None:
    future = pending()
    failure = {"code": "user-error", "class": "mine.Odd", "message": "odd", "traceback": "remote"}
    future.end((payload, failure, b""))
    with pytest.raises(errors.TaskFailed, match=r"mine\.Odd: odd") as caught:
        future.result()
    assert "remote" in str(caught.value.__cause__)


def test_an_unreadable_result_is_an_error_of_its_own() -> None:
    future = pending()
    future.end(b"p\0\0cno_such_module\nname\n.")
    with pytest.raises(errors.SerializationError, match=future.task_id):
        future.result()


def test_timeouts() -> None:
    with pytest.raises(concurrent.futures.TimeoutError):
        pending().result(0.01)
    with pytest.raises(errors.TaskPending):
        pending().exception(0)


def test_cancel() -> None:
    future = pending()
    assert future.cancel() and future.cancelled() and future.done()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with pytest.raises(errors.TaskCancelled):
        future.exception()
    done, _ = concurrent.futures.wait([future])
    assert done == {future}


def test_the_first_end_counts() -> None:
    future = pending()
    future.end(SEVEN)
    future.end(FAILED)
    assert future.result() == 7


def test_callbacks() -> None:
    seen: list[object] = []
    future = pending()
    future.add_done_callback(seen.append)
    future.add_done_callback(lambda _: 1 / 0)
    future.end(SEVEN)
    future.add_done_callback(seen.append)
    assert seen == [future, future]


def test_first_exception_is_noticed() -> None:
    futures = [pending(), pending()]
    threading.Timer(0.02, futures[0].end, (FAILED,)).start()
    done, rest = concurrent.futures.wait(futures, 10, concurrent.futures.FIRST_EXCEPTION)
    assert (done, rest) == ({futures[0]}, {futures[1]})


def finish(futures: list[TaskFuture], size: int) -> None:
    """As the reader thread does: in batches."""
    waiting = {future.raw: future for future in futures}
    for start in range(0, len(futures), size):
        part = futures[start : start + size]
        aloud: deque[Callable[[], None]] = deque()
        ids, states, payloads = b"".join(f.raw for f in part), bytes(len(part)), [SEVEN] * len(part)
        end_all(waiting, ids, states, payloads, {}, {}, b"", aloud)
        for end in aloud:
            end()
    assert not waiting


@pytest.mark.parametrize("size", [1, 7, 200])
def test_races_of_waiters_and_finishers(size: int) -> None:
    for _ in range(30):
        futures = [pending() for _ in range(200)]
        results: list[int] = []
        threads = [
            threading.Thread(target=lambda f=futures, r=results: r.extend(x.result(10) for x in f)),
            threading.Thread(target=lambda f=futures, r=results: r.extend(x.result() for x in as_done(f))),
            threading.Thread(target=lambda f=futures: concurrent.futures.wait(f, 10)),
            threading.Thread(target=finish, args=(futures, size)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert results == [7] * 400


def as_done(futures: list[TaskFuture]) -> object:
    return concurrent.futures.as_completed(futures, 10)


def test_await() -> None:
    early, late, wrapped = pending(), pending(), pending()
    early.end(SEVEN)

    async def both() -> list[int]:
        threading.Timer(0.02, late.end, (SEVEN,)).start()
        threading.Timer(0.02, wrapped.end, (SEVEN,)).start()
        return [await early, await late, await asyncio.wrap_future(wrapped)]

    assert asyncio.run(both()) == [7, 7, 7]


def test_cancelling_the_coroutine_leaves_the_task() -> None:
    future = pending()

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(awaits(future)), 0.01)

    asyncio.run(wait())
    assert not future.done()
    future.end(SEVEN)
    assert future.result() == 7


async def awaits(future: TaskFuture) -> object:
    return await future

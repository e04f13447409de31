"""Who reads: the reader thread, or the one caller that waits for the only open call."""

from __future__ import annotations

import concurrent.futures
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import MSG_DONTWAIT, MSG_PEEK

import pytest
from fake_service import TOKEN, FakeService, Stream, fake_service

import bursa
from bursa import stream as stream_module
from bursa.stream import Stream as Reading

READER = "bursa-stream"


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture
def client(service: FakeService) -> Iterator[bursa.Client]:
    with bursa.Client(service.url, TOKEN) as made:
        made.run(len, "").result(10)  # registered and connected
        yield made


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that took messages, in order."""
    names: list[str] = []
    take = Reading._take

    def noted(self: Reading, message: dict) -> None:
        names.append(threading.current_thread().name)
        take(self, message)

    monkeypatch.setattr(Reading, "_take", noted)
    return names


class Held:
    """The service answers no submit before `go`; `came` says that it has one."""

    def __init__(self, service: FakeService) -> None:
        self.came, self.go = threading.Event(), threading.Event()
        service.on_submit = self._hold

    def _hold(self, stream: Stream, message: dict) -> bool:
        self.came.set()
        self.go.wait(20)
        return False


@pytest.fixture
def held(client: bursa.Client, service: FakeService) -> Iterator[Held]:
    holds = Held(service)
    yield holds
    holds.go.set()


@contextmanager
def once_somebody_reads(client: bursa.Client, act) -> Iterator[None]:
    """Does something in another thread, once a caller has taken the reading over."""
    stream, over = client._stream, threading.Event()

    def wait() -> None:
        while stream._reading.acquire(False):  # free: nobody reads yet
            stream._reading.release()
            if over.is_set():
                return
            os.sched_yield()
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def test_who_waits_for_the_only_call_reads_by_itself(
    client: bursa.Client, readers: list[str], held: Held
) -> None:
    future = client.run(len, "abc")
    with once_somebody_reads(client, held.go.set):
        assert future.result() == 3
    assert set(readers) == {"MainThread"}
    done = threading.Event()
    client.run(len, "abc").add_done_callback(lambda _: done.set())
    assert done.wait(10), "nobody waits for a result: the reader thread reads"
    assert readers[-1] == READER


def test_callbacks_run_in_the_reader_thread(client: bursa.Client, held: Held) -> None:
    names: list[str] = []
    called = threading.Event()
    future = client.run(len, "ab")

    def callback(done: bursa.TaskFuture) -> None:
        names.append(threading.current_thread().name)
        assert client.run(len, "abc").done() is False, "a callback may submit"
        called.set()

    def attach() -> None:
        future.add_done_callback(callback)
        held.go.set()

    with once_somebody_reads(client, attach):
        assert future.result() == 2
    assert called.wait(10)
    assert names == [READER]


def test_other_threads_are_served(client: bursa.Client, held: Held) -> None:
    first = client.run(len, "a")
    found: list[object] = []

    def waits() -> None:
        future = client.run(len, "bc")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            twice = [pool.submit(future.result, 20) for _ in range(2)]
            held.go.set()
            found.append([each.result() for each in twice])
            found.extend(future.result() for future in concurrent.futures.as_completed([future, first], 20))

    with once_somebody_reads(client, waits):
        assert first.result(20) == 1
    assert found[0] == [2, 2]
    assert sorted(found[1:]) == [1, 2]
    assert [future.result(20) for future in [client.run(len, "x" * n) for n in range(500)]] == list(
        range(500)
    )


class Staged:
    """A submit is accepted once a caller waits for nothing but its result, which comes after `go`."""

    def __init__(self, client: bursa.Client, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream_module, "PATIENCE", 20.0)
        self._stream, self._call = client._stream, service.call
        self.accepted, self.go = threading.Event(), threading.Event()
        service.on_submit, service.run = self._hold, self._run

    def _hold(self, stream: Stream, message: dict) -> bool:
        while self._stream._deaf is None and not self.go.is_set():
            os.sched_yield()
        return False

    def _run(self, function: bytes, args: bytes) -> tuple[int, bytes, dict | None]:
        self.accepted.set()
        self.go.wait(20)
        return self._call(function, args)


@pytest.fixture
def staged(client: bursa.Client, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staged]:
    stages = Staged(client, service, monkeypatch)
    yield stages
    stages.go.set()


def test_an_acceptance_alone_wakes_nobody_who_waits_for_a_result(
    client: bursa.Client, readers: list[str], staged: Staged
) -> None:
    found: list[bool] = []
    future = client.run(len, "abc")

    def act() -> None:
        if staged.accepted.wait(10):
            sock = client._stream._socket._sock
            found.append(bool(select.select([sock], [], [], 0)[0]))
            found.append(bool(sock.recv(1, MSG_PEEK | MSG_DONTWAIT)))
        staged.go.set()

    with once_somebody_reads(client, act):
        assert future.result(15) == 3
    assert found == [False, True], "it is there and counts as nothing"
    assert readers == ["MainThread"] * 2


@pytest.mark.parametrize("wants", ["to submit", "the acceptance"])
def test_who_waits_for_a_result_alone_keeps_nobody_waiting(
    client: bursa.Client, staged: Staged, wants: str
) -> None:
    first = client.run(len, "abc")
    found: list[object] = []

    def act() -> None:
        if not staged.accepted.wait(10):
            return
        if wants == "the acceptance":
            found.append(client._stream.wait_accepted([first], 5))
        else:
            client.run(len, "ab")
            until = time.monotonic() + 5
            while client._stream._queue and time.monotonic() < until:
                os.sched_yield()
            found.append(not client._stream._queue)
        found.append(first.done())
        staged.go.set()

    with once_somebody_reads(client, act):
        assert first.result(15) == 3
    assert found == [True, False], "before there is a result"


def test_a_timeout_ends_the_reading(client: bursa.Client, held: Held) -> None:
    future = client.run(len, "abc")
    assert held.came.wait(10)
    for timeout in (0, 0.05):
        with pytest.raises(bursa.TaskPending):
            future.result(timeout)
    held.go.set()
    assert future.result(20) == 3


def test_a_large_result_is_left_to_the_reader_thread(
    client: bursa.Client, readers: list[str], held: Held
) -> None:
    future = client.run(bytes, 1 << 20)
    with once_somebody_reads(client, held.go.set):
        assert future.result(20) == bytes(1 << 20)
    assert readers[-1] == READER


def test_a_ping_is_answered_while_a_caller_reads(
    client: bursa.Client, service: FakeService, held: Held
) -> None:
    streams: list[Stream] = []

    def ping(stream: Stream, message: dict) -> bool:
        streams.append(stream)
        held.go.wait(20)
        stream.frame(0x9, b"are you there")
        threading.Thread(target=answer, args=(stream, message)).start()
        return True

    def answer(stream: Stream, message: dict) -> None:
        while not any(each["type"] == "control" for each in service.received):
            time.sleep(0.001)
        stream.accept(message)

    service.on_submit = ping
    future = client.run(len, "abc")
    with once_somebody_reads(client, held.go.set):
        assert future.result(20) == 3
    assert service.received[-1] == {"type": "control", "opcode": 0xA, "data": b"are you there"}


def test_a_connection_that_breaks_while_a_caller_reads(
    client: bursa.Client, service: FakeService, held: Held
) -> None:
    future = client.run(len, "abc")

    def cut() -> None:
        service.cut()
        held.go.set()

    with once_somebody_reads(client, cut):
        assert future.result(20) == 3
    assert service.connections == 2


def test_closing_while_a_caller_reads(client: bursa.Client, held: Held) -> None:
    future = client.run(len, "abc")
    threads: list[threading.Thread] = []

    def close() -> None:
        stream = client._stream
        threads.append(threading.Thread(target=stream.close, args=(0,)))
        threads[0].start()

    with once_somebody_reads(client, close), pytest.raises(bursa.Unavailable, match="closed"):
        future.result(20)
    threads[0].join(20)


def test_a_fork_while_a_caller_reads(client: bursa.Client, service: FakeService, held: Held) -> None:
    future = client.run(len, "abc")
    codes: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            held.go.set()
            service.on_submit = lambda stream, message: False
            os._exit(0 if client._stream is None else 1)
        codes.append(os.waitpid(child, 0)[1])
        held.go.set()

    with once_somebody_reads(client, fork):
        assert future.result(20) == 3
    assert codes == [0]
    assert client.run(len, "abcd").result(20) == 4
    assert service.connections == 1, "what the child drops is its own"


def test_an_interrupt_while_waiting_costs_nothing(
    client: bursa.Client, service: FakeService, held: Held
) -> None:
    future = client.run(len, "abc")
    main = threading.main_thread().ident
    assert main is not None
    # What a shell starts behind it is deaf to it otherwise.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), once_somebody_reads(client, lambda: signal.pthread_kill(main, 2)):
        future.result()
    signal.signal(signal.SIGINT, before)
    held.go.set()
    assert future.result(20) == 3
    assert service.connections == 1


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_at_any_moment_loses_nothing(client: bursa.Client) -> None:
    """Of the reading of one call, some hundred µs: at each moment of it, some µs apart."""
    interrupted = 0
    for moment in range(400):
        future = client.run(len, "x" * moment)
        try:
            with interrupted_after(1e-6 * (1 + 3 * (moment % 200))):
                future.result(20)
        except (KeyboardInterrupt, RuntimeError):  # the latter of `Condition.wait`, interrupted as it lets go
            interrupted += 1
        assert future.result(20) == moment
    assert interrupted > 0

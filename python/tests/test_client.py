"""The client against a small service on loopback."""

from __future__ import annotations

import concurrent.futures
import os
import queue
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from fake_service import ENDPOINT, TOKEN, FakeService, Stream, error

import bursa
from bursa import serialize, stream
from bursa.stream import AHEAD_BYTES


def submits(service: FakeService) -> list[dict]:
    return [message for message in service.received if message["type"] == "submit"]


def test_run_map_batch(client: bursa.Client, service: FakeService) -> None:
    offset = 3
    assert client.run(lambda x, y=0: x + y + offset, 1, y=2).result(10) == 6
    assert list(client.map(len, ["", "a", "bb"])) == [0, 1, 2]
    batch = client.batch(ENDPOINT)
    batch.add(len, "abc")
    batch.add(sum, [1, 2])
    assert [future.result(10) for future in batch.submit()] == [3, 3]
    assert len(batch) == 0
    registered = [body["name"] for method, path, body in service.requests if path == "/functions"]
    assert registered == ["<lambda>", "len", "sum"], "each function once"


def test_ids_names_and_options(client: bursa.Client, service: FakeService) -> None:
    function = client.register(len, name="length", description="counts")
    assert client.run(function, "ab", endpoint_id="local").result(10) == 2
    assert client.submit(function, ["abc"], retries=2, timeout=1.5).result(10) == 3
    call = submits(service)[-1]["calls"][0]
    assert (call["retries"], call["timeout"], "deadline" in call) == (2, 1.5, False)
    with pytest.raises(bursa.Invalid, match="function id"):
        client.run("nonsense", 1)


def test_the_users_exception_is_raised(client: bursa.Client) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        client.run(lambda: 1 / 0).result(10)
    assert "Traceback (remote)" in str(caught.value.__cause__)


def test_as_completed_and_many_threads(client: bursa.Client) -> None:
    futures: list[bursa.TaskFuture] = []

    def submit() -> None:
        futures.extend(client.run(len, "x" * size) for size in range(300))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = concurrent.futures.as_completed(futures, 20)
    assert sum(future.result() for future in done) == 4 * sum(range(300))


def test_results_may_come_before_accepted(client: bursa.Client, service: FakeService) -> None:
    def first(stream: Stream, message: dict) -> bool:
        stream.accept(message, results_first=True)
        return True

    service.on_submit = first
    assert list(client.map(len, ["a"] * 50)) == [1] * 50


def test_submits_collect_while_one_is_unanswered(client: bursa.Client, service: FakeService) -> None:
    held: list[tuple[Stream, dict]] = []
    first, go = threading.Event(), threading.Event()

    def hold(stream: Stream, message: dict) -> bool:
        if not held:
            held.append((stream, message))
            first.set()
            go.wait(10)
        return False

    service.on_submit = hold
    futures = [client.run(len, "a")]
    assert first.wait(10)
    futures += [client.run(len, "a") for _ in range(500)]
    go.set()
    assert sum(future.result(10) for future in futures) == 501
    assert [sum(len(call["tasks"]) // 16 for call in message["calls"]) for message in submits(service)] == [
        1,
        500,
    ]


def test_large_arguments_go_in_messages_of_their_own(client: bursa.Client, service: FakeService) -> None:
    data = [os.urandom(700_000) for _ in range(12)]
    assert list(client.map(lambda d: d, data)) == data
    assert max(sum(len(c["args"]) for c in m["calls"]) for m in submits(service)) == 1


class Silent:
    """A service that answers nothing by itself."""

    def __init__(self, service: FakeService) -> None:
        self.heard: queue.SimpleQueue[tuple[Stream, dict]] = queue.SimpleQueue()
        service.on_submit = lambda stream, message: self.heard.put((stream, message)) is None

    def hear(self, count: int) -> list[tuple[Stream, dict]]:
        return [self.heard.get(timeout=10) for _ in range(count)]


def tasks_of(heard: list[tuple[Stream, dict]]) -> list[bytes]:
    return [call["tasks"] for _, message in heard for call in message["calls"]]


def test_large_arguments_do_not_wait_for_answers_within_their_bound(
    client: bursa.Client, service: FakeService
) -> None:
    silent = Silent(service)
    data = [bytes([number]) * (1 << 20) for number in range(20)]
    futures = [client.run(len, item) for item in data]
    ahead = silent.hear(AHEAD_BYTES >> 20)
    assert silent.heard.empty(), "the next one waits for an answer"
    for connection, message in ahead:
        connection.accept(message)
    for connection, message in silent.hear(len(data) - len(ahead)):
        connection.accept(message)
    assert [future.result(10) for future in futures] == [1 << 20] * 20
    assert tasks_of([(None, message) for message in submits(service)]) == [future.raw for future in futures]


def test_small_arguments_collect_behind_large_ones(client: bursa.Client, service: FakeService) -> None:
    silent = Silent(service)
    large = client.run(len, bytes(1 << 20))
    small = [client.run(len, "ab") for _ in range(100)]
    [(connection, message)] = silent.hear(1)
    connection.accept(message)
    [(connection, message)] = silent.hear(1)
    assert b"".join(call["tasks"] for call in message["calls"]) == b"".join(future.raw for future in small)
    connection.accept(message)
    assert [large.result(10), sum(future.result(10) for future in small)] == [1 << 20, 200]


def test_what_is_refused_for_now_among_accepted_ones_keeps_its_order(
    client: bursa.Client, service: FakeService
) -> None:
    silent = Silent(service)
    futures = [client.run(len, bytes(1 << 20)) for _ in range(5)]
    heard = silent.hear(5)
    for at in (0, 3, 1):
        busy(*heard[at], retry_after=0.01)
    heard[2][0].accept(heard[2][1])
    assert futures[2].result(10) == 1 << 20
    assert silent.heard.empty(), "nothing goes out while one is unanswered"
    heard[4][0].accept(heard[4][1])
    again = silent.hear(3)
    assert tasks_of(again) == [futures[at].raw for at in (0, 1, 3)]
    for connection, message in again:
        connection.accept(message)
    assert [future.result(10) for future in futures] == [1 << 20] * 5


def test_large_arguments_are_sent_again_in_order_after_a_broken_connection(
    client: bursa.Client, service: FakeService
) -> None:
    silent = Silent(service)
    futures = [client.run(len, bytes(1 << 20)) for _ in range(3)]
    first = silent.hear(3)
    busy(*first[1], retry_after=0.01)
    first[0][0].accept(first[0][1])
    assert futures[0].result(10) == 1 << 20
    service.cut()
    again = silent.hear(1)
    assert again[0][1] == first[2][1], "the same submit"
    again[0][0].accept(again[0][1])
    again += silent.hear(1)
    again[1][0].accept(again[1][1])
    assert tasks_of(again) == [futures[2].raw, futures[1].raw]
    assert [future.result(10) for future in futures] == [1 << 20] * 3


def test_a_broken_connection_is_made_again_and_nothing_is_lost(
    client: bursa.Client, service: FakeService
) -> None:
    seen: list[dict] = []

    def drop_first(stream: Stream, message: dict) -> bool:
        seen.append(message)
        if len(seen) == 1:
            service.cut()  # before it is answered
            return True
        return False

    service.on_submit = drop_first
    assert client.run(len, "abc").result(20) == 3
    assert seen[0] == seen[1], "the same submit again"
    assert service.connections == 2
    subscribe = next(message for message in service.received if message["type"] == "subscribe")
    assert (subscribe["groups"], subscribe["cursor"]) == ([seen[0]["group"]], 0)
    service.cut()
    assert client.run(len, "abcd").result(20) == 4


def test_an_error_fails_the_tasks_of_its_submit_only(client: bursa.Client, service: FakeService) -> None:
    def refuse(stream: Stream, message: dict) -> bool:
        if message["id"] == 1:
            stream.send({"type": "error", "id": 1, **error("not-found", "There is no function like that.")})
            return True
        return False

    service.on_submit = refuse
    with pytest.raises(bursa.NotFound, match="no function"):
        client.run(len, "a").result(10)
    assert client.run(len, "a").result(10) == 1


def busy(stream: Stream, message: dict, **more: float) -> bool:
    refusal = {"code": "busy", "message": "Later, please.", **more}
    stream.send({"type": "error", "id": message["id"], "error": refusal})
    return True


def test_a_full_service_is_waited_for_and_nothing_is_lost_or_swapped(
    client: bursa.Client, service: FakeService
) -> None:
    refused: list[float] = []

    def full(stream: Stream, message: dict) -> bool:
        refused.append(time.monotonic())
        return len(refused) <= 2 and busy(stream, message, retry_after=0.3)

    service.on_submit = full
    values = list(range(1000))
    assert [future.result(20) for future in [client.run(abs, value) for value in values]] == values
    assert refused[1] - refused[0] >= 0.3 and refused[2] - refused[1] >= 0.3, (
        "as long as the service asked for"
    )
    accepted = [
        message for message in submits(service)[2:] for call in message["calls"] for _ in call["args"]
    ]
    assert len(accepted) == len(values), "each was accepted once"
    first = b"".join(call["tasks"] for message in submits(service)[2:] for call in message["calls"])
    assert first == b"".join(future for future in service.tasks), "in the order of the calls"


def test_what_the_service_did_not_take_is_cancelled_here(client: bursa.Client, service: FakeService) -> None:
    service.on_submit = lambda stream, message: busy(stream, message, retry_after=30)
    futures = [client.run(len, "ab") for _ in range(10)]
    assert futures[3].cancel() and futures[3].cancelled()
    assert client.cancel(futures[4:6], futures[3]) == ["cancelled"] * 3
    assert not any(path.endswith("/cancel") for _, path, _ in service.requests), (
        "the service knows none of them"
    )
    assert not futures[0].done()
    assert set(client.cancel(futures)) == {"cancelled"}


def test_busy_is_sent_again(client: bursa.Client, service: FakeService) -> None:
    times: list[int] = []

    def busy_twice(stream: Stream, message: dict) -> bool:
        times.append(message["id"])
        if len(times) <= 2:
            stream.send({"type": "error", "id": message["id"], **error("busy", "Later, please.")})
        return len(times) <= 2

    service.on_submit = busy_twice
    assert client.run(len, "a").result(10) == 1
    assert times == [1, 2, 3]
    assert len({call["tasks"] for message in submits(service) for call in message["calls"]}) == 1


def test_pings_are_answered_and_fragments_joined(client: bursa.Client, service: FakeService) -> None:
    import msgpack

    def fragments(stream: Stream, message: dict) -> bool:
        stream.frame(0x9, b"are you there")
        data = msgpack.packb(stream.results(message["calls"][0]))
        stream.frame(0x2, data[:10], final=False)
        stream.frame(0x9, b"in between")
        stream.frame(0x0, data[10:])
        stream.send({"type": "accepted", "id": message["id"]})
        return True

    service.on_submit = fragments
    assert client.run(len, "abc").result(10) == 3
    assert client.run(len, "abc").result(10) == 3
    pongs = [message["data"] for message in service.received if message["type"] == "control"]
    assert {b"are you there", b"in between"} <= set(pongs)


def test_two_full_pipes_do_not_wait_for_each_other(client: bursa.Client, service: FakeService) -> None:
    """The service sends results without reading, while the reader thread sends the next batch."""
    big = serialize.dumps(b"r" * 8_000_000)
    service.run = lambda function, args: (0, big, None)
    futures = [client.run(len, b"a" * 4_000_000) for _ in range(8)]
    assert all(len(future.result(30)) == 8_000_000 for future in futures)


def test_giving_up(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GIVE_UP", 0.2)
    with bursa.Client(service.url, TOKEN) as client:
        service.on_submit = lambda stream, message: True
        future = client.run(len, "a")
        service.close()
        with pytest.raises(bursa.Unavailable, match="may still run"):
            future.result(20)


def test_closing_waits_for_accepted(service: FakeService) -> None:
    def accept_only(stream: Stream, message: dict) -> bool:
        stream.send({"type": "accepted", "id": message["id"]})
        return True

    service.on_submit = accept_only
    with bursa.Client(service.url, TOKEN) as client:
        futures = [client.run(len, "a") for _ in range(20_000)]
    assert sum(len(c["tasks"]) // 16 for m in submits(service) for c in m["calls"]) == 20_000
    with pytest.raises(bursa.Unavailable, match="closed"):
        futures[-1].result(0)
    with pytest.raises(bursa.Unavailable, match="closed"):
        client.run(len, "a")


def test_cancel(client: bursa.Client, service: FakeService) -> None:
    def accept_only(stream: Stream, message: dict) -> bool:
        stream.send({"type": "accepted", "id": message["id"]})
        return True

    service.on_submit = accept_only
    future = client.run(len, "a")
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with bursa.Executor(client=client) as executor:
        futures = [executor.submit(len, "a") for _ in range(5)]
        executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_a_map_that_fails_cancels_the_rest_at_once(client: bursa.Client, service: FakeService) -> None:
    def only_first(stream: Stream, message: dict) -> bool:
        return message["id"] > 1 and not stream.send({"type": "accepted", "id": message["id"]})

    service.on_submit = only_first
    with bursa.Executor(client=client) as executor, pytest.raises(ZeroDivisionError):
        list(executor.map(lambda x: 1 / x, range(2000)))
    cancels = [body for _, path, body in service.requests if path == "/tasks/cancel"]
    assert len(cancels) <= 2


def test_result_of_a_task_by_its_id(client: bursa.Client) -> None:
    future = client.run(len, "abc")
    assert future.result(10) == 3
    assert client.result(future.task_id) == 3
    assert client.status(future) == "success"
    assert client.task(future)["result"] == serialize.dumps(3)
    nobody = "00000000-0000-7000-8000-000000000000"
    with pytest.raises(bursa.NotFound, match=nobody):
        client.result(nobody)


def test_the_executor(client: bursa.Client) -> None:
    with bursa.Executor(client=client) as executor:
        assert list(executor.map(pow, range(5), range(5))) == [x**x for x in range(5)]
        assert executor.submit(dict, a=1).result(10) == {"a": 1}
        many = [executor.submit(len, "ab") for _ in range(3000)]
        assert sum(future.result(10) for future in many) == 6000
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(len, "a")


def test_the_decorator(client: bursa.Client) -> None:
    @bursa.function(client=client)
    def fact(n: int) -> int:
        return 1 if n < 2 else n * fact(n - 1)

    assert (fact(4), fact.local(4), fact.remote(5).result(10), list(fact.map([1, 2, 3]))) == (
        24,
        24,
        120,
        [1, 2, 6],
    )


def test_which_endpoint(client: bursa.Client, service: FakeService) -> None:
    service.endpoints = []
    with pytest.raises(bursa.NotFound, match="no endpoint"):
        client.run(len, "a")
    service.endpoints = [
        {"endpoint_id": ENDPOINT, "name": "one"},
        {"endpoint_id": ENDPOINT[:-1] + "2", "name": "two"},
    ]
    with pytest.raises(bursa.NotFound, match=r"one.*two"):
        client.run(len, "a")
    assert client.run(len, "a", endpoint_id="two").result(10) == 1


def test_refusals_before_sending(client: bursa.Client) -> None:
    with pytest.raises(bursa.TooLarge, match=str(64 << 20)):
        client.run(len, bytes(65 << 20))
    with pytest.raises(bursa.SerializationError, match="argument 0"):
        client.run(len, (x for x in ()))
    lock = threading.Lock()
    with pytest.raises(bursa.SerializationError, match="function"):
        client.run(lambda: lock)


def test_a_wrong_token_and_no_service(service: FakeService) -> None:
    with bursa.Client(service.url, "wrong") as client:
        with pytest.raises(bursa.Unauthorized):
            client.endpoints()
        with pytest.raises(bursa.Unauthorized):
            client.run(ENDPOINT, endpoint_id=ENDPOINT)
    service.close()
    with bursa.Client(service.url, TOKEN) as client, pytest.raises(bursa.Unavailable, match="bursa up"):
        client.endpoints()


def test_who_is_told_to_come_again_does(service: FakeService) -> None:
    with bursa.Client(service.url, TOKEN) as client:
        service.busy = 3
        assert client.endpoints() == service.endpoints
        assert len([path for _, path, _ in service.requests if path.startswith("/endpoints")]) == 4


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BURSA_URL", "BURSA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BURSA_HOME", str(tmp_path))
    with pytest.raises(bursa.Unauthorized, match="bursa up"):
        bursa.Client()
    (tmp_path / "client.toml").write_text('url = "http://127.0.0.1:5000"\ntoken = "abc"\n')
    assert bursa.Client().url == "http://127.0.0.1:5000"
    monkeypatch.setenv("BURSA_URL", "https://elsewhere.example")
    assert bursa.Client().url == "https://elsewhere.example"
    with pytest.raises(bursa.Invalid, match="results="):
        bursa.Client(results="everything")


def test_data_only_results(service: FakeService) -> None:
    with bursa.Client(service.url, TOKEN, results="data") as client:
        assert client.run(lambda: {"a": [1]}).result(10) == {"a": [1]}
        with pytest.raises(bursa.SerializationError, match="results='data'"):
            client.run(lambda: lambda: 1).result(10)


def test_a_script_that_only_submits_ends_by_itself_and_a_fork_is_its_own_client(service: FakeService) -> None:
    program = textwrap.dedent(f"""\
        import os, bursa
        client = bursa.Client({service.url!r}, {TOKEN!r})
        assert client.run(len, "abc").result(10) == 3
        pid = os.fork()
        if pid == 0:
            assert client.run(len, "abcd").result(10) == 4
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert client.run(len, "ab").result(10) == 2
        for size in range(1000):
            client.run(len, "x" * size)
        """)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert sum(len(c["tasks"]) // 16 for m in submits(service) for c in m["calls"]) == 1003
    assert service.connections == 2

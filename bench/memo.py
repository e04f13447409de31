"""Memoized hits: prepared batches over REST (msgpack), each accepted, ended and on disk when it is answered.

python -m bench.memo
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import bursa
import msgpack
from bursa.ids import new_id, to_text
from bursa.serialize import dumps_call

from bench.row import Row, at_least, detail, percentile, spread, text
from bench.stack import Stack, fresh

BATCH = 1_000
DISTINCT = 1_000
"""Calls that the memo has: each batch asks for all of them."""
BATCHES = 120
"""Of one pass."""
PASSES = 5
CONNECTIONS = 2
"""While one batch is written the next one is read."""


def square(x: int) -> int:
    return x * x


class Submits:
    """One connection; what it is given is sent as it is."""

    def __init__(self, client: bursa.Client) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(client.url).netloc)
        self._headers = {
            "Authorization": f"Bearer {client._token}",
            "Content-Type": "application/msgpack",
            "Accept": "application/msgpack",
        }

    def send(self, body: bytes) -> None:
        self._connection.request("POST", "/api/v1/tasks", body, self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"a submit was answered {answer.status}: {data[:300]!r}")

    def close(self) -> None:
        self._connection.close()


def prepared(function: str, endpoint: str) -> bytes:
    """A submit of new tasks that makes every call once."""
    tasks = [
        {
            "function_id": function,
            "endpoint_id": endpoint,
            "task_id": to_text(new_id()),
            "args": dumps_call((n % DISTINCT,), {}),
            "memoize": True,
        }
        for n in range(BATCH)
    ]
    return msgpack.packb({"tasks": tasks})


def one_pass(client: bursa.Client, bodies: list[bytes]) -> tuple[float, list[float]]:
    """Seconds for all, and for each submit."""
    waits: list[list[float]] = [[] for _ in range(CONNECTIONS)]
    lines = [Submits(client) for _ in range(CONNECTIONS)]
    left = iter(bodies)
    lock = threading.Lock()

    def work(index: int) -> None:
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            began = time.perf_counter()
            lines[index].send(body)
            waits[index].append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(CONNECTIONS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    for line in lines:
        line.close()
    return seconds, [wait for each in waits for wait in each]


def dispatched(client: bursa.Client) -> int:
    """Attempts that the service has sent to endpoints."""
    connection = http.client.HTTPConnection(urlsplit(client.url).netloc)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {client._token}"})
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(int(line.split()[1]) for line in lines if line.startswith("bursa_attempts_dispatched_total "))


def measure(stack: Stack, client: bursa.Client) -> dict[str, object]:
    """Fills the memo by running every call once; then passes of nothing but hits."""
    endpoint = client.endpoints()[0]["endpoint_id"]
    function = client.register(square)
    for future in [client.run(function, n, memoize=True) for n in range(DISTINCT)]:
        future.result()
    rates, waits, cpu = [], [], []
    sent, hits = dispatched(client), client.memo()["hits"]
    for _ in range(PASSES):
        bodies = [prepared(function, endpoint) for _ in range(BATCHES)]
        before, own = stack.cpu_s(), time.process_time()
        seconds, each = one_pass(client, bodies)
        own = time.process_time() - own
        after = stack.cpu_s()
        rates.append(BATCHES * BATCH / seconds)
        waits += each
        spent = {role: after[role] - before.get(role, 0.0) for role in after} | {"client": own}
        cpu.append({role: 1e6 * used / (BATCHES * BATCH) for role, used in spent.items()})
    sent, hits = dispatched(client) - sent, client.memo()["hits"] - hits
    if sent or hits != PASSES * BATCHES * BATCH:
        raise SystemExit(f"{hits} of {PASSES * BATCHES * BATCH} calls were hits, {sent} went to the endpoint")
    waits.sort()
    return {
        "hits": hits,
        "sent_to_endpoint": sent,
        "hits_per_s": spread(rates),
        "batch_ms": {"p50": 1e3 * percentile(waits, 0.5), "p99": 1e3 * percentile(waits, 0.99)},
        "cpu_us_per_hit": {role: sorted(run.get(role, 0.0) for run in cpu)[PASSES // 2] for role in cpu[0]},
    }


def rows(found: dict) -> Iterator[Row]:
    name = f"memoized hits, prepared batches of {BATCH:,}, {CONNECTIONS} connections"
    yield at_least(name, found["hits_per_s"]["median"], 80_000, "hits/s")
    yield detail("sent to the endpoint", f"{found['sent_to_endpoint']} of {found['hits']:,}")
    yield detail("a batch, p50", f"{found['batch_ms']['p50']:.1f} ms")
    yield detail("a batch, p99", f"{found['batch_ms']['p99']:.1f} ms")
    for role, used in found["cpu_us_per_hit"].items():
        if used >= 0.005:
            yield detail(f"{role}, CPU", f"{used:.2f} µs/hit")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()

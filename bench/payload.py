"""1 MiB arguments and results: one echo at a time, and as many as the client likes in flight.

python -m bench.payload
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

import bursa

from bench.row import Row, at_least, at_most, detail, percentile, spread, text
from bench.stack import Stack, fresh

MIB = 1 << 20
PASSES = 5
ONE_AT_A_TIME = 20
PIPELINED = 120


def echo(data: bytes) -> bytes:
    return data


def distinct(count: int) -> list[bytes]:
    """Random bytes, no two alike: nothing may be stored once for several, and none mixed up."""
    return [os.urandom(MIB) for _ in range(count)]


def checked(sent: list[bytes], received: list[bytes]) -> None:
    if sent != received:
        raise SystemExit("an echo did not give back what it was given")


def measure(stack: Stack, client: bursa.Client) -> dict[str, object]:
    client.run(echo, b"").result()
    single, rates, cpu = [], [], []
    for _ in range(PASSES):
        single += one_at_a_time(client)
        data = distinct(PIPELINED)
        before, own, began = stack.cpu_s(), time.process_time(), time.perf_counter()
        futures = [client.run(echo, item) for item in data]
        results = [future.result() for future in futures]
        rates.append(PIPELINED / (time.perf_counter() - began))
        own, after = time.process_time() - own, stack.cpu_s()
        cpu.append({role: after[role] - before.get(role, 0.0) for role in after} | {"client": own})
        checked(data, results)
    single.sort()
    return {
        "one_at_a_time_ms": {"p50": percentile(single, 0.5), "p99": percentile(single, 0.99)},
        "pipelined_mib_per_s": spread(rates),
        "cpu_ms_per_echo": {
            role: 1000 * statistics.median(run[role] for run in cpu) / PIPELINED for role in cpu[0]
        },
    }


def one_at_a_time(client: bursa.Client) -> list[float]:
    """Milliseconds of each."""
    times, data, results = [], distinct(ONE_AT_A_TIME), []
    for item in data:
        began = time.perf_counter()
        results.append(client.run(echo, item).result())
        times.append(1000 * (time.perf_counter() - began))
    checked(data, results)
    return times


def rows(found: dict) -> Iterator[Row]:
    yield at_most("1 MiB there and back, one at a time, p50", found["one_at_a_time_ms"]["p50"], 12, "ms", 1)
    yield detail("p99", f"{found['one_at_a_time_ms']['p99']:.1f} ms")
    rate = found["pipelined_mib_per_s"]["median"]
    yield at_least("1 MiB there and back, pipelined, each way", rate, 150, "MiB/s")
    for role, used in found["cpu_ms_per_echo"].items():
        if used >= 0.05:
            yield detail(f"CPU per echo: {role}", f"{used:.1f} ms")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()

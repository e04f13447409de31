"""What prefetching is worth over a slow link: tasks per second by `endpoint.prefetch`, delay and length.

python -m bench.prefetch [SECONDS]    # or: make prefetch; 1.5 s each by default, about 10 minutes in all

Every byte between service and endpoint takes the delay longer, each way: a relay in a process of its own (the
one of `tests/chaos`). Large messages have no connection of their own here: it would go past the relay.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import bursa

from bench import machine
from bench.stack import RESULTS, ROOT, running, scratch

DELAYS = [0.005, 0.01, 0.02]
PREFETCH = [0, 1, 8, 32, 128, 512, 2_048]
WORKERS = [2, 8]
LENGTHS = [0.0, 0.001, 0.01, 0.1]
"""Seconds of a task."""
SECONDS = 1.5
PASSES = 2
"""Of which the better one counts: others on the machine only make it slower."""
MOST_PER_S = 40_000
OVERHEAD = 0.008
"""Seconds that a round trip takes beside the delay and the task, to guess how many tasks fill the time."""


def nap(seconds: float) -> float:
    import time

    if seconds:
        time.sleep(seconds)
    return seconds


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def relay(near: int, far: int, delay: float, ready: multiprocessing.synchronize.Event) -> None:
    sys.path.insert(0, str(ROOT / "tests/chaos"))
    from proxy import Proxies

    proxies = Proxies()
    proxies.link("service", near, far).delay(delay)
    ready.set()
    proxies.thread.join()


@contextmanager
def relayed(delay: float) -> Iterator[tuple[int, int]]:
    """The port to connect to, and the one that it leads to."""
    near, far = free_ports(2)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=relay, args=(near, far, delay, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(30):
            raise SystemExit("the relay did not start within 30 s; see what it printed, and run this again")
        yield near, far
    finally:
        process.terminate()
        process.join()


def tasks_for(seconds: float, length: float, workers: int, prefetch: int, delay: float) -> int:
    """So many that they take about `seconds`: what the workers, the link or the machine let through."""
    trip = 2 * delay + length + OVERHEAD
    rate = min(MOST_PER_S, workers * (1 + prefetch) / trip, workers / length if length else MOST_PER_S)
    return max(4 * workers, int(rate * seconds))


def rate(client: bursa.Client, length: float, count: int) -> float:
    """Tasks per second."""
    began = time.perf_counter()
    results = [future.result() for future in [client.run(nap, length) for _ in range(count)]]
    if results != [length] * count:
        raise SystemExit("a nap did not give back what it was given")
    return count / (time.perf_counter() - began)


def case(workers: int, delay: float, prefetch: int, seconds: float) -> dict[str, object]:
    """Tasks per second for each length."""
    with (
        relayed(delay) as (near, far),
        scratch() as directory,
        running(
            directory / "home",
            *("--zmq", f"127.0.0.1:{far}", "--workers", str(workers)),
            BURSA_PUBLIC_ZMQ=f"127.0.0.1:{near}",
            BURSA_BULK="none",
            BURSA_ENDPOINT_PREFETCH=str(prefetch),
            BURSA_ENDPOINT_MIN_WARM=str(workers),
        ) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        rate(client, 0.01, 4 * workers)
        rates = [
            max(
                rate(client, length, tasks_for(seconds, length, workers, prefetch, delay))
                for _ in range(PASSES)
            )
            for length in LENGTHS
        ]
    return {"workers": workers, "delay_ms": 1000 * delay, "prefetch": prefetch, "tasks_per_s": rates}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    cases = []
    with machine.Watch() as watch:
        for workers in WORKERS:
            for delay in DELAYS:
                for prefetch in PREFETCH:
                    found = case(workers, delay, prefetch, seconds)
                    cases.append(found)
                    machine.progress(f"{found}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine.about(),
        "measures": {"prefetch": {"meanwhile": watch.found}},
        "lengths_ms": [1000 * length for length in LENGTHS],
        "cases": cases,
    }
    (RESULTS / "prefetch.json").write_text(json.dumps(report, indent=2) + "\n")
    print("written to bench/results/prefetch.json; make plots makes the table and the picture of it")


if __name__ == "__main__":
    main()

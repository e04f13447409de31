"""A new worker: from the executor's wish to the worker's word that it is ready.

python -m bench.worker_start
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import bursa

from bench.row import Row, at_most, detail, percentile, text
from bench.stack import running, scratch

WORKERS_MADE = 30
IDLE_MS = 100


def measure() -> dict[str, float]:
    """Milliseconds; each call finds no worker, since the last one's has ended for want of work."""
    settings = {"BURSA_ENDPOINT_MIN_WARM": "0", "BURSA_ENDPOINT_IDLE_MS": str(IDLE_MS)}
    with (
        scratch() as directory,
        running(directory / "home", **settings) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        client.run(abs, -1).result()
        starts = sorted(cold(client) for _ in range(WORKERS_MADE))
    return {"p50_ms": percentile(starts, 0.5), "p99_ms": percentile(starts, 0.99)}


def cold(client: bursa.Client) -> float:
    time.sleep(3 * IDLE_MS / 1000)
    future = client.run(abs, -1)
    future.result()
    start = (future.timings or {}).get("worker_start", 0.0)
    if not start:
        raise SystemExit("a call found a worker where none should be")
    return 1000 * start


def rows(found: dict[str, float]) -> Iterator[Row]:
    yield at_most("a new worker from the zygote, p50", found["p50_ms"], 8, "ms", 1)
    yield detail("p99", f"{found['p99_ms']:.1f} ms")


def main() -> None:
    print(text(rows(measure())))


if __name__ == "__main__":
    main()
